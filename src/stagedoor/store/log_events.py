"""Log groups, streams and events in a SQLite file of their own, so that chatty workers never delay a control write.

Place in the flow: jobs, model servers and functions ``put`` what they print (from a thread, never on the event loop);
``services.logs`` reads it back. WAL with ``synchronous=NORMAL``: a power cut may lose the last moments of a log, a killed
server loses nothing.

Events of a stream are ordered by (timestamp, sequence), sequence being the order of arrival. A ``Boundary`` is a place
between two events in that order; reading goes forward from one or backward from one.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from stagedoor.domain.clock import Clock, SystemClock
from stagedoor.store.sqlite_file import SqliteFile

MAX_EVENT_BYTES = 262_144
"""What the house's own writers may put into one event; longer messages are cut."""

PAGE_BYTES = 1_048_576
"""An answer holds about this many bytes of messages at most; AWS counts 26 bytes more for every event."""

EVENT_OVERHEAD_BYTES = 26
DAY_MS = 86_400_000
_SWEEP_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A log group. Times in milliseconds since the epoch; ``retention_days`` None keeps events for ever."""

    id: int
    account_id: str
    region: str
    name: str
    creation_ms: int
    retention_days: int | None
    tags: Mapping[str, str] = field(hash=False)
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class LogStream:
    """A log stream; first, last and ingestion are None while it never had an event."""

    id: int
    name: str
    creation_ms: int
    first_event_ms: int | None
    last_event_ms: int | None
    last_ingestion_ms: int | None
    stored_bytes: int


class Boundary(NamedTuple):
    """A place between events: everything smaller than (timestamp, sequence) lies before it."""

    timestamp_ms: int
    sequence: int


BEGINNING = Boundary(-1, 0)
END = Boundary(2**62, 0)


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event as it was put; ``message`` is data: newlines, NULs and escape sequences are kept."""

    stream: str
    timestamp_ms: int
    sequence: int
    ingestion_ms: int
    message: str

    @property
    def before(self) -> Boundary:
        """The boundary right before this event."""
        return Boundary(self.timestamp_ms, self.sequence)

    @property
    def after(self) -> Boundary:
        """The boundary right after this event."""
        return Boundary(self.timestamp_ms, self.sequence + 1)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    creation_ms INTEGER NOT NULL,
    retention_days INTEGER,
    tags BLOB NOT NULL,
    UNIQUE (account_id, region, name)
);
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    creation_ms INTEGER NOT NULL,
    first_event_ms INTEGER,
    last_event_ms INTEGER,
    last_ingestion_ms INTEGER,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (group_id, name)
);
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL,
    stream_id INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    timestamp_ms INTEGER NOT NULL,
    ingestion_ms INTEGER NOT NULL,
    message BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_stream ON events (stream_id, timestamp_ms, sequence);
CREATE INDEX IF NOT EXISTS events_of_group ON events (group_id, timestamp_ms, sequence);
"""

_GROUP = """SELECT id, account_id, region, name, creation_ms, retention_days, tags,
    (SELECT coalesce(sum(stored_bytes), 0) FROM streams WHERE group_id = groups.id) FROM groups"""
_STREAM = """SELECT id, name, creation_ms, first_event_ms, last_event_ms, last_ingestion_ms, stored_bytes
    FROM streams"""
_EVENT = """SELECT streams.name, timestamp_ms, sequence, ingestion_ms, message
    FROM events JOIN streams ON streams.id = stream_id"""


def _cut(message: str, max_bytes: int) -> bytes:
    """The message in UTF-8, cut at a character's end. Lone surrogates, which no answer could carry, become U+FFFD."""
    try:
        data = message.encode()
    except UnicodeEncodeError:
        data = message.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(data) <= max_bytes:
        return data
    return data[:max_bytes].decode("utf-8", "ignore").encode()


def _group(row: tuple[Any, ...]) -> LogGroup:
    return LogGroup(row[0], row[1], row[2], row[3], row[4], row[5], orjson.loads(row[6]), row[7])


def _event(row: tuple[Any, ...]) -> LogEvent:
    return LogEvent(row[0], row[1], row[2], row[3], bytes(row[4]).decode("utf-8", "replace"))


