"""One line per call on the signed listener, in small batches: a call pays for an append, and none waits for the lines of many others."""

import asyncio
from functools import lru_cache
from pathlib import Path

import orjson

from stagedoor.domain.clock import Clock, iso8601_ms

FLUSH_S = 0.5
FILE_MAX_BYTES = 64 * 1024 * 1024
# The loop stands still while they are written: half a second's at once would be a hundredth of all answers late by 10 ms.
_LINES_AT_ONCE = 256


class AccessLog:
    """``DIR/logs/access.jsonl``: time, request id, service, operation, status, duration, principal. No secrets."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(
        self, request_id: str, service: str, operation: str, status: int, duration_s: float, principal: str
    ) -> None:
        """Note one call; it reaches the file within ``FLUSH_S``."""
        # Half of what making a dict and dumping it takes. Only a principal may need escapes.
        self._lines.append(
            f'{{"time":"{iso8601_ms(self._clock.now())}","request_id":"{request_id}","service":"{service}",'
            f'"operation":"{operation}","status":{status},"duration_ms":{duration_s * 1000:.3f},'
            f'"principal":{_quoted(principal)}}}\n'
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        if len(self._lines) >= _LINES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Append what waits; the file before last is dropped when it is full."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self.append("".join(lines).encode())

    def append(self, lines: bytes) -> None:
        """Append whole lines to the file: those of here, and those that front processes send."""
        if self._path.exists() and self._path.stat().st_size > FILE_MAX_BYTES:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
        with self._path.open("ab") as file:
            file.write(lines)


@lru_cache(1024)
def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
