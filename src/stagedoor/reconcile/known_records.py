"""The records of one kind in memory: read once, then only what commits changed.

Place in the flow: a reconciler looks here at what is wanted, so that a pass over a thousand resources of which one changed reads one. The
records are the truth: what is here is at most one ``catch_up`` old, and the commit that changed it has woken the loop.
"""

import asyncio
import threading
from collections.abc import Iterator

from stagedoor.store.records import Key, Record, Records


class KnownRecords:
    """For the event loop, one ``catch_up`` at a time."""

    def __init__(self, records: Records, kind: str) -> None:
        self._records = records
        self._kind = kind
        self._known: dict[Key, Record] = {}
        self._lock = threading.Lock()
        self._changed: set[Key] = set()
        self._is_loaded = False
        records.subscribe(kind, self._note)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._known.values())

    def get(self, key: Key) -> Record | None:
        """The record as it was at the last ``catch_up``."""
        return self._known.get(key)

    async def catch_up(self) -> set[Key]:
        """Read what changed since the last time, everything at first; gives the keys, also of what is gone."""
        if not self._is_loaded:
            self._known = {record.key: record for record in await asyncio.to_thread(self._load)}
            self._is_loaded = True
            return set(self._known)
        with self._lock:
            changed, self._changed = self._changed, set()
        if not changed:
            return changed
        try:
            found = await asyncio.to_thread(self._read, changed)
        except BaseException:
            with self._lock:
                self._changed |= changed
            raise
        for key, record in found.items():
            if record is None:
                self._known.pop(key, None)
            else:
                self._known[key] = record
        return changed

    def _load(self) -> list[Record]:
        return self._records.list(self._kind)

    def _read(self, keys: set[Key]) -> dict[Key, Record | None]:
        return {key: self._records.get(key) for key in keys}

    def _note(self, keys: frozenset[Key]) -> None:
        with self._lock:
            self._changed |= {key for key in keys if key.kind == self._kind}