class LogEvents:
    """All logs of the server. Thread-safe; blocking."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._swept_ms = 0
        self._file = SqliteFile(path, _SCHEMA, synchronous="NORMAL", foreign_keys=True)

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    # Groups ------------------------------------------------------------------------------------------------------

    def create_group(
        self, account_id: str, region: str, name: str, tags: Mapping[str, str] | None = None
    ) -> bool:
        """Add a group; False when there is one of that name."""
        with self._file.writing() as connection:
            return self._add_group(connection, account_id, region, name, tags or {})

    def _add_group(
        self, connection: sqlite3.Connection, account_id: str, region: str, name: str, tags: Mapping[str, str]
    ) -> bool:
        cursor = connection.execute(
            "INSERT OR IGNORE INTO groups (account_id, region, name, creation_ms, tags) VALUES (?,?,?,?,?)",
            (account_id, region, name, self._now_ms(), orjson.dumps(dict(tags))),
        )
        return cursor.rowcount > 0

    def group(self, account_id: str, region: str, name: str) -> LogGroup | None:
        """The group of that name, or None."""
        with self._file.reading() as connection:
            row = connection.execute(
                f"{_GROUP} WHERE account_id=? AND region=? AND name=?", (account_id, region, name)
            ).fetchone()
        return _group(row) if row else None

    def groups(
        self,
        account_id: str,
        region: str,
        *,
        prefix: str = "",
        containing: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[LogGroup]:
        """Groups by name, behind ``after``; ``containing`` is a case-sensitive part of the name."""
        with self._file.reading() as connection:
            rows = connection.execute(
                f"{_GROUP} WHERE account_id=? AND region=? AND name>? AND substr(name,1,length(?))=?"
                " AND instr(name,?)>0 ORDER BY name LIMIT ?",
                (account_id, region, after, prefix, prefix, containing, -1 if limit is None else limit),
            )
            return [_group(row) for row in rows]

    def set_retention(self, group_id: int, retention_days: int | None) -> None:
        """Keep events for so many days; None for ever. Holds for reading at once, ``sweep`` frees the space."""
        with self._file.writing() as connection:
            connection.execute("UPDATE groups SET retention_days=? WHERE id=?", (retention_days, group_id))

    def set_tags(self, group_id: int, tags: Mapping[str, str]) -> None:
        """Replace all tags of a group."""
        with self._file.writing() as connection:
            connection.execute("UPDATE groups SET tags=? WHERE id=?", (orjson.dumps(dict(tags)), group_id))

    def delete_group(self, account_id: str, region: str, name: str) -> bool:
        """Remove a group with its streams and events; True when there was one."""
        with self._file.writing() as connection:
            cursor = connection.execute(
                "DELETE FROM groups WHERE account_id=? AND region=? AND name=?", (account_id, region, name)
            )
            return cursor.rowcount > 0

    # Streams -----------------------------------------------------------------------------------------------------

    def create_stream(self, group_id: int, name: str) -> bool:
        """Add a stream; False when the group has one of that name (or the group is gone)."""
        with self._file.writing() as connection:
            if connection.execute("SELECT 1 FROM groups WHERE id=?", (group_id,)).fetchone() is None:
                return False
            return self._add_stream(connection, group_id, name)

    def _add_stream(self, connection: sqlite3.Connection, group_id: int, name: str) -> bool:
        cursor = connection.execute(
            "INSERT OR IGNORE INTO streams (group_id, name, creation_ms) VALUES (?,?,?)",
            (group_id, name, self._now_ms()),
        )
        return cursor.rowcount > 0

    def stream(self, group_id: int, name: str) -> LogStream | None:
        """The stream of that name, or None."""
        with self._file.reading() as connection:
            row = connection.execute(f"{_STREAM} WHERE group_id=? AND name=?", (group_id, name)).fetchone()
        return LogStream(*row) if row else None

    def streams(
        self,
        group_id: int,
        *,
        prefix: str = "",
        order_by: Literal["LogStreamName", "LastEventTime"] = "LogStreamName",
        descending: bool = False,
        after: tuple[int, str] | None = None,
        limit: int | None = None,
    ) -> list[LogStream]:
        """Streams in order, behind ``after``: (last event in ms, name) of the stream before; by name the 0 is ignored.

        A stream without events sorts as if its last event were at 0.
        """
        conditions = "group_id=? AND substr(name,1,length(?))=?"
        values: list[object] = [group_id, prefix, prefix]
        direction, beyond = ("DESC", "<") if descending else ("ASC", ">")
        if order_by == "LastEventTime":
            order = f"coalesce(last_event_ms,0) {direction}, name {direction}"
            if after is not None:
                conditions += f" AND (coalesce(last_event_ms,0), name) {beyond} (?,?)"
                values += after
        else:
            order = f"name {direction}"
            if after is not None:
                conditions += f" AND name {beyond} ?"
                values.append(after[1])
        with self._file.reading() as connection:
            rows = connection.execute(
                f"{_STREAM} WHERE {conditions} ORDER BY {order} LIMIT ?",
                (*values, -1 if limit is None else limit),
            )
            return [LogStream(*row) for row in rows]

    def delete_stream(self, group_id: int, name: str) -> bool:
        """Remove a stream with its events; True when there was one."""
        with self._file.writing() as connection:
            cursor = connection.execute("DELETE FROM streams WHERE group_id=? AND name=?", (group_id, name))
            return cursor.rowcount > 0

    # Events ------------------------------------------------------------------------------------------------------

    def put(
        self,
        account_id: str,
        region: str,
        group: str,
        stream: str,
        events: Iterable[tuple[int, str]],
        *,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        """Append ``(timestamp_ms, message)`` events in one commit, making group and stream where they are missing.

        Once an hour it also removes what is past its retention: where nothing is written, nothing grows.
        """
        rows = [(timestamp_ms, _cut(message, max_event_bytes)) for timestamp_ms, message in events]
        if not rows:
            return
        now_ms = self._now_ms()
        if now_ms - self._swept_ms >= _SWEEP_MS:
            self.sweep()
        with self._file.writing() as connection:
            stream_id, group_id = self._stream_ids(connection, account_id, region, group, stream)
            connection.executemany(
                "INSERT INTO events (group_id, stream_id, timestamp_ms, ingestion_ms, message) VALUES (?,?,?,?,?)",
                ((group_id, stream_id, timestamp_ms, now_ms, message) for timestamp_ms, message in rows),
            )
            first_ms, last_ms = min(row[0] for row in rows), max(row[0] for row in rows)
            connection.execute(
                """UPDATE streams SET first_event_ms=min(coalesce(first_event_ms,?),?), last_ingestion_ms=?,
                   last_event_ms=max(coalesce(last_event_ms,?),?), stored_bytes=stored_bytes+? WHERE id=?""",
                (first_ms, first_ms, now_ms, last_ms, last_ms, sum(len(row[1]) for row in rows), stream_id),
            )

    def _stream_ids(
        self, connection: sqlite3.Connection, account_id: str, region: str, group: str, stream: str
    ) -> tuple[int, int]:
        find = """SELECT streams.id, groups.id FROM groups JOIN streams ON group_id=groups.id
            WHERE account_id=? AND region=? AND groups.name=? AND streams.name=?"""
        found = connection.execute(find, (account_id, region, group, stream)).fetchone()
        if found is None:
            self._add_group(connection, account_id, region, group, {})
            (group_id,) = connection.execute(
                "SELECT id FROM groups WHERE account_id=? AND region=? AND name=?",
                (account_id, region, group),
            ).fetchone()
            self._add_stream(connection, group_id, stream)
            found = connection.execute(find, (account_id, region, group, stream)).fetchone()
        return found

    def read(
        self,
        group: LogGroup,
        *,
        streams: Sequence[LogStream] | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        after: Boundary = BEGINNING,
        before: Boundary = END,
        newest_first: bool = False,
        limit: int = 10_000,
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogEvent]:
        """Events of a group (or of some streams of it) with ``start_ms <= timestamp < end_ms`` between two boundaries.

        At most ``limit`` events and about ``max_bytes`` (always at least one event, when there is one). With
        ``newest_first`` the newest before ``before``, newest first. Events past the group's retention are not returned.
        """
        if streams is None:
            conditions, values = ["events.group_id=?"], [group.id]
        elif not streams:
            return []
        else:
            conditions = [f"stream_id IN ({','.join('?' * len(streams))})"]
            values = [stream.id for stream in streams]
        if group.retention_days is not None:
            start_ms = max(start_ms or 0, self._now_ms() - group.retention_days * DAY_MS)
        if start_ms is not None:
            after = max(after, Boundary(start_ms, 0))
        if end_ms is not None:
            before = min(before, Boundary(end_ms, 0))
        conditions += ["(timestamp_ms, sequence) >= (?,?)", "(timestamp_ms, sequence) < (?,?)"]
        direction = "DESC" if newest_first else "ASC"
        with self._file.reading() as connection:
            rows = connection.execute(
                f"{_EVENT} WHERE {' AND '.join(conditions)}"
                f" ORDER BY timestamp_ms {direction}, sequence {direction} LIMIT ?",
                (*values, *after, *before, limit),
            )
            found: list[LogEvent] = []
            size_bytes = 0
            with contextlib.closing(rows):
                for row in rows:
                    size_bytes += len(row[4]) + EVENT_OVERHEAD_BYTES
                    if found and size_bytes > max_bytes:
                        break
                    found.append(_event(row))
            return found

    def sweep(self) -> int:
        """Delete the events that are past their group's retention; the number of them. Streams stay, as on AWS."""
        now_ms = self._swept_ms = self._now_ms()
        deleted = 0
        with self._file.writing() as connection:
            keeping = "SELECT id, retention_days FROM groups WHERE retention_days IS NOT NULL"
            for group_id, retention_days in connection.execute(keeping).fetchall():
                limit_ms = now_ms - retention_days * DAY_MS
                connection.execute(
                    """UPDATE streams SET stored_bytes = stored_bytes - (SELECT coalesce(sum(length(message)),0)
                       FROM events WHERE stream_id = streams.id AND timestamp_ms < ?) WHERE group_id = ?""",
                    (limit_ms, group_id),
                )
                cursor = connection.execute(
                    "DELETE FROM events WHERE group_id=? AND timestamp_ms<?", (group_id, limit_ms)
                )
                deleted += cursor.rowcount
        return deleted

    def close(self) -> None:
        """Close all connections; the logs are not used afterwards."""
        self._file.close()
