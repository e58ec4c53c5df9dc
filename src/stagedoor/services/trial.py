"""A trial run of an API's method, as TestInvokeMethod asks for it and ``public`` carries it out.

The values stand below both, since operations do not know the public listener; ``app`` brings them together.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Trial:
    """What to try: a request for one resource and method of an API as it is now. ``resources`` is the API's tree."""

    account_id: str
    region: str
    api_id: str
    resources: Mapping[str, Any]
    resource_id: str
    http_method: str
    binary_media_types: frozenset[str]
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    stage_variables: Mapping[str, str]
    identity: Mapping[str, str]
    """Who tries, by the names of an event's ``identity``."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of it; ``log`` tells a person how."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    log: str
    latency_ms: int


TryMethod = Callable[[Trial], Awaitable[TrialResult]]
