"""One SQLite file and its connections: one for the writer, one for each thread that reads.

Place in the flow: under every store of this folder that keeps rows (``records``, ``object_database``, ``log_events``, ``metric_points``).
WAL: readers see the last commit and never wait for the writer.

Commits that must be durable share their fsyncs: a writer commits to the log, gives its turn to the next one, and waits until an fsync
that began after its commit has ended. So SQLite itself syncs only what its own consistency needs (``synchronous=NORMAL``: the log
before a checkpoint, the database after it), and eight writers on a disk with 100 fsyncs a second get far more than 100 commits.
"""

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from stagedoor.store.durable import GroupSync

# For each thread that reads; what it holds more is in the system's own cache.
_READER_CACHE_KB: Final = 512


class _Reader(NamedTuple):
    """The connection of one reading thread; the lock is held while it is used (a thread may read within a read)."""

    connection: sqlite3.Connection
    lock: contextlib.AbstractContextManager[object]


class _Writers:
    """Whose turn it is to write to one file, and what of it is durable: shared by all who have it open in this process.

    SQLite itself would have them poll for their turn.
    """

    def __init__(self, path: Path) -> None:
        self.turn = threading.RLock()
        self.sync = GroupSync(path.with_name(path.name + "-wal"))


_writers: "weakref.WeakValueDictionary[Path, _Writers]" = weakref.WeakValueDictionary()
_writers_lock = threading.Lock()


def _writers_of(path: Path) -> _Writers:
    with _writers_lock:
        found = _writers.get(path)
        if found is None:
            found = _writers[path] = _Writers(path)
        return found


def _nothing() -> None:
    return


class SqliteFile:
    """The file at ``path``, with ``schema`` in it. Thread-safe; blocking.

    ``synchronous``: FULL has a commit on the disk when ``writing`` ends; NORMAL may lose the last ones with the machine's power.
    """

    def __init__(
        self, path: Path, schema: str, *, synchronous: Literal["FULL", "NORMAL"], foreign_keys: bool = False
    ) -> None:
        self._path = path.absolute()
        self._durable = synchronous == "FULL"
        self._pragmas = [
            "synchronous=NORMAL",
            "checkpoint_fullfsync=ON",
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
        ]
        self._writers = _writers_of(self._path)
        self._local = threading.local()
        self._readers: list[_Reader] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        self._writer = self._connect()
        self._writer.executescript(schema)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        for pragma in ("journal_mode=WAL", *self._pragmas):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """The thread's own connection; ``close`` waits until it is given back, or SQLite would free it under the reader.

        sqlite3.ProgrammingError when the file is closed.
        """
        own: _Reader | None = getattr(self._local, "reader", None)
        if own is None:
            with self._readers_lock:
                if self._closed:
                    raise sqlite3.ProgrammingError("the store is closed")
                own = self._local.reader = _Reader(self._connect(), threading.RLock())
                own.connection.execute(f"PRAGMA cache_size=-{_READER_CACHE_KB}")
                self._readers.append(own)
        with own.lock:
            yield own.connection

    @contextlib.contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """As ``reading``, and all statements see one state of the tables."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self, committed: Callable[[], None] = _nothing) -> Generator[sqlite3.Connection]:
        """One change: commits at the end of the block, rolls back on an error. Writers take turns.

        ``committed`` runs after the commit and before anybody else's turn; then the change is made durable.
        SyncFailedError when the disk fails at that: whether the change is there after a restart is not known.
        """
        with self._writers.turn:
            self._writers.sync.check()
            self._writer.execute("BEGIN IMMEDIATE")
            before = self._writer.total_changes
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            changed = self._writer.total_changes != before
            ticket = self._writers.sync.appended() if changed and self._durable else None
            committed()
        if ticket is not None:
            self._writers.sync.wait(ticket)

    def close(self) -> None:
        """Close all connections, each when its thread has read to the end."""
        with self._writers.turn:
            self._writer.close()
        with self._readers_lock:
            self._closed = True
            readers, self._readers = self._readers, []
        for each in readers:
            with each.lock:
                each.connection.close()
