"""One line per call on the signed listener, written in batches so that a call pays for an append only."""

import asyncio
from pathlib import Path

import orjson

from stagedoor.domain.clock import Clock, iso8601_ms

FLUSH_S = 0.5
FILE_MAX_BYTES = 64 * 1024 * 1024


class AccessLog:
    """``DIR/logs/access.jsonl``: time, request id, service, operation, status, duration, principal. No secrets."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._waiting: list[tuple[float, str, str, str, int, float, str]] = []
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

    def flush(self) -> None:
        """Append what waits; the file before last is dropped when it is full."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        lines = [
            orjson.dumps(
                {
                    "time": iso8601_ms(now_s),
                    "request_id": request_id,
                    "service": service,
                    "operation": operation,
                    "status": status,
                    "duration_ms": round(duration_s * 1000, 3),
                    "principal": principal,
                }
            )
            for now_s, request_id, service, operation, status, duration_s, principal in waiting
        ]
        self.append(b"\n".join(lines) + b"\n")

    def append(self, lines: bytes) -> None:
        """Append whole lines to the file: those of here, and those that front processes send."""
        if self._path.exists() and self._path.stat().st_size > FILE_MAX_BYTES:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
        with self._path.open("ab") as file:
            file.write(lines)
