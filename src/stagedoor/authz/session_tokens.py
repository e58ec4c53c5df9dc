"""Temporary credentials without a database: the session token itself says, authenticated, what the session is.

Place in the flow: ``services.sts`` and ``services.principals`` issue them (AssumeRole, GetSessionToken, the credentials
of functions and jobs); ``services.principals`` opens the token of every request signed with an ``ASIA…`` key.

A token is base64 of ``version byte | HMAC-SHA256 | deflated JSON``. Its holder may read it (it holds nothing secret), and
nobody can change it. The secret access key is derived from the server's secret and the access key id, so neither is
stored. Whoever has the server's secret can make credentials: it lives in one file that only the server reads.
"""

import base64
import binascii
import hmac
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal, NamedTuple

import orjson

from stagedoor.authz.sigv4 import Reason, SignatureError
from stagedoor.domain.ids import iam_id

_VERSION: Final = b"\x01"
_MAX_TOKEN_CHARACTERS: Final = 16_384
_MAX_CLAIMS_BYTES: Final = 65_536
_MAX_OPENED: Final = 4_096


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """What a session is. ``arn`` and ``user_id`` are what GetCallerIdentity answers for it.

    ``principal_id`` is the unique id of the role or user behind it (``AROA…``, ``AIDA…``, the account id for root):
    a role that was deleted and made again under its name is another one. ``session_policies`` are JSON texts,
    ``session_policy_arns`` managed policies; both narrow. ``source_arn`` is who assumed the role, or who asked for a federated
    user's session. ``mfa_at`` (epoch seconds) is when a second factor was shown, ``federated_provider`` the OpenID Connect
    provider that vouched for the caller.
    """

    kind: Literal["assumed-role", "federated-user", "user", "root"]
    account_id: str
    arn: str
    user_id: str
    principal_id: str
    issued_at: int
    expires_at: int
    access_key_id: str = ""
    role_arn: str | None = None
    session_name: str = ""
    session_policies: tuple[str, ...] = ()
    session_policy_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    transitive_tag_keys: tuple[str, ...] = ()
    source_arn: str = ""
    source_identity: str = ""
    mfa_at: int | None = None
    federated_provider: str = ""


class Credentials(NamedTuple):
    """Temporary credentials; ``expiration`` in epoch seconds."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: int


class SessionTokens:
    """Issues and opens session tokens with one server secret (at least 32 random bytes)."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("the secret of the session tokens needs at least 32 bytes")
        self._token_key = hmac.digest(secret, b"stagedoor session token", "sha256")
        self._secret_key = hmac.digest(secret, b"stagedoor secret access key", "sha256")
        self._link_key = hmac.digest(secret, b"stagedoor link", "sha256")
        # A function signs every call with the same token: opening it again would cost more than the signature.
        # Only good tokens get in, so that nobody without credentials can fill it.
        self._opened: dict[str, SessionClaims] = {}

    def issue(self, claims: SessionClaims) -> Credentials:
        """Credentials for ``claims``, with a new access key id."""
        access_key_id = iam_id("ASIA")
        claims = replace(claims, access_key_id=access_key_id)
        payload = zlib.compress(orjson.dumps(asdict(claims)), 6)
        tag = hmac.digest(self._token_key, _VERSION + payload, "sha256")
        token = base64.b64encode(_VERSION + tag + payload).decode()
        return Credentials(access_key_id, self.secret_access_key(access_key_id), token, claims.expires_at)

    def secret_access_key(self, access_key_id: str) -> str:
        """The secret that belongs to a temporary access key id."""
        return base64.b64encode(
            hmac.digest(self._secret_key, access_key_id.encode("utf-8", "replace"), "sha256")
        )[:40].decode()

    def link_signature(self, link: str) -> str:
        """What makes a link of the server's own good, in hex: ``link`` says what for and until when."""
        return hmac.digest(self._link_key, link.encode("utf-8", "replace"), "sha256").hex()

    def open(self, token: str, access_key_id: str, now: float) -> SessionClaims:
        """The claims of ``token``. SignatureError TOKEN_INVALID (made elsewhere, changed, of another access key) or
        TOKEN_EXPIRED.
        """
        claims = self._opened.get(token) or self._open(token)
        if claims is None or not hmac.compare_digest(claims.access_key_id.encode(), access_key_id.encode()):
            raise SignatureError(
                Reason.TOKEN_INVALID, "The security token included in the request is invalid"
            )
        if claims.expires_at <= now:
            raise SignatureError(
                Reason.TOKEN_EXPIRED, "The security token included in the request is expired"
            )
        return claims

    def _open(self, token: str) -> SessionClaims | None:
        if len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        try:
            raw = base64.b64decode(token.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        version, tag, payload = raw[:1], raw[1:33], raw[33:]
        expected = hmac.digest(self._token_key, version + payload, "sha256")
        if version != _VERSION or not hmac.compare_digest(tag, expected):
            return None
        # Only what this server wrote gets here; the bound guards against a mistake of its own.
        document = orjson.loads(zlib.decompressobj().decompress(payload, _MAX_CLAIMS_BYTES))
        for name in ("session_policies", "session_policy_arns", "transitive_tag_keys"):
            document[name] = tuple(document[name])
        claims = SessionClaims(**document)
        if len(self._opened) >= _MAX_OPENED:
            self._opened.clear()
        self._opened[token] = claims
        return claims
