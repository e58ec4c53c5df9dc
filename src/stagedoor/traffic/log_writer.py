"""Carries log lines from the event loop to the log store: batched, in order, in a thread, bounded in memory.

Place in the flow: whoever reads a worker's output on the event loop ``write``s lines here; a flush stores what came in
the meantime with one commit per stream. A store that fails (a full disk) costs log lines, never an invocation.
"""

import asyncio
import logging
from typing import NamedTuple

from stagedoor.store.log_events import LogEvents

log = logging.getLogger(__name__)

_BATCH_PAUSE_S = 0.02
_FULL_BYTES = 4 * 1024 * 1024


class LogPlace(NamedTuple):
    """Where lines go."""

    account_id: str
    region: str
    group: str
    stream: str


class LogWriter:
    """Lines on their way to the store. Used on one event loop."""

    def __init__(self, log_events: LogEvents) -> None:
        self._log_events = log_events
        self._pending: dict[LogPlace, list[tuple[int, str]]] = {}
        self._pending_bytes = 0
        # Done when everything written so far has been stored: batches are stored one after the other.
        self._stored: asyncio.Future[None] | None = None
        self._storing: asyncio.Task[None] | None = None

    def write(self, place: LogPlace, timestamp_ms: int, message: str) -> None:
        """Take one event; it is in the store a few hundredths of a second later."""
        self._pending.setdefault(place, []).append((timestamp_ms, message))
        self._pending_bytes += len(message)
        if len(self._pending) == 1 and len(self._pending[place]) == 1:
            # The first of a new batch.
            loop = asyncio.get_running_loop()
            self._stored = loop.create_future()
            if self._storing is None:
                self._storing = loop.create_task(self._store_all())

    @property
    def is_full(self) -> bool:
        """Whether writers should wait for ``drained`` before they write more."""
        return self._pending_bytes > _FULL_BYTES

    async def drained(self) -> None:
        """Return when everything written so far is in the store (or was lost with a message in the server's log)."""
        if self._stored is not None:
            await asyncio.shield(self._stored)

    async def _store_all(self) -> None:
        try:
            while self._pending and self._stored is not None:
                await asyncio.sleep(0 if self.is_full else _BATCH_PAUSE_S)
                batch, stored = self._pending, self._stored
                self._pending, self._pending_bytes = {}, 0
                try:
                    await asyncio.to_thread(self._store, batch)
                finally:
                    stored.set_result(None)
        finally:
            self._storing = None

    def _store(self, batch: dict[LogPlace, list[tuple[int, str]]]) -> None:
        for place, events in batch.items():
            try:
                self._log_events.put(*place, events)
            except Exception:
                log.exception("log events were lost", extra={"group": place.group, "events": len(events)})
