"""One line per call on the signed listener, in small batches: a call pays for an append, and none waits for the lines of many others."""

import asyncio
from functools import lru_cache
from pathlib import Path

import orjson

from stagedoor.domain.clock import Clock, iso8601_ms

FLUSH_S = 0.5
FILE_MAX_BYTES = 64 * 1024 * 1024
# The loop stands still while lines are made (2 µs each) and written: half a second's at once would be a hundredth of all
# answers late by 10 ms.
_CALLS_AT_ONCE = 32
_BYTES_AT_ONCE = 64 * 1024


class AccessLog:
    """``DIR/logs/access.jsonl``: time, request id, service, operation, status, duration, principal. No secrets."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._waiting: list[tuple[float, str, str, str, int, float, str]] = []
        self._lines = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def write(
        self, request_id: str, service: str, operation: str, status: int, duration_s: float, principal: str
    ) -> None:
        """Note one call; it reaches the file within ``FLUSH_S``."""
        self._waiting.append(
            (self._clock.now(), request_id, service, operation, status, duration_s, principal)
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        if len(self._waiting) >= _CALLS_AT_ONCE:
            self._make_lines()
            if len(self._lines) >= _BYTES_AT_ONCE:
                self.flush()

    def flush(self) -> None:
        """Append what waits; the file before last is dropped when it is full."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._make_lines()
        if self._lines:
            self.append(bytes(self._lines))
            self._lines.clear()

    def _make_lines(self) -> None:
        lines: list[str] = []
        for now_s, request_id, service, operation, status, duration_s, principal in self._waiting:
            # Half of what making a dict and dumping it takes. Only a principal may need escapes.
            lines.append(
                f'{{"time":"{iso8601_ms(now_s)}","request_id":"{request_id}","service":"{service}",'
                f'"operation":"{operation}","status":{status},"duration_ms":{duration_s * 1000:.3f},'
                f'"principal":{_quoted(principal)}}}\n'
            )
        self._lines += "".join(lines).encode()
        self._waiting.clear()

    def append(self, lines: bytes) -> None:
        """Append whole lines to the file: those of here, and those that front processes send."""
        if self._path.exists() and self._path.stat().st_size > FILE_MAX_BYTES:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
        with self._path.open("ab") as file:
            file.write(lines)


@lru_cache(1024)
def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
