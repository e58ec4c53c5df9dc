"""The queued events in memory: what is due when, without reading the whole queue for every event.

Place in the flow: commits of ``lambda.event`` records say which keys changed; a pass of the reconciler reads just those. The
records are the truth: this is built from them at the start, and holds no payload.
"""

import heapq
from collections.abc import Container

from stagedoor.reconcile.functions.event_plan import QueuedEvent
from stagedoor.store.record_mirror import RecordMirror
from stagedoor.store.records import Key, Record, Records

KIND = "lambda.event"


class EventQueue:
    """An index of the events. ``catch_up`` blocks (run it in a thread, one at a time); the rest is for the event loop."""

    def __init__(self, records: Records) -> None:
        self._events = RecordMirror(records, KIND, _event)

    def catch_up(self) -> None:
        """Read what changed since the last time; everything at first."""
        self._events.catch_up()

    def earliest(self, count: int, *, except_for: Container[Key]) -> list[QueuedEvent]:
        """The events that are due first, in order."""
        waiting = (event for event in self._events.found.values() if event.key not in except_for)
        return heapq.nsmallest(count, waiting, key=lambda event: (event.due_at, event.key))


def _event(record: Record) -> QueuedEvent:
    document = record.document
    return QueuedEvent(record.key, document["acceptedAt"], document["dueAt"], document["attempts"])
