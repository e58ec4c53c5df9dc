"""The records of one kind in memory: read once, then only what commits changed.

Place in the flow: a reconciler looks here at what is wanted, so that a pass over a thousand resources of which one changed reads one. The
records are the truth: what is here is at most one ``catch_up`` old, and the commit that changed it has woken the loop.
"""

import asyncio
from collections.abc import Iterator

from stagedoor.store.record_mirror import RecordMirror
from stagedoor.store.records import Key, Record, Records


class KnownRecords:
    """For the event loop, one ``catch_up`` at a time."""

    def __init__(self, records: Records, kind: str) -> None:
        self._mirror = RecordMirror(records, kind, _itself)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._mirror.found.values())

    def get(self, key: Key) -> Record | None:
        """The record as it was at the last ``catch_up``."""
        return self._mirror.found.get(key)

    async def catch_up(self) -> set[Key]:
        """Read what changed since the last time, everything at first; gives the keys, also of what is gone."""
        if self._mirror.is_current:
            return set()
        return set(await asyncio.to_thread(self._mirror.catch_up))


def _itself(record: Record) -> Record:
    return record
