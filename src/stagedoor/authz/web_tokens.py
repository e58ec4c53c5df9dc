"""OpenID Connect ID tokens (JSON Web Tokens signed with RSA): read, and checked against the issuer's public keys. Pure.

Place in the flow: ``services.sts.federation`` takes one in place of a signature. Verifying an RSA signature needs public numbers
only, so plain integers do: one power, then the whole padded digest is compared.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

_MAX_CHARACTERS: Final = 20_000
_LEEWAY_S: Final = 300
_MIN_KEY_BITS: Final = 2_048
_MAX_KEY_BITS: Final = 8_192
# RFC 8017, 9.2: what stands before a digest in a PKCS #1 v1.5 signature.
_DIGESTS: Final = {
    "RS256": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    "RS384": ("sha384", bytes.fromhex("3041300d060960864801650304020205000430")),
    "RS512": ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}


class WebTokenError(Exception):
    """The token is not good. The text says why, for the caller."""


class ExpiredError(WebTokenError):
    """The token was good once."""


class WebToken(NamedTuple):
    """A token that was read; nothing about it is true before ``verify``."""

    algorithm: str
    key_id: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> str:
        return str(self.claims["iss"])

    @property
    def subject(self) -> str:
        return str(self.claims["sub"])

    @property
    def audiences(self) -> list[str]:
        stated: Any = self.claims["aud"]
        return [str(one) for one in cast("list[Any]", stated)] if isinstance(stated, list) else [str(stated)]

    def condition_keys(self) -> dict[str, str | list[str]]:
        """The claims that policies may ask about, under their names."""
        found: dict[str, str | list[str]] = {}
        for name in ("aud", "sub", "amr", "azp", "email"):
            value: Any = self.claims.get(name)
            if isinstance(value, list):
                found[name] = [str(one) for one in cast("list[Any]", value)]
            elif value is not None:
                found[name] = str(value)
        return found


def parse(text: str) -> WebToken:
    """Read a token in compact form. WebTokenError."""
    if len(text) > _MAX_CHARACTERS or text.count(".") != 2:
        raise WebTokenError(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        )
    head, payload, signature = text.split(".")
    header, claims = _object(head), _object(payload)
    for name in ("iss", "sub", "aud", "exp"):
        if not claims.get(name):
            raise WebTokenError(f"Missing a required claim: {name}")
    return WebToken(
        str(header.get("alg")),
        str(header.get("kid", "")),
        claims,
        f"{head}.{payload}".encode("ascii"),
        _bytes(signature),
    )


def verify(token: WebToken, keys: Sequence[Mapping[str, Any]], now: float) -> None:
    """Check the signature with the issuer's keys, then the time. WebTokenError, ExpiredError."""
    if token.algorithm not in _DIGESTS:
        raise WebTokenError(
            f"Token signature algorithm {token.algorithm} is not supported: use RS256, RS384 or RS512."
        )
    usable = [key for key in keys if key.get("kty") == "RSA" and key.get("use", "sig") == "sig"]
    if token.key_id:
        usable = [key for key in usable if key.get("kid") == token.key_id]
    if not any(_signed_with(key, token) for key in usable):
        raise WebTokenError("Couldn't verify the signature of the token with the keys of its issuer")
    expires_at, begins_at = _seconds(token, "exp"), _seconds(token, "nbf")
    if expires_at is None or expires_at <= now:
        raise ExpiredError(
            f"Token expired: current date/time {int(now)} must be before the expiration date/time {expires_at}"
        )
    if begins_at is not None and begins_at > now + _LEEWAY_S:
        raise WebTokenError("Token is not valid yet")


def _signed_with(key: Mapping[str, Any], token: WebToken) -> bool:
    try:
        modulus = int.from_bytes(_bytes(str(key["n"])), "big")
        exponent = int.from_bytes(_bytes(str(key["e"])), "big")
    except (KeyError, WebTokenError):
        return False
    bits = modulus.bit_length()
    size = (bits + 7) // 8
    if not _MIN_KEY_BITS <= bits <= _MAX_KEY_BITS or len(token.signature) != size:
        return False
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 64:
        return False
    name, prefix = _DIGESTS[token.algorithm]
    digest = prefix + hashlib.new(name, token.signed).digest()
    expected = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    found = pow(int.from_bytes(token.signature, "big"), exponent, modulus).to_bytes(size, "big")
    return hmac.compare_digest(found, expected)


def _seconds(token: WebToken, name: str) -> float | None:
    value: Any = token.claims.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _object(part: str) -> Mapping[str, Any]:
    try:
        found: object = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise WebTokenError(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        )
    return cast("Mapping[str, Any]", found)


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise WebTokenError("The ID Token provided is not a valid JWT: it is not base64url.") from None
