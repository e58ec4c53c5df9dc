"""Who does a signature say it is from, and is it: what both listeners ask of a signed request.

Place in the flow: ``front.authenticate`` for calls of AWS APIs, ``public.authorise`` for methods of deployed APIs that want
AWS_IAM. Cheap things come first: the scope, the time, whether the access key exists; a body is read only then.
"""

import asyncio
import hashlib
from typing import Final, NamedTuple

from stagedoor.authz import regions, sigv4
from stagedoor.authz.caller import ANONYMOUS, Caller
from stagedoor.authz.sigv4 import Reason, Scope, Signature, SignatureError
from stagedoor.http.message import Request
from stagedoor.services.call import House
from stagedoor.services.principals import UNKNOWN_SECRET

# Bigger bodies are hashed in a thread, so that other requests go on meanwhile.
HASH_IN_THREAD_BYTES: Final = 1024 * 1024


class Claim(NamedTuple):
    """What a request states about its signer, before ``verify``. ``unknown`` says that there is no such key."""

    signature: Signature
    secret: str
    caller: Caller
    unknown: SignatureError | None


def check_scope(scope: Scope, signing_name: str, presigned: bool) -> None:
    """SignatureError unless the credential scope names this service and a region that AWS has."""
    if scope.service != signing_name and not (signing_name == "s3" and scope.service == "s3express"):
        raise SignatureError(
            Reason.SCOPE_SERVICE,
            f"Credential should be scoped to correct service: '{signing_name}'.",
            presigned=presigned,
            details={"stated": scope.service[:60], "expected": signing_name},
        )
    if not regions.is_region(scope.region):
        raise SignatureError(
            Reason.SCOPE_REGION,
            f"Credential should be scoped to a valid region, not '{scope.region[:60]}'.",
            presigned=presigned,
            details={"stated": scope.region[:60]},
        )


def look_up(
    house: House, access_key_id: str, session_token: str | None, now: float
) -> tuple[str, Caller, SignatureError | None]:
    """The secret and who has it. An unknown key gets a secret that fits nothing, so that it is told only at the end."""
    try:
        credential = house.principals.by_access_key(access_key_id, session_token, now)
        return credential.secret, credential.caller, None
    except SignatureError as error:
        return UNKNOWN_SECRET, ANONYMOUS, error


def claim(request: Request, signing_name: str, house: House, now: float) -> Claim:
    """What the request states, as far as that can be said without its body. SignatureError."""
    signature = sigv4.parse(request.header, request.query)
    check_scope(signature.scope, signing_name, signature.presigned)
    sigv4.check_time(signature, now, house.settings.clock_skew_s)
    return Claim(signature, *look_up(house, signature.access_key_id, signature.session_token, now))


def verify(
    claimed: Claim, request: Request, payload_hash: str, house: House, now: float, *, s3: bool = False
) -> None:
    """SignatureError unless the request is what the holder of the key signed. S3 alone takes a path literally.

    That a key is unknown is told at the end, after the same work as for a known one.
    """
    try:
        if s3:  # ``claim`` has checked it for the others
            sigv4.check_time(claimed.signature, now, house.settings.clock_skew_s)
        sigv4.verify(
            claimed.signature,
            claimed.secret,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.header,
            payload_hash=payload_hash,
            literal_path=s3,
        )
    except SignatureError:
        if claimed.unknown is None:
            raise
    if claimed.unknown is not None:
        raise claimed.unknown


def payload_hash(body: bytes) -> str:
    """The SHA-256 that the signature of a request with this body covers."""
    return hashlib.sha256(body).hexdigest() if body else sigv4.EMPTY_SHA256


async def payload_hash_of(body: bytes) -> str:
    """As ``payload_hash``, in a thread for a big body."""
    if len(body) > HASH_IN_THREAD_BYTES:
        return await asyncio.to_thread(payload_hash, body)
    return payload_hash(body)


def note_use(claimed: Claim, house: House, now: float) -> None:
    """Remember when and for what a user's key was used last. Call it on the event loop."""
    caller, scope = claimed.caller, claimed.signature.scope
    if caller.kind == "user" and house.principals.note_use(caller, now, scope.region, scope.service):
        asyncio.get_running_loop().run_in_executor(None, house.principals.store_use, caller)
