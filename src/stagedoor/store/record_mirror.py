"""One kind of record in memory, kept up by reading what commits touched and nothing else.

Place in the flow: under reconcilers, which look at all resources of a kind whenever one changes. The records are the truth: this is
read from them at first, and then costs what changed, however many did not.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from stagedoor.store.records import Key, Record, Records

T = TypeVar("T")


class TouchedKeys:
    """Which records of a kind were written or deleted since they were taken last. Thread-safe."""

    def __init__(self, records: Records, kind: str) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._touched: set[Key] = set()
        records.subscribe(kind, self.add)

    def add(self, keys: Iterable[Key]) -> None:
        """Note these, too."""
        with self._lock:
            self._touched.update(key for key in keys if key.kind == self._kind)

    def __bool__(self) -> bool:
        return bool(self._touched)

    def take(self) -> set[Key]:
        """All of them; the next call gives those that come after it."""
        with self._lock:
            taken, self._touched = self._touched, set()
            return taken


class RecordMirror(Generic[T]):
    """What ``make`` makes of each record; where it makes None of one, that one is left out.

    ``catch_up`` blocks (run it in a thread, one at a time); between its calls ``found`` stays as it is.
    """

    def __init__(self, records: Records, kind: str, make: Callable[[Record], T | None]) -> None:
        self._records = records
        self._kind = kind
        self._make = make
        self._found: dict[Key, T] = {}
        self._touched = TouchedKeys(records, kind)
        self._loaded = False

    @property
    def found(self) -> Mapping[Key, T]:
        """By key; as of the last ``catch_up``."""
        return self._found

    @property
    def is_current(self) -> bool:
        """Whether nothing was touched since the last ``catch_up``."""
        return self._loaded and not self._touched

    def catch_up(self) -> frozenset[Key]:
        """Read what was touched since the last time, all at first; the keys of what was."""
        touched = self._touched.take()
        try:
            if not self._loaded:
                records = {record.key: record for record in self._records.list(self._kind)}
                touched |= records.keys()
            else:
                records = {key: record for key in touched if (record := self._records.get(key)) is not None}
            made = {key: self._make(record) for key, record in records.items()}
        except BaseException:
            self._touched.add(touched)
            raise
        self._loaded = True
        # A new one: the event loop may be walking through the old one.
        found = dict(self._found)
        for key in touched:
            value = made.get(key)
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        self._found = found
        return frozenset(touched)
