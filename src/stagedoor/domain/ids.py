"""Identifiers in the forms AWS uses. Random, from the operating system's generator; of ids of requests the beginning is."""

import itertools
import secrets
import uuid

_UPPER_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOWER_BASE36 = "abcdefghijklmnopqrstuvwxyz0123456789"


def _draw(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


# Request ids of one process begin alike, by chance, and their ends count: by an odd step, so that the first 2 ** 48 differ, and a large
# one, so that a person can tell those that follow each other apart.
_REQUEST_ID_BEGIN = str(uuid.uuid4())[:24]
_next_number = itertools.count(secrets.randbits(48)).__next__
_STEP = 0x9E3779B97F4B


def request_id() -> str:
    """A request id, as most services answer it: a UUID that nobody else has. It is no secret, and every request has one: nothing is drawn."""
    return f"{_REQUEST_ID_BEGIN}{_next_number() * _STEP & 0xFFFFFFFFFFFF:012x}"


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
