"""A bucket's website configuration: what is accepted, and where its redirection rules lead. Pure.

Place in the flow: PutBucketWebsite checks with it; ``public.websites`` asks it for redirects.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3 import errors
from stagedoor.services.s3.members import document, documents

MOST_RULES: Final = 50


class Redirect(NamedTuple):
    """An HTTP redirect: its status, and its Location."""

    status: int
    location: str


def check(configuration: Mapping[str, Any]) -> None:
    """InvalidArgument, InvalidRequest or MalformedXML unless S3 would store the configuration."""
    everything = configuration.get("RedirectAllRequestsTo")
    if everything is not None:
        if any(configuration.get(name) for name in ("IndexDocument", "ErrorDocument", "RoutingRules")):
            raise _invalid(
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            )
        if not everything.get("HostName"):
            raise _invalid("The HostName of RedirectAllRequestsTo must not be empty.")
        _check_host_name(everything["HostName"])
        return
    suffix: str | None = document(configuration, "IndexDocument").get("Suffix")
    if suffix is None:
        raise errors.invalid_argument(
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            "IndexDocument",
        )
    if not suffix or "/" in suffix:
        raise errors.invalid_argument("The IndexDocument Suffix is not well formed", "IndexDocument", suffix)
    if configuration.get("ErrorDocument") is not None and not document(configuration, "ErrorDocument").get(
        "Key"
    ):
        raise errors.invalid_argument("The ErrorDocument Key must not be empty", "ErrorDocument")
    rules = documents(configuration, "RoutingRules")
    if len(rules) > MOST_RULES:
        raise _invalid(
            f"{len(rules)} routing rules provided, the number of routing rules in a website configuration is limited to "
            f"{MOST_RULES}."
        )
    for rule in rules:
        _check_rule(rule)


def _invalid(message: str) -> AwsError:
    return errors.invalid_request(message)


def _check_host_name(name: str) -> None:
    """It becomes part of a header line, and of a URL."""
    if not all("!" <= character <= "~" for character in name):
        raise _invalid(f"The HostName {name!r} is not a host name.")


def _check_rule(rule: Mapping[str, Any]) -> None:
    redirect = document(rule, "Redirect")
    if not redirect:
        raise _invalid("A routing rule needs a Redirect with at least one element.")
    _check_host_name(redirect.get("HostName", ""))
    if "ReplaceKeyWith" in redirect and "ReplaceKeyPrefixWith" in redirect:
        raise _invalid("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    code: str | None = redirect.get("HttpRedirectCode")
    if code is not None and not (
        code.isdigit() and 300 < int(code) < 400 and code not in ("304", "305", "306")
    ):
        raise _invalid(
            f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300."
        )
    condition = rule.get("Condition")
    if condition is None:
        return
    if not condition:
        raise _invalid("Condition cannot be empty. To redirect all requests without a condition, omit it.")
    code = condition.get("HttpErrorCodeReturnedEquals")
    if code is not None and not (code.isdigit() and 400 <= int(code) < 600):
        raise _invalid(f"The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX.")


def everything_redirected(configuration: Mapping[str, Any], scheme: str, key: str) -> Redirect | None:
    """RedirectAllRequestsTo, applied to the path of a request (``key`` is without the leading slash)."""
    target = configuration.get("RedirectAllRequestsTo")
    if not target:
        return None
    return Redirect(301, f"{target.get('Protocol') or scheme}://{target['HostName']}/{_encoded(key)}")


def redirected(
    configuration: Mapping[str, Any], key: str, status: int | None, scheme: str, host: str
) -> Redirect | None:
    """The first routing rule that fits ``key``: before the look-up (``status`` None) or after an error status."""
    for rule in documents(configuration, "RoutingRules"):
        condition = document(rule, "Condition")
        prefix: str | None = condition.get("KeyPrefixEquals")
        code: str | None = condition.get("HttpErrorCodeReturnedEquals")
        if (code is None) != (status is None) or (code is not None and int(code) != status):
            continue
        if prefix is not None and not key.startswith(prefix):
            continue
        redirect = document(rule, "Redirect")
        if "ReplaceKeyWith" in redirect:
            key = redirect["ReplaceKeyWith"]
        elif "ReplaceKeyPrefixWith" in redirect:
            key = redirect["ReplaceKeyPrefixWith"] + key[len(prefix or "") :]
        location = (
            f"{redirect.get('Protocol') or scheme}://{redirect.get('HostName') or host}/{_encoded(key)}"
        )
        return Redirect(int(redirect.get("HttpRedirectCode") or 301), location)
    return None


def _encoded(key: str) -> str:
    return quote(key, safe="/-._~!$&'()*+,;=:@?#%")
