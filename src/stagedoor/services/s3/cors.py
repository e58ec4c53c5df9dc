"""Cross-origin rules of a bucket, as S3 applies them. Pure.

Place in the flow: the listeners ask ``headers_for`` for preflight requests (``preflight=True``, with what the browser is
about to do) and for actual ones; None means that no rule allows it: a preflight then gets ``not_allowed`` (403), an
actual request its answer without any such header, which the browser keeps from the page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3.members import documents, texts

VARY: Final = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def headers_for(
    configuration: Mapping[str, Any] | None,
    origin: str,
    method: str,
    request_headers: Sequence[str] = (),
    *,
    preflight: bool = False,
) -> list[tuple[str, str]] | None:
    """The headers that the first fitting rule adds; None when none fits.

    ``configuration`` is the bucket's ``settings["CORSConfiguration"]``. ``method`` and ``request_headers`` are those
    of the actual request: in a preflight, ``Access-Control-Request-Method`` and ``-Headers``.
    """
    wanted = [name.strip().lower() for name in request_headers if name.strip()]
    for rule in documents(configuration or {}, "CORSRules"):
        if not any(_matches(pattern, origin) for pattern in texts(rule, "AllowedOrigins")):
            continue
        if method not in texts(rule, "AllowedMethods"):
            continue
        allowed = [pattern.lower() for pattern in texts(rule, "AllowedHeaders")]
        if preflight and not all(any(_matches(pattern, name) for pattern in allowed) for name in wanted):
            continue
        return _headers(rule, origin, wanted, preflight=preflight)
    return None


def _matches(pattern: str, value: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == value
    return len(value) >= len(before) + len(after) and value.startswith(before) and value.endswith(after)


def _headers(
    rule: Mapping[str, Any], origin: str, wanted: Sequence[str], *, preflight: bool
) -> list[tuple[str, str]]:
    everybody = "*" in rule["AllowedOrigins"]
    headers = [
        ("Access-Control-Allow-Origin", "*" if everybody else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])),
    ]
    if preflight and wanted:
        headers.append(("Access-Control-Allow-Headers", ", ".join(wanted)))
    if rule.get("ExposeHeaders"):
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule["ExposeHeaders"])))
    if rule.get("MaxAgeSeconds") is not None:
        headers.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
    if not everybody:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    headers.append(("Vary", VARY))
    return headers


def not_allowed(configuration: Mapping[str, Any] | None, method: str) -> AwsError:
    """The answer to a preflight that no rule allows."""
    if configuration is None:
        message = "CORSResponse: CORS is not enabled for this bucket."
    else:
        message = (
            "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request "
            "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
            "resource's CORS spec."
        )
    return AwsError(
        "AccessForbidden", message, status=403, members={"Method": method, "ResourceType": "BUCKET"}
    )
