"""Presigned S3 URLs in the older form (``AWSAccessKeyId``, ``Expires``, ``Signature``), which boto3 makes by default.

Place in the flow: as ``sigv4``; ``front.authenticate`` comes here for S3 requests whose query has such a signature. The
header form of this version (``Authorization: AWS key:signature``) is not accepted, as in every newer AWS region.

The form covers method, path, Content-MD5, Content-Type, ``x-amz-`` headers and the query parameters in ``_COVERED``. A
parameter that selects another operation and is not covered would turn one URL into another: it is refused.
"""

import base64
import hmac
import time
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from stagedoor.authz.sigv4 import Reason, SignatureError

_COVERED: Final = frozenset(
    [
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    ]
)
# Parameters that narrow a listing or repeat the operation's name: they choose no other operation.
_HARMLESS: Final = frozenset(
    [
        "AWSAccessKeyId",
        "Signature",
        "Expires",
        "content-type",
        "content-md5",
        "prefix",
        "delimiter",
        "marker",
        "max-keys",
        "list-type",
        "encoding-type",
        "continuation-token",
        "start-after",
        "fetch-owner",
        "key-marker",
        "version-id-marker",
        "upload-id-marker",
        "max-uploads",
        "max-parts",
        "part-number-marker",
        "x-id",
    ]
)


class QuerySignature(NamedTuple):
    """A presigned URL's signature as stated; ``expires_at`` in epoch seconds."""

    access_key_id: str
    signature: str
    expires_at: int
    session_token: str | None


def is_signed(query: str) -> bool:
    """Whether the query states a signature of this form."""
    return "AWSAccessKeyId=" in query and "Signature=" in query


def parse(query: str) -> QuerySignature:
    """The signature in ``query`` (still encoded). SignatureError MALFORMED when a part is missing."""
    stated = dict(_pairs(query))
    if not all(stated.get(name) for name in ("AWSAccessKeyId", "Signature", "Expires")):
        raise SignatureError(
            Reason.MALFORMED,
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
            presigned=True,
        )
    expires = stated["Expires"]
    if not expires.isascii() or not expires.isdigit() or len(expires) > 15:
        raise SignatureError(
            Reason.MALFORMED, f"Invalid date (should be seconds since epoch): {expires[:60]}", presigned=True
        )
    return QuerySignature(
        stated["AWSAccessKeyId"], stated["Signature"], int(expires), stated.get("x-amz-security-token")
    )


def verify(
    signature: QuerySignature,
    secret: str,
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    now: float,
    host_bucket: str = "",
) -> None:
    """SignatureError unless ``signature`` is unexpired and right. ``host_bucket`` is the bucket that the host names."""
    if signature.expires_at < now:
        raise SignatureError(
            Reason.EXPIRED,
            "Request has expired",
            presigned=True,
            details={"Expires": _iso(signature.expires_at), "ServerTime": _iso(now)},
        )
    uncovered = [
        name
        for name, _ in _pairs(query)
        if name not in _COVERED and name not in _HARMLESS and not name.startswith("x-amz-") and name
    ]
    if uncovered:
        raise SignatureError(
            Reason.UNSIGNED_HEADER,
            "There were parameters present in the request which were not signed",
            presigned=True,
            details={"HeadersNotSigned": ", ".join(sorted(uncovered)[:20])},
        )
    resource = f"/{host_bucket}{path}" if host_bucket else path
    # A bucket is signed as /bucket/ by some clients, also where /bucket is what they ask for.
    resources = [resource] if resource.count("/") > 1 else [resource, f"{resource}/"]
    stated = signature.signature.encode("utf-8", "replace")
    head = (
        f"{method}\n{headers.get('content-md5', '')}\n{headers.get('content-type', '')}\n{signature.expires_at}\n"
        f"{_amz_headers(headers, query)}"
    )
    for candidate in resources:
        to_sign = f"{head}{candidate}{_covered_query(query)}".encode("utf-8", "surrogateescape")
        digest = hmac.digest(secret.encode(), to_sign, "sha1")
        if hmac.compare_digest(base64.b64encode(digest), stated):
            return
    raise SignatureError(
        Reason.MISMATCH,
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
        presigned=True,
        details={"AWSAccessKeyId": signature.access_key_id},
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        pairs.append((unquote(name), unquote(value)))
    return pairs


def _amz_headers(headers: Mapping[str, str], query: str) -> str:
    """The ``x-amz-`` headers, wherever they stand: this form carries them in the query."""
    found = {name: value for name, value in _pairs(query) if name.startswith("x-amz-")}
    found |= {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    return "".join(f"{name}:{found[name].strip()}\n" for name in sorted(found))


def _covered_query(query: str) -> str:
    found: list[tuple[str, str]] = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if name in _COVERED:
            found.append((name, f"{name}={unquote(value)}" if equals else name))
    return "?" + "&".join(text for _, text in sorted(found, key=lambda item: item[0])) if found else ""


def _iso(moment_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_s))
