"""Durable desired and observed state: one row per resource, committed with fsync, in SQLite.

Place in the flow: operations commit intent here and return; a commit wakes whoever subscribed to the kind
(reconcilers, caches). Nothing on the path of an invocation reads from here.

A record is a JSON document under a key ``(kind, account_id, region, name)``. ``kind`` names the service and the
resource (``sagemaker.endpoint``, ``iam.role``); global services use region ``""``. Documents hold AWS's member names
where AWS has one, times as epoch seconds.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from stagedoor.store.sqlite_file import SqliteFile

Document = dict[str, Any]


class Key(NamedTuple):
    """Where a record lives. Names compare case-sensitively and sort by code point."""

    kind: str
    account_id: str
    region: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """One stored resource. ``revision`` counts its writes, from 1."""

    key: Key
    document: Document = field(hash=False)
    revision: int = 1

    @property
    def name(self) -> str:
        return self.key.name


class AlreadyExistsError(Exception):
    """An insert met a record under the same key."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"{key.kind} {key.name} exists already")
        self.key = key


class ConflictError(Exception):
    """A write expected another revision than the stored one."""

    def __init__(self, key: Key, expected: int, found: int | None) -> None:
        super().__init__(f"{key.kind} {key.name}: expected revision {expected}, found {found}")
        self.key = key


