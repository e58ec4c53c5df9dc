"""The queued events in memory: what is due when, without reading the whole queue for every event.

Place in the flow: commits of ``lambda.event`` records say which keys changed; a pass of the reconciler reads just those. The
records are the truth: this is built from them at the start, and holds no payload.
"""

import heapq
import threading
from collections.abc import Container

from stagedoor.reconcile.functions.event_plan import QueuedEvent
from stagedoor.store.records import Key, Record, Records

KIND = "lambda.event"


class EventQueue:
    """An index of the events. ``catch_up`` blocks (run it in a thread, one at a time); the rest is for the event loop."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._events: dict[Key, QueuedEvent] = {}
        self._lock = threading.Lock()
        self._changed: set[Key] = set()
        self._loaded = False
        records.subscribe(KIND, self._note)

    def _note(self, keys: frozenset[Key]) -> None:
        with self._lock:
            self._changed |= keys

    def catch_up(self) -> None:
        """Read what changed since the last time; everything at first."""
        with self._lock:
            changed, self._changed = self._changed, set()
        events = dict(self._events)
        if not self._loaded:
            events = {record.key: _event(record) for record in self._records.list(KIND)}
            self._loaded = True
        for key in changed:
            record = self._records.get(key)
            if record is None:
                events.pop(key, None)
            else:
                events[key] = _event(record)
        self._events = events

    def earliest(self, count: int, *, except_for: Container[Key]) -> list[QueuedEvent]:
        """The events that are due first, in order."""
        waiting = (event for event in self._events.values() if event.key not in except_for)
        return heapq.nsmallest(count, waiting, key=lambda event: (event.due_at, event.key))


def _event(record: Record) -> QueuedEvent:
    document = record.document
    return QueuedEvent(record.key, document["acceptedAt"], document["dueAt"], document["attempts"])
