"""Who signed this? The first step of every request on the signed listener that needs the caller.

Cheap things come first: what the signature states, its scope, its time, whether the access key exists. Only then is a body
read (every service but S3) and the signature compared. S3's bodies stream: the header signature covers the declared
digest, and ``VerifiedBody`` checks the bytes against it while an operation reads them.

What goes wrong becomes the error that the called service uses for it, which differs by service and protocol.
"""

import contextlib
import re
from typing import Final, Literal, NamedTuple

from stagedoor.authz import chunked, sigv2, sigv4
from stagedoor.authz.caller import ANONYMOUS, Caller
from stagedoor.authz.sigv4 import Reason, Signature, SignatureError
from stagedoor.domain.errors import AwsError
from stagedoor.front import s3_addressing
from stagedoor.front.verified_body import VerifiedBody
from stagedoor.http.message import Request
from stagedoor.services import signers
from stagedoor.services.call import House
from stagedoor.services.signature_errors import refusal
from stagedoor.services.signers import Claim

_WEB_IDENTITY_MAX_BYTES: Final = 128 * 1024
_WEB_IDENTITY: Final = re.compile(rb"(?:.*&)?Action=AssumeRoleWithWebIdentity(?:&.*)?", re.DOTALL).fullmatch
_HEX_64: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_SIGNING_NAMES: Final = {
    "sagemaker-runtime": "sagemaker",
    "sagemaker-metrics": "sagemaker",
    "apigatewayv2": "apigateway",
    "cloudwatch": "monitoring",
}
_SCOPE_SERVICE: Final = re.compile(r"Credential=[^/,]*/[^/,]*/[^/,]*/([^/,]*)/")
_SCOPE_SERVICE_IN_QUERY: Final = re.compile(
    r"X-Amz-Credential=[^&]*?(?:%2F|/)[^&]*?(?:%2F|/)[^&]*?(?:%2F|/)([^&%/]*)(?:%2F|/)", re.IGNORECASE
)


class Authenticated(NamedTuple):
    """Who calls, from where, and the body that they signed.

    ``body`` is bytes, or for S3 a ``VerifiedBody``. ``region`` is that of the credential scope (the server's own for
    anonymous callers and older presigned URLs).
    """

    caller: Caller
    region: str
    body: bytes | VerifiedBody
    request: Request
    auth_type: Literal["REST-HEADER", "REST-QUERY-STRING"] | None = None
    signature_version: Literal["AWS4-HMAC-SHA256", "AWS"] | None = None

    @property
    def account_id(self) -> str:
        """The caller's account; empty for anonymous callers."""
        return self.caller.account_id


def signing_name_of(request: Request) -> str | None:
    """The service that the request's credential scope names; None when it has none. Nothing is checked yet."""
    authorization = request.header.get("authorization")
    if authorization is not None:
        found = _SCOPE_SERVICE.search(authorization)
        return found[1] if found else None
    if "X-Amz-Credential=" in request.query:
        found = _SCOPE_SERVICE_IN_QUERY.search(request.query)
        return found[1] if found else None
    return "s3" if sigv2.is_signed(request.query) else None


async def authenticate(request: Request, service: str, house: House, limit_bytes: int) -> Authenticated:
    """Who signed ``request`` for ``service`` (botocore's name for it).

    AwsError with the service's own code when nobody whose key is known and active did, or the request is not what they
    signed; BodyTooLargeError when it must be read and is longer than ``limit_bytes``. Unsigned requests to S3 come from
    ``ANONYMOUS``; no other service takes any.
    """
    try:
        if service == "s3":
            return _authenticate_s3(request, house)
        return await _authenticate(request, service, house, limit_bytes)
    except SignatureError as error:
        raise refusal(service, error, house.settings.clock_skew_s) from None


def authenticate_now(request: Request, service: str, house: House) -> Authenticated | None:
    """As ``authenticate`` for a service other than S3, without waiting: None while the body is still to come, or is long.

    AwsError as there. Nothing of the body is taken: it can still be read.
    """
    body = request.body.arrived()
    if body is None or len(body) > signers.HASH_IN_THREAD_BYTES:
        return None
    now = house.clock.now()
    try:
        claimed = signers.claim(request, _SIGNING_NAMES.get(service, service), house, now)
        payload_hash = "" if claimed.unknown is not None else signers.payload_hash(body)
        signers.verify(claimed, request, payload_hash, house, now)
    except SignatureError as error:
        raise refusal(service, error, house.settings.clock_skew_s) from None
    return _authenticated(request, house, claimed, body, now)


async def _authenticate(request: Request, service: str, house: House, limit_bytes: int) -> Authenticated:
    now = house.clock.now()
    if service == "sts" and not sigv4.is_signed(request.header, request.query):
        return await _web_identity(request, house)
    claimed = signers.claim(request, _SIGNING_NAMES.get(service, service), house, now)
    body = b"" if claimed.unknown is not None else await request.body.read(limit_bytes)
    signers.verify(claimed, request, await signers.payload_hash_of(body), house, now)
    return _authenticated(request, house, claimed, body, now)


