"""AWS Signature Version 4, the server's side: read a signature, say whether it is right. No I/O, no keys of its own.

Place in the flow: ``front.authenticate`` parses with ``parse``, asks ``check_time``, looks up the secret of the access key, and calls
``verify``. What goes wrong is a ``SignatureError`` with a ``Reason``; front turns the reason into the error code that
the called service uses for it.

Signatures cover the literal form of a request. ``path``, ``query`` and header values are therefore taken as they came
in, one character per byte (latin-1), and are never decoded here. S3 takes the path as it is; every other service
resolves ``.`` and ``..``, joins repeated slashes and encodes the result once more.
"""

import base64
import calendar
import enum
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import quote, quote_from_bytes, unquote

if TYPE_CHECKING:
    from _hashlib import HASH

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
MAX_PRESIGNED_EXPIRES_S: Final = 604_800

_QUERY_PARAMETERS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
)
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9\-._~/]*").fullmatch
_ESCAPED_PATH: Final = re.compile(r"[A-Za-z0-9\-._~/%]*").fullmatch
_PLAIN_QUERY: Final = re.compile(r"(?:[A-Za-z0-9\-._~=&]|%[0-9A-F]{2})*").fullmatch
_HEX_LENGTH: Final = 64
_HMAC_BLOCK_BYTES: Final = 64
_AMZ_DATE: Final = re.compile(r"\d{8}T\d{6}Z").fullmatch


class Reason(enum.StrEnum):
    """Why a signature is not accepted."""

    MISSING = "missing"
    MALFORMED = "malformed"
    UNSUPPORTED_ALGORITHM = "unsupported algorithm"
    TWO_FORMS = "signed in the header and in the query"
    EXPIRES_INVALID = "X-Amz-Expires out of bounds"
    SCOPE_DATE = "scope has another date"
    SCOPE_REGION = "scope has another region"
    SCOPE_SERVICE = "scope has another service"
    SCOPE_TERMINATOR = "scope ends wrongly"
    UNKNOWN_KEY = "access key unknown"
    TOKEN_INVALID = "session token invalid"  # noqa: S105 - a reason, not a token
    TOKEN_EXPIRED = "session token expired"  # noqa: S105
    EXPIRED = "expired"
    NOT_YET_CURRENT = "not yet current"
    UNSIGNED_HEADER = "header not signed"
    MISMATCH = "mismatch"


class SignatureError(Exception):
    """A signature that is not accepted: why, whether it was a presigned one, and AWS's text for it.

    ``details`` are further facts that some services answer as members of the error (``RequestTime``, ``HeadersNotSigned``
    …). Neither signatures nor tokens are among them.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        presigned: bool = False,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.presigned = presigned
        self.details: Mapping[str, str] = details or {}


class Scope(NamedTuple):
    """What a signing key is good for: a day (``20150830``), a region, a service."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


class Signature(NamedTuple):
    """A signature as the request states it, nothing of it checked yet.

    ``amz_date`` has the form ``20150830T123600Z``. ``expires_s`` is given for presigned requests only. ``payload_hash``
    is the declared ``x-amz-content-sha256``: a digest or one of the ``UNSIGNED-…`` and ``STREAMING-…`` words.
    """

    access_key_id: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    amz_date: str
    presigned: bool = False
    expires_s: int | None = None
    session_token: str | None = None
    payload_hash: str | None = None

    @property
    def signed_at(self) -> float:
        """Epoch seconds of ``amz_date``."""
        return epoch_s(self.amz_date)


class _Head(NamedTuple):
    access_key_id: str
    scope: Scope
    signed_headers: tuple[str, ...]


# --- Reading a signature ----------------------------------------------------------------------------------------


def is_signed(headers: Mapping[str, str], query: str) -> bool:
    """Whether the request states a signature at all, in whichever form."""
    return "authorization" in headers or "X-Amz-Algorithm=" in query or "X-Amz-Signature=" in query


