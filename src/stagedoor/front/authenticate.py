"""Who signed this? The first step of every request on the signed listener that needs the caller.

Cheap things come first: what the signature states, its scope, its time, whether the access key exists. Only then is a body
read (every service but S3) and the signature compared. S3's bodies stream: the header signature covers the declared
digest, and ``VerifiedBody`` checks the bytes against it while an operation reads them.

What goes wrong becomes the error that the called service uses for it, which differs by service and protocol.
"""

import asyncio
import contextlib
import hashlib
import re
from typing import Final, Literal, NamedTuple

from stagedoor.authz import chunked, sigv2, sigv4
from stagedoor.authz.caller import ANONYMOUS, Caller
from stagedoor.authz.sigv4 import Reason, Signature, SignatureError
from stagedoor.domain.errors import AwsError
from stagedoor.front import regions, s3_addressing
from stagedoor.front.signature_errors import refusal
from stagedoor.front.verified_body import VerifiedBody
from stagedoor.http.message import Request
from stagedoor.services.call import House
from stagedoor.services.principals import UNKNOWN_SECRET

_WEB_IDENTITY_MAX_BYTES: Final = 128 * 1024
_WEB_IDENTITY: Final = re.compile(rb"(?:.*&)?Action=AssumeRoleWithWebIdentity(?:&.*)?", re.DOTALL).fullmatch
# Bigger bodies are hashed in a thread, so that other requests go on meanwhile.
_HASH_IN_THREAD_BYTES: Final = 1024 * 1024
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
    peer_host: str = ""
    scheme: str = "http"
    user_agent: str = ""
    referer: str = ""
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


async def _authenticate(request: Request, service: str, house: House, limit_bytes: int) -> Authenticated:
    now = house.clock.now()
    if service == "sts" and not sigv4.is_signed(request.header, request.query):
        return await _web_identity(request, house)
    signature = sigv4.parse(request.header, request.query)
    _check_scope(signature, _SIGNING_NAMES.get(service, service))
    sigv4.check_time(signature, now, house.settings.clock_skew_s)
    secret, caller, unknown = _look_up(house, signature.access_key_id, signature.session_token, now)
    body = b"" if unknown is not None else await request.body.read(limit_bytes)
    if len(body) > _HASH_IN_THREAD_BYTES:
        payload_hash = await asyncio.to_thread(_sha256, body)
    else:
        payload_hash = _sha256(body) if body else sigv4.EMPTY_SHA256
    _verify(request, signature, secret, payload_hash, house, now, unknown, s3=False)
    return _authenticated(request, house, caller, signature, body)


async def _web_identity(request: Request, house: House) -> Authenticated:
    """The one operation of STS that takes an identity provider's token in place of a signature: it is checked there."""
    form = request.header.get("content-type", "").startswith("application/x-www-form-urlencoded")
    body = await request.body.read(_WEB_IDENTITY_MAX_BYTES) if form and request.method == "POST" else b""
    if not _WEB_IDENTITY(body):
        raise SignatureError(Reason.MISSING, "Request is missing Authentication Token")
    return Authenticated(
        ANONYMOUS,
        house.settings.region,
        body,
        request.peer_host,
        request.scheme,
        request.header.get("user-agent", ""),
        request.header.get("referer", ""),
    )


def _authenticate_s3(request: Request, house: House) -> Authenticated:
    now = house.clock.now()
    if not sigv4.is_signed(request.header, request.query):
        if sigv2.is_signed(request.query):
            return _authenticate_older(request, house, now)
        body = _verified_body(request, None, None)
        return Authenticated(ANONYMOUS, house.settings.region, body, request.peer_host, request.scheme)
    signature = sigv4.parse(request.header, request.query)
    if signature.presigned and signature.expires_s is None:
        raise SignatureError(
            Reason.MALFORMED,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            presigned=True,
        )
    _check_scope(signature, "s3")
    payload_hash = _declared_payload_hash(signature)
    secret, caller, unknown = _look_up(house, signature.access_key_id, signature.session_token, now)
    _verify(request, signature, secret, payload_hash, house, now, unknown, s3=True)
    return _authenticated(request, house, caller, signature, _verified_body(request, signature, secret))


def _look_up(
    house: House, access_key_id: str, session_token: str | None, now: float
) -> tuple[str, Caller, SignatureError | None]:
    """The secret and who has it. An unknown key gets a secret that fits nothing, so that it is told only at the end."""
    try:
        credential = house.principals.by_access_key(access_key_id, session_token, now)
        return credential.secret, credential.caller, None
    except SignatureError as error:
        return UNKNOWN_SECRET, ANONYMOUS, error


def _verify(
    request: Request,
    signature: Signature,
    secret: str,
    payload_hash: str,
    house: House,
    now: float,
    unknown: SignatureError | None,
    *,
    s3: bool,
) -> None:
    with contextlib.suppress(SignatureError) if unknown is not None else contextlib.nullcontext():
        sigv4.verify(
            signature,
            secret,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.header,
            payload_hash=payload_hash,
            now=now,
            skew_s=house.settings.clock_skew_s,
            literal_path=s3,
        )
    if unknown is not None:
        raise unknown


def _authenticated(
    request: Request, house: House, caller: Caller, signature: Signature, body: bytes | VerifiedBody
) -> Authenticated:
    header = request.header
    region, service = signature.scope.region, signature.scope.service
    if caller.kind == "user" and house.principals.note_use(caller, house.clock.now(), region, service):
        asyncio.get_running_loop().run_in_executor(None, house.principals.store_use, caller)
    return Authenticated(
        caller,
        region,
        body,
        request.peer_host,
        request.scheme,
        header.get("user-agent", ""),
        header.get("referer", ""),
        "REST-QUERY-STRING" if signature.presigned else "REST-HEADER",
        "AWS4-HMAC-SHA256",
    )


def _check_scope(signature: Signature, signing_name: str) -> None:
    scope = signature.scope
    if scope.service != signing_name and not (signing_name == "s3" and scope.service == "s3express"):
        raise SignatureError(
            Reason.SCOPE_SERVICE,
            f"Credential should be scoped to correct service: '{signing_name}'.",
            presigned=signature.presigned,
            details={"stated": scope.service[:60], "expected": signing_name},
        )
    if not regions.is_region(scope.region):
        raise SignatureError(
            Reason.SCOPE_REGION,
            f"Credential should be scoped to a valid region, not '{scope.region[:60]}'.",
            presigned=signature.presigned,
            details={"stated": scope.region[:60]},
        )


# --- S3 ---------------------------------------------------------------------------------------------------------


def _authenticate_older(request: Request, house: House, now: float) -> Authenticated:
    signature = sigv2.parse(request.query)
    secret, caller, unknown = _look_up(house, signature.access_key_id, signature.session_token, now)
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
        request.peer_host,
        request.scheme,
        request.header.get("user-agent", ""),
        request.header.get("referer", ""),
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


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