async def _web_identity(request: Request, house: House) -> Authenticated:
    """The one operation of STS that takes an identity provider's token in place of a signature: it is checked there."""
    form = request.header.get("content-type", "").startswith("application/x-www-form-urlencoded")
    body = await request.body.read(_WEB_IDENTITY_MAX_BYTES) if form and request.method == "POST" else b""
    if not _WEB_IDENTITY(body):
        raise SignatureError(Reason.MISSING, "Request is missing Authentication Token")
    return Authenticated(ANONYMOUS, house.settings.region, body, request)


def _authenticate_s3(request: Request, house: House) -> Authenticated:
    now = house.clock.now()
    if not sigv4.is_signed(request.header, request.query):
        if sigv2.is_signed(request.query):
            return _authenticate_older(request, house, now)
        body = _verified_body(request, None, None)
        return Authenticated(ANONYMOUS, house.settings.region, body, request)
    signature = sigv4.parse(request.header, request.query)
    if signature.presigned and signature.expires_s is None:
        raise SignatureError(
            Reason.MALFORMED,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            presigned=True,
        )
    signers.check_scope(signature.scope, "s3", signature.presigned)
    payload_hash = _declared_payload_hash(signature)
    claimed = Claim(signature, *signers.look_up(house, signature.access_key_id, signature.session_token, now))
    signers.verify(claimed, request, payload_hash, house, now, s3=True)
    body = _verified_body(request, signature, claimed.secret)
    return _authenticated(request, house, claimed, body, now)


def _authenticated(
    request: Request, house: House, claimed: Claim, body: bytes | VerifiedBody, now: float
) -> Authenticated:
    signers.note_use(claimed, house, now)
    signature = claimed.signature
    auth_type = "REST-QUERY-STRING" if signature.presigned else "REST-HEADER"
    return Authenticated(claimed.caller, signature.scope.region, body, request, auth_type, "AWS4-HMAC-SHA256")


# --- S3 ---------------------------------------------------------------------------------------------------------


def _authenticate_older(request: Request, house: House, now: float) -> Authenticated:
    signature = sigv2.parse(request.query)
    secret, caller, unknown = signers.look_up(house, signature.access_key_id, signature.session_token, now)
    host = request.header.get("host", "")
    with contextlib.suppress(SignatureError) if unknown is not None else contextlib.nullcontext():
        sigv2.verify(
            signature,
            secret,
            method=request.method,
            path=s3_addressing.path_style(host, request.path),
            query=request.query,
            headers=request.header,
            now=now,
        )
    if unknown is not None:
        raise SignatureError(unknown.reason, unknown.message, presigned=True, details=unknown.details)
    return Authenticated(
        caller,
        house.settings.region,
        _verified_body(request, None, None),
        request,
        "REST-QUERY-STRING",
        "AWS",
    )


def _declared_payload_hash(signature: Signature) -> str:
    declared = signature.payload_hash
    if declared is None:
        if signature.presigned:
            return sigv4.UNSIGNED_PAYLOAD
        raise AwsError(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256", status=400
        )
    if declared == sigv4.UNSIGNED_PAYLOAD or declared in chunked.FORMS or _HEX_64(declared):
        return declared
    raise AwsError(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        status=400,
        members={"ArgumentName": "x-amz-content-sha256", "ArgumentValue": declared[:120]},
    )


def _verified_body(request: Request, signature: Signature | None, secret: str | None) -> VerifiedBody:
    """The body as S3's operations read it: decoded where it is ``aws-chunked``, compared where a digest was declared."""
    declared = request.header.get("x-amz-content-sha256", "")
    if declared not in chunked.FORMS:
        return VerifiedBody(request.body, sha256=declared if _HEX_64(declared) else None)
    stated = request.header.get("x-amz-decoded-content-length", "")
    if not stated.isascii() or not stated.isdigit() or len(stated) > 15:
        raise AwsError(
            "MissingContentLength",
            "You must provide the x-amz-decoded-content-length HTTP header.",
            status=411,
        )
    seed = None
    if declared != chunked.UNSIGNED_TRAILER:
        if signature is None or secret is None:
            raise AwsError("AccessDenied", "Access Denied", status=403)
        key = sigv4.signing_key(secret, signature.scope)
        seed = chunked.Seed(signature.signature, key, signature.amz_date, signature.scope)
    names = [
        name.strip().lower() for name in request.header.get("x-amz-trailer", "").split(",") if name.strip()
    ]
    decoder = chunked.ChunkDecoder(
        decoded_length=int(stated), seed=seed, trailer_names=names, trailers=declared != chunked.SIGNED
    )
    return VerifiedBody(request.body, decoder=decoder, decoded_length=int(stated))