def parse(headers: Mapping[str, str], query: str) -> Signature:
    """The signature that a request states. ``headers`` has lower-case names, ``query`` is still encoded.

    SignatureError MISSING, MALFORMED, UNSUPPORTED_ALGORITHM, TWO_FORMS, EXPIRES_INVALID or SCOPE_TERMINATOR.
    """
    authorization = headers.get("authorization")
    in_query = "X-Amz-" in query and ("X-Amz-Algorithm=" in query or "X-Amz-Signature=" in query)
    if authorization is None:
        if in_query:
            return _parse_query(query, headers.get("x-amz-content-sha256"))
        raise SignatureError(Reason.MISSING, "Missing Authentication Token")
    if in_query:
        raise SignatureError(
            Reason.TWO_FORMS,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
        )
    # A client repeats all but the end for hours, and nearly all put the signature there.
    stated = authorization[-_HEX_LENGTH:]
    head = _parse_head(authorization[:-_HEX_LENGTH]) if "," not in stated else None
    if head is None:
        head, stated = _parse_any_order(authorization)
    amz_date = headers.get("x-amz-date")
    if amz_date is None or not _AMZ_DATE(amz_date):
        amz_date = _date_of(headers, authorization)
    return Signature(
        head.access_key_id,
        head.scope,
        head.signed_headers,
        stated,
        amz_date,
        False,
        None,
        headers.get("x-amz-security-token"),
        headers.get("x-amz-content-sha256"),
    )


@lru_cache(maxsize=1024)
def _parse_head(text: str) -> _Head | None:
    """``AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=``; None unless it ends so."""
    before, stated, nothing = text.rpartition("Signature=")
    return _head(_parameters(before), text) if stated and not nothing else None


def _parse_any_order(authorization: str) -> tuple[_Head, str]:
    parameters = _parameters(authorization)
    head = _head(parameters, authorization)
    signature = parameters.get("Signature")
    if not signature:
        raise _incomplete("Authorization header requires 'Signature' parameter.", authorization)
    return head, signature


def _parameters(text: str) -> dict[str, str]:
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureError(
            Reason.UNSUPPORTED_ALGORITHM, f"Unsupported AWS 'algorithm': '{_shown(algorithm)}'."
        )
    parameters: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not name and not equals:
            continue
        if not equals:
            raise SignatureError(
                Reason.MALFORMED,
                f"'{_shown(name)}' not a valid key=value pair (missing equal-sign) in Authorization header.",
            )
        if name in parameters:
            raise SignatureError(Reason.MALFORMED, f"Authorization header has '{_shown(name)}' twice.")
        parameters[name] = value
    return parameters


def _head(parameters: Mapping[str, str], authorization: str) -> _Head:
    missing = [name for name in ("Credential", "SignedHeaders") if not parameters.get(name)]
    if missing:
        wanted = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        raise _incomplete(wanted, authorization)
    access_key_id, scope = _credential(parameters["Credential"], presigned=False)
    return _Head(access_key_id, scope, tuple(parameters["SignedHeaders"].split(";")))


def _credential(text: str, *, presigned: bool) -> tuple[str, Scope]:
    parts = text.split("/")
    if len(parts) != 5 or not all(parts):
        raise SignatureError(
            Reason.MALFORMED,
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{_shown(text)}'",
            presigned=presigned,
        )
    if parts[4] != TERMINATOR:
        raise SignatureError(
            Reason.SCOPE_TERMINATOR,
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{_shown(parts[4])}'.",
            presigned=presigned,
        )
    return parts[0], Scope(parts[1], parts[2], parts[3])