class Reader(Protocol):
    """What both the store and an open transaction can be asked."""

    def get(self, key: Key) -> Record | None:
        """The record under ``key``, or None."""
        ...

    def list(
        self,
        kind: str,
        account_id: str | None = None,
        region: str | None = None,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[Record]:
        """Records of one kind ordered by (account, region, name); None for account or region means every one.

        ``prefix`` and ``after`` (exclusive) narrow by name; ``limit`` bounds the number returned.
        """
        ...

    def by_creation(
        self, kind: str, account_id: str, region: str, *, descending: bool, start: float | None = None
    ) -> Iterator[Record]:
        """Records of a kind of SageMaker's in the order of ``CreationTime``, from ``start`` on; read as they are asked for."""
        ...

    def spelt(self, kind: str, account_id: str, name: str) -> str | None:
        """How the name of a global resource is spelt that is taken, whatever the case of its (ASCII) letters; None when it is free."""
        ...


class Transaction(Reader, Protocol):
    """One atomic, durable change: everything in it is committed together when the ``with`` block ends well."""

    def insert(self, key: Key, document: Mapping[str, Any]) -> Record:
        """Add a record; AlreadyExistsError when the key is taken."""
        ...

    def put(self, key: Key, document: Mapping[str, Any], *, expect: int | None = None) -> Record:
        """Add or replace a record; with ``expect``, only when its revision is that (ConflictError otherwise)."""
        ...

    def delete(self, key: Key) -> bool:
        """Remove a record; True when there was one."""
        ...


Listener = Callable[[frozenset[Key]], None]


class Records(Reader, Protocol):
    """The store as the house sees it. Thread-safe; blocking (call it from operation threads)."""

    def transaction(self) -> contextlib.AbstractContextManager[Transaction]:
        """Open a write transaction (writers take turns). Commits at the end of the block, rolls back on an error."""
        ...

    def subscribe(self, kind_prefix: str, listener: Listener) -> None:
        """Call ``listener(keys)`` in the writing thread right after each commit that touched such kinds.

        The write's caller gets its answer only after every listener returned, so a cache that drops entries in its
        listener is never stale for the next request. Listeners must be quick and must not write.
        """
        ...

    def close(self) -> None:
        """Close all connections; the store is not used afterwards."""
        ...


_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (kind, account_id, region, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_creation
    ON records (kind, account_id, region, json_extract(CAST(document AS TEXT), '$.CreationTime'), name)
    WHERE kind GLOB 'sagemaker.*';
CREATE INDEX IF NOT EXISTS records_by_spelling ON records (kind, account_id, name COLLATE NOCASE)
    WHERE kind GLOB 'iam.*';
"""

_COLUMNS = "kind, account_id, region, name, revision, document"


def _record(row: tuple[str, str, str, str, int, bytes]) -> Record:
    return Record(Key(row[0], row[1], row[2], row[3]), orjson.loads(row[5]), row[4])


def _get(connection: sqlite3.Connection, key: Key) -> Record | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM records WHERE kind=? AND account_id=? AND region=? AND name=?",  # noqa: S608 - constants only
        key,
    ).fetchone()
    return _record(row) if row else None


def _list(
    connection: sqlite3.Connection,
    kind: str,
    account_id: str | None,
    region: str | None,
    prefix: str,
    after: str,
    limit: int | None,
) -> list[Record]:
    conditions, values = ["kind=?"], [kind]
    for column, value in (("account_id", account_id), ("region", region)):
        if value is not None:
            conditions.append(f"{column}=?")
            values.append(value)
    if prefix:
        # The upper bound ends the walk through the index.
        conditions.append("name>=? AND name<=? AND substr(name,1,length(?))=?")
        values += [prefix, prefix + "\U0010ffff", prefix, prefix]
    if after:
        conditions.append("name>?")
        values.append(after)
    sql = f"SELECT {_COLUMNS} FROM records WHERE {' AND '.join(conditions)} ORDER BY account_id, region, name"  # noqa: S608 - constants only
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    return [_record(row) for row in connection.execute(sql, values)]


_CREATED = "json_extract(CAST(document AS TEXT), '$.CreationTime')"
# What a page of a list needs mostly, and what it may need when filters drop most.
_FIRST_CHUNK, _LARGEST_CHUNK = 32, 512


def _by_creation(
    reading: Callable[[], contextlib.AbstractContextManager[sqlite3.Connection]],
    kind: str,
    account_id: str,
    region: str,
    descending: bool,
    start: float | None,
) -> Iterator[Record]:
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    scope = "kind=? AND kind GLOB 'sagemaker.*' AND account_id=? AND region=?"
    sql = f"SELECT {_COLUMNS}, {_CREATED} FROM records WHERE {scope} AND "  # noqa: S608 - constants only
    ending = f" ORDER BY {_CREATED} {order}, name {order} LIMIT ?"
    condition, values = f"{_CREATED} IS NOT NULL", list[Any]()
    if start is not None:
        condition, values = f"{_CREATED} {beyond}= ?", [start]
    limit = _FIRST_CHUNK
    while True:
        with reading() as connection:
            rows = connection.execute(
                sql + condition + ending, (kind, account_id, region, *values, limit)
            ).fetchall()
        for row in rows:
            yield _record(row[:6])
        if len(rows) < limit:
            return
        condition, values = f"({_CREATED}, name) {beyond} (?, ?)", [rows[-1][6], rows[-1][3]]
        limit = min(_LARGEST_CHUNK, limit * 4)


def _spelt(connection: sqlite3.Connection, kind: str, account_id: str, name: str) -> str | None:
    row = connection.execute(
        "SELECT name FROM records WHERE kind=? AND kind GLOB 'iam.*' AND account_id=? AND name=? COLLATE NOCASE",
        (kind, account_id, name),
    ).fetchone()
    return row[0] if row else None


class _SqliteTransaction:
    """``touched`` gets the keys of all that is written."""

    def __init__(self, connection: sqlite3.Connection, touched: set[Key]) -> None:
        self._connection = connection
        self._touched = touched

    def get(self, key: Key) -> Record | None:
        return _get(self._connection, key)

    def list(
        self,
        kind: str,
        account_id: str | None = None,
        region: str | None = None,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[Record]:
        return _list(self._connection, kind, account_id, region, prefix, after, limit)

    def by_creation(
        self, kind: str, account_id: str, region: str, *, descending: bool, start: float | None = None
    ) -> Iterator[Record]:
        own = contextlib.nullcontext(self._connection)
        return _by_creation(lambda: own, kind, account_id, region, descending, start)

    def spelt(self, kind: str, account_id: str, name: str) -> str | None:
        return _spelt(self._connection, kind, account_id, name)

    def insert(self, key: Key, document: Mapping[str, Any]) -> Record:
        record = Record(key, dict(document), 1)
        try:
            self._connection.execute(
                f"INSERT INTO records ({_COLUMNS}) VALUES (?,?,?,?,1,?)",  # noqa: S608 - constants only
                (*key, orjson.dumps(record.document)),
            )
        except sqlite3.IntegrityError as error:
            raise AlreadyExistsError(key) from error
        self._touched.add(key)
        return record

    def put(self, key: Key, document: Mapping[str, Any], *, expect: int | None = None) -> Record:
        found = _get(self._connection, key)
        revision = found.revision if found else 0
        if expect is not None and expect != revision:
            raise ConflictError(key, expect, found.revision if found else None)
        record = Record(key, dict(document), revision + 1)
        self._connection.execute(
            f"INSERT OR REPLACE INTO records ({_COLUMNS}) VALUES (?,?,?,?,?,?)",  # noqa: S608 - constants only
            (*key, record.revision, orjson.dumps(record.document)),
        )
        self._touched.add(key)
        return record

    def delete(self, key: Key) -> bool:
        cursor = self._connection.execute(
            "DELETE FROM records WHERE kind=? AND account_id=? AND region=? AND name=?", key
        )
        if cursor.rowcount:
            self._touched.add(key)
        return bool(cursor.rowcount)


class SqliteRecords:
    """``Records`` in one SQLite file. A transaction is on the disk when its block has ended (see ``store.sqlite_file``).

    One connection per reading thread, one for the writer behind a lock. Others see a change as soon as it is committed, a moment before
    it is durable: whoever acts on it ends with the same loss of power that could undo it.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, _SCHEMA, synchronous="FULL")
        self._listeners: list[tuple[str, Listener]] = []

    def get(self, key: Key) -> Record | None:
        with self._file.reading() as connection:
            return _get(connection, key)

    def list(
        self,
        kind: str,
        account_id: str | None = None,
        region: str | None = None,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[Record]:
        with self._file.reading() as connection:
            return _list(connection, kind, account_id, region, prefix, after, limit)

    def by_creation(
        self, kind: str, account_id: str, region: str, *, descending: bool, start: float | None = None
    ) -> Iterator[Record]:
        return _by_creation(self._file.reading, kind, account_id, region, descending, start)

    def spelt(self, kind: str, account_id: str, name: str) -> str | None:
        with self._file.reading() as connection:
            return _spelt(connection, kind, account_id, name)

    @contextlib.contextmanager
    def transaction(self) -> Generator[Transaction]:
        touched: set[Key] = set()
        # Listeners run before the next writer's turn, so that they see commits in order.
        with self._file.writing(lambda: self._notify(frozenset(touched))) as connection:
            yield _SqliteTransaction(connection, touched)

    def _notify(self, keys: frozenset[Key]) -> None:
        for prefix, listener in self._listeners:
            concerned = frozenset(key for key in keys if key.kind.startswith(prefix))
            if concerned:
                listener(concerned)

    def subscribe(self, kind_prefix: str, listener: Listener) -> None:
        self._listeners.append((kind_prefix, listener))

    def close(self) -> None:
        self._file.close()
