"""Time as a value that is passed in: wall clock for timestamps and expiry dates, monotonic clock for time-outs."""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What the house asks for time. Tests pass ``ManualClock``."""

    def now(self) -> float:
        """Seconds since the epoch (UTC); what documents and answers store."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump; for durations and time-outs."""
        ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """A clock that only moves when a test moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let both clocks run on by ``seconds``."""
        self._now += seconds
        self._monotonic += seconds


def as_datetime(epoch_s: float) -> datetime:
    """Epoch seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(epoch_s, UTC)


def iso8601_ms(epoch_s: float) -> str:
    """``2024-05-01T12:00:00.123Z``, the form most AWS event payloads use."""
    second, milliseconds = divmod(int(epoch_s * 1000), 1000)
    return f"{_iso8601(second)}.{milliseconds:03d}Z"


@lru_cache(8)
def _iso8601(second: int) -> str:
    """A log writes thousands of times of the same second."""
    return as_datetime(second).strftime("%Y-%m-%dT%H:%M:%S")