def _date_of(headers: Mapping[str, str], authorization: str) -> str:
    """The signing time from ``Date`` where ``x-amz-date`` is absent; both may have the basic ISO or the RFC form."""
    stated = headers.get("x-amz-date") or headers.get("date")
    if stated is None:
        raise _incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            authorization,
        )
    if _AMZ_DATE(stated):
        return stated
    try:
        moment = parsedate_to_datetime(stated)
        return format_amz_date(moment.timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        raise SignatureError(
            Reason.MALFORMED,
            f"Date must be in ISO-8601 'basic format'. Got '{_shown(stated)}'. See http://en.wikipedia.org/wiki/ISO_8601",
        ) from None


def _parse_query(query: str, payload_hash: str | None) -> Signature:
    stated: dict[str, str] = {}
    for name, value in _query_pairs(query):
        if name.startswith("X-Amz-"):
            if name in stated:
                raise SignatureError(Reason.MALFORMED, f"{_shown(name)} is given twice.", presigned=True)
            stated[name] = unquote(value, errors="replace")
    algorithm = stated.get("X-Amz-Algorithm", ALGORITHM)
    if algorithm != ALGORITHM:
        raise SignatureError(
            Reason.UNSUPPORTED_ALGORITHM, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"', presigned=True
        )
    if any(not stated.get(name) for name in _QUERY_PARAMETERS):
        raise SignatureError(
            Reason.MALFORMED,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
            "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            presigned=True,
        )
    access_key_id, scope = _credential(stated["X-Amz-Credential"], presigned=True)
    amz_date = stated["X-Amz-Date"]
    if not _AMZ_DATE(amz_date):
        raise SignatureError(
            Reason.MALFORMED,
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            presigned=True,
        )
    return Signature(
        access_key_id,
        scope,
        tuple(stated["X-Amz-SignedHeaders"].split(";")),
        stated["X-Amz-Signature"],
        amz_date,
        True,
        _expires_s(stated.get("X-Amz-Expires")),
        stated.get("X-Amz-Security-Token") or None,
        payload_hash,
    )


def _expires_s(stated: str | None) -> int | None:
    """Seconds; None where the parameter is absent (only S3 asks for it)."""
    if stated is None:
        return None
    wrong = ""
    if not re.fullmatch(r"-?[0-9]{1,18}", stated):
        wrong = "X-Amz-Expires should be a number"
    elif int(stated) < 0:
        wrong = "X-Amz-Expires must be non-negative"
    elif int(stated) == 0:
        wrong = "X-Amz-Expires must be at least 1 second"
    elif int(stated) > MAX_PRESIGNED_EXPIRES_S:
        wrong = (
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less "
            f"than {MAX_PRESIGNED_EXPIRES_S} seconds"
        )
    if wrong:
        raise SignatureError(Reason.EXPIRES_INVALID, wrong, presigned=True)
    return int(stated)


def _incomplete(wanted: str, authorization: str) -> SignatureError:
    # AWS shows the header's digest, so that a person can compare without the signature getting into logs.
    digest = base64.b64encode(hashlib.sha256(authorization.encode("utf-8", "replace")).digest()).decode()
    return SignatureError(
        Reason.MALFORMED, f"{wanted} (Hashed with SHA-256 and encoded with Base64) Authorization={digest}"
    )


def _shown(text: str) -> str:
    """Somebody else's text, short enough for an error."""
    return text if len(text) <= 120 else text[:117] + "..."


# --- Time -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def epoch_s(amz_date: str) -> float:
    """Epoch seconds of ``20150830T123600Z``; SignatureError where there is no such moment."""
    try:
        return float(calendar.timegm(time.strptime(amz_date, "%Y%m%dT%H%M%SZ")))
    except ValueError:
        raise SignatureError(
            Reason.MALFORMED,
            f"Date must be in ISO-8601 'basic format'. Got '{_shown(amz_date)}'. See http://en.wikipedia.org/wiki/ISO_8601",
        ) from None


def format_amz_date(moment_s: float) -> str:
    """``20150830T123600Z``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment_s))


def check_time(signature: Signature, now: float, skew_s: float) -> None:
    """SignatureError SCOPE_DATE, EXPIRED or NOT_YET_CURRENT unless the signature is current at ``now``."""
    amz_date = signature.amz_date
    if signature.scope.date != amz_date[:8]:
        raise SignatureError(
            Reason.SCOPE_DATE,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{_shown(signature.scope.date)}' != '{amz_date[:8]}', from '{amz_date}'.",
            presigned=signature.presigned,
        )
    signed_at = epoch_s(amz_date)
    if signed_at > now + skew_s:
        raise SignatureError(
            Reason.NOT_YET_CURRENT,
            f"Signature not yet current: {amz_date} is still later than {format_amz_date(now + skew_s)} "
            f"({format_amz_date(now)} + {skew_s / 60:.0f} min.)",
            presigned=signature.presigned,
            details={"RequestTime": amz_date, "ServerTime": _iso(now)},
        )
    lifetime_s = skew_s if signature.expires_s is None else signature.expires_s
    if signed_at + lifetime_s < now:
        details = {"RequestTime": amz_date, "ServerTime": _iso(now)}
        if signature.expires_s is not None:
            details = {
                "X-Amz-Expires": str(signature.expires_s),
                "Expires": _iso(signed_at + signature.expires_s),
                "ServerTime": _iso(now),
            }
        raise SignatureError(
            Reason.EXPIRED,
            f"Signature expired: {amz_date} is now earlier than {format_amz_date(now - lifetime_s)} "
            f"({format_amz_date(now)} - {lifetime_s / 60:.0f} min.)",
            presigned=signature.presigned,
            details=details,
        )


def _iso(moment_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_s))


# --- Checking a signature ---------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def signing_key(secret: str, scope: Scope) -> bytes:
    """The key that a secret gives for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (*scope, TERMINATOR):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return key


class _Signer(NamedTuple):
    """A signing key ready to sign: HMAC's two hashes with the key in them already, and the scope as strings to sign name it."""

    inner: "HASH"
    outer: "HASH"
    scope: str

    def sign(self, to_sign: str) -> str:
        """The signature, in hex."""
        inner, outer = self.inner.copy(), self.outer.copy()
        inner.update(to_sign.encode("utf-8", "surrogateescape"))
        outer.update(inner.digest())
        return outer.hexdigest()


@lru_cache(maxsize=4096)
def _signer(secret: str, scope: Scope) -> _Signer:
    key = signing_key(secret, scope).ljust(_HMAC_BLOCK_BYTES, b"\0")
    inner, outer = (hashlib.sha256(bytes([byte ^ pad for byte in key])) for pad in (0x36, 0x5C))
    return _Signer(inner, outer, str(scope))


def verify(
    signature: Signature,
    secret: str,
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    literal_path: bool = False,
) -> None:
    """SignatureError unless ``signature`` is right for exactly this request; ``check_time`` says whether it is current.

    ``path`` and ``query`` are as they came in; ``headers`` has lower-case names and repeated values joined by ``,``;
    ``payload_hash`` is the lower-case hex digest of the body or one of the words that S3 knows. ``literal_path`` is
    for S3: the path is not normalised and encoded once, every header that begins with ``x-amz-`` must be signed, and
    the session token of a presigned request must be.
    """
    signed = signature.signed_headers
    if "host" not in signed:
        raise SignatureError(
            Reason.UNSIGNED_HEADER,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            presigned=signature.presigned,
            details={"HeadersNotSigned": "host"},
        )
    if literal_path:
        _require_signed(headers, signature)
    headers_and_payload = f"{_canonical_headers(headers, signed)}{payload_hash}"
    signer = _signer(secret, signature.scope)
    stated = signature.signature
    to_sign = ""
    for path_and_query in _canonical_paths_and_queries(path, query, signature.presigned, literal_path):
        canonical = f"{method}\n{path_and_query}\n{headers_and_payload}"
        digest = hashlib.sha256(_as_bytes(canonical)).hexdigest()
        to_sign = f"{ALGORITHM}\n{signature.amz_date}\n{signer.scope}\n{digest}"
        if stated.isascii() and hmac.compare_digest(signer.sign(to_sign), stated):
            return
    raise SignatureError(
        Reason.MISMATCH,
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key and signing method. Consult the service documentation for details.",
        presigned=signature.presigned,
        details={"AWSAccessKeyId": signature.access_key_id, "StringToSign": to_sign},
    )


def _as_bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _require_signed(headers: Mapping[str, str], signature: Signature) -> None:
    unsigned = [
        name for name in headers if name.startswith("x-amz-") and name not in signature.signed_headers
    ]
    if unsigned:
        raise SignatureError(
            Reason.UNSIGNED_HEADER,
            "There were headers present in the request which were not signed",
            presigned=signature.presigned,
            details={"HeadersNotSigned": ", ".join(sorted(unsigned))},
        )


def _canonical_headers(headers: Mapping[str, str], signed: tuple[str, ...]) -> str:
    """A line for each signed header, without spaces at its ends and with single ones inside; then a line of their names."""
    template, all_of = _header_lines(signed)
    try:
        values = all_of(headers)
    except KeyError:
        values = tuple([headers.get(name, "") for name in signed])
    # Nearly always there is nothing to do, which one look at all of them tells.
    together = "\n".join(values)
    if " " in together or "\t" in together or together.count("\n") >= len(values):
        values = tuple([_trimmed(value) for value in values])
    return template % values


@lru_cache(maxsize=1024)
def _header_lines(signed: tuple[str, ...]) -> tuple[str, Callable[[Mapping[str, str]], tuple[str, ...]]]:
    """The lines of these headers with ``%s`` for values, and what takes the values out of a request's headers."""
    names = [name.replace("%", "%%") for name in signed]
    template = "".join([f"{name}:%s\n" for name in names]) + f"\n{';'.join(names)}\n"
    if len(signed) == 1:
        return template, lambda headers: (headers[signed[0]],)
    values_of = cast("Callable[[Mapping[str, str]], tuple[str, ...]]", itemgetter(*signed))
    return template, values_of


def _trimmed(value: str) -> str:
    if "  " in value or "\t" in value or "\n" in value or value[:1] == " " or value[-1:] == " ":
        return " ".join(value.split())
    return value


def _canonical_paths_and_queries(path: str, query: str, presigned: bool, literal_path: bool) -> Iterable[str]:
    """Every form that a client may have signed: path, line break, query."""
    if not query:
        return _canonical_paths_alone(path, literal_path)
    return (
        f"{canonical_path}\n{canonical_query}"
        for canonical_path in _canonical_paths(path, literal_path)
        for canonical_query in _reordered_queries(query, presigned, strict_token=literal_path)
    )


@lru_cache(maxsize=256)
def _canonical_paths_alone(path: str, literal_path: bool) -> tuple[str, ...]:
    return tuple([f"{canonical}\n" for canonical in _canonical_paths(path, literal_path)])


def _canonical_paths(path: str, literal_path: bool) -> tuple[str, ...]:
    if literal_path:
        if _ESCAPED_PATH(path):
            return (path or "/",)
        # A byte that clients may or may not escape before they sign, like "(": both say the same literal path.
        escaped = quote_from_bytes(_as_bytes(path), safe="/-_.~%")
        return (escaped, path) if path.isascii() else (escaped,)
    if "//" in path or "/." in path or not path:
        path = _normalised(path)
    return (path if _PLAIN_PATH(path) else quote_from_bytes(_as_bytes(path), safe="/-_.~"),)


def _normalised(path: str) -> str:
    """RFC 3986 without dot segments, and without empty segments. A trailing slash stays."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    joined = "/" + "/".join(kept)
    return joined + "/" if kept and path.endswith("/") else joined


def _query_pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield name, value


def _reordered_queries(query: str, presigned: bool, *, strict_token: bool) -> Iterator[str]:
    """The query in canonical order: as it is; then, if it has bytes that must be escaped, with those escaped.

    Clients differ on whether they escape such bytes before they sign. Both forms stand for the same literal query:
    ``+`` stays a plus sign (``%2B``) and is never taken for a space (``%20``).
    """
    pairs = [pair for pair in _query_pairs(query) if not (presigned and pair[0] == "X-Amz-Signature")]
    variants = [pairs]
    if presigned and not strict_token and any(name == "X-Amz-Security-Token" for name, _ in pairs):
        # Some clients add the token after signing. It needs no cover: it is bound to the access key by itself.
        variants.append([pair for pair in pairs if pair[0] != "X-Amz-Security-Token"])
    for variant in variants:
        yield "&".join([f"{name}={value}" for name, value in sorted(variant)])
        if not _PLAIN_QUERY(query):
            escaped = sorted((_escaped(name), _escaped(value)) for name, value in variant if name or value)
            yield "&".join([f"{name}={value}" for name, value in escaped])


def _escaped(text: str) -> str:
    """Strictly percent-encoded: existing escapes get upper-case digits, everything reserved is escaped."""
    parts = re.split(r"(%[0-9A-Fa-f]{2})", text)
    parts[::2] = [quote(_as_bytes(part), safe="-_.~") for part in parts[::2]]
    parts[1::2] = [part.upper() for part in parts[1::2]]
    return "".join(parts)
