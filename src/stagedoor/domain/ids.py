"""Identifiers in the forms AWS uses. Random, from the operating system's generator but for ids of requests."""

import random
import secrets

_UPPER_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_draw_bits = random.Random().getrandbits
_LOWER_BASE36 = "abcdefghijklmnopqrstuvwxyz0123456789"


def _draw(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def request_id() -> str:
    """A request id: a random UUID, as most services answer it. Every request has one, and it is no secret: no system call."""
    digits = f"{_draw_bits(120):030x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-{digits[18:]}"


def iam_id(prefix: str) -> str:
    """A unique IAM id: ``AIDA`` user, ``AROA`` role, ``ANPA`` policy, ``AGPA`` group, ``AKIA``/``ASIA`` keys."""
    return prefix + _draw(_UPPER_BASE32, 20 - len(prefix))


def secret_access_key() -> str:
    """A 40 character secret access key."""
    return secrets.token_urlsafe(30)


def rest_api_id() -> str:
    """An API Gateway id (API, deployment …): 10 lower-case letters and digits."""
    return _draw(_LOWER_BASE36, 10)


def resource_suffix(length: int = 6) -> str:
    """A short lower-case id (API Gateway resources and deployments, suffixes of generated names)."""
    return _draw(_LOWER_BASE36, length)
