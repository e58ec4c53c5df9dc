"""Opaque tokens by which a listing goes on."""

import base64
import binascii

from stagedoor.services.s3 import errors

_VERSION = b"1"


def token_of(last: str) -> str:
    """The token of a page that ended with ``last``."""
    return base64.urlsafe_b64encode(_VERSION + last.encode()).decode()


def read_token(token: str) -> str:
    """Where the page of a token goes on. InvalidArgument for what was not given out here."""
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        if raw[:1] == _VERSION:
            return raw[1:].decode()
    except (binascii.Error, ValueError):
        pass
    raise errors.invalid_argument("The continuation token provided is incorrect", "continuation-token", token)
