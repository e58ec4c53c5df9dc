"""Codes of virtual MFA devices: RFC 6238 with SHA-1, six digits, thirty seconds, as authenticator apps make them. Pure."""

import base64
import hmac
from typing import Final

STEP_S: Final = 30
_DIGITS: Final = 6


def code_at(seed: str, step: int) -> str:
    """The code of a base32 seed in one step of thirty seconds since the epoch."""
    digest = hmac.digest(base64.b32decode(seed), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}d}"


def step_of(seed: str, code: str, now: float, after: int = -1) -> int | None:
    """The step that ``code`` belongs to: the present one or a neighbour, later than ``after``; None for a wrong code.

    Whoever accepts a code remembers its step, so that the same code is never good twice.
    """
    present = int(now) // STEP_S
    found = None
    for step in (present - 1, present, present + 1):
        if hmac.compare_digest(code_at(seed, step).encode(), code.encode()) and step > after:
            found = step
    return found
