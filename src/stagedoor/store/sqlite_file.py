"""One SQLite file and its connections: one for the writer, one for each thread that reads.

Place in the flow: under every store of this folder that keeps rows (``records``, ``object_database``, ``log_events``, ``metric_points``).
WAL: readers see the last commit and never wait for the writer.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Literal, NamedTuple


class _Reader(NamedTuple):
    """The connection of one reading thread; the lock is held while it is used (a thread may read within a read)."""

    connection: sqlite3.Connection
    lock: contextlib.AbstractContextManager[object]


class SqliteFile:
    """The file at ``path``, with ``schema`` in it. Thread-safe; blocking.

    ``synchronous``: FULL has a commit on the disk when it returns; NORMAL may lose the last ones with the machine's power.
    """

    def __init__(
        self, path: Path, schema: str, *, synchronous: Literal["FULL", "NORMAL"], foreign_keys: bool = False
    ) -> None:
        self._path = path
        self._pragmas = [f"synchronous={synchronous}", f"foreign_keys={'ON' if foreign_keys else 'OFF'}"]
        self._lock = threading.RLock()
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
    def writing(self) -> Generator[sqlite3.Connection]:
        """One change: commits at the end of the block, rolls back on an error. Writers take turns."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close all connections, each when its thread has read to the end."""
        with self._lock:
            self._writer.close()
        with self._readers_lock:
            self._closed = True
            readers, self._readers = self._readers, []
        for each in readers:
            with each.lock:
                each.connection.close()
