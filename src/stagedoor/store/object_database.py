"""The SQLite tables behind S3 and their connections: schema, one writer, a reader per thread.

Place in the flow: under ``store.object_rows`` and ``store.upload_rows``, which hold the statements. Keys are BLOBs of
UTF-8, so that their order is S3's (binary), and every byte of an odd key survives.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import NamedTuple

import orjson

from stagedoor.store.contents import Content, is_small
from stagedoor.store.sqlite_file import SqliteFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS s3_buckets (
    name TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    created REAL NOT NULL,
    versioning TEXT NOT NULL,
    settings BLOB NOT NULL
) WITHOUT ROWID;

-- One row per version of an object, newest sequence first; delete markers are versions without segments.
CREATE TABLE IF NOT EXISTS s3_versions (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket TEXT NOT NULL,
    key BLOB NOT NULL,
    version_id TEXT NOT NULL,
    latest INTEGER NOT NULL,
    delete_marker INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    etag TEXT NOT NULL,
    last_modified REAL NOT NULL,
    storage_class TEXT NOT NULL,
    attributes BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS s3_versions_by_key ON s3_versions (bucket, key, sequence DESC);
CREATE UNIQUE INDEX IF NOT EXISTS s3_versions_current ON s3_versions (bucket, key)
    WHERE latest = 1 AND delete_marker = 0;

-- Which bytes of which contents make up a version (owner > 0: its sequence) or an uploaded part (owner < 0).
CREATE TABLE IF NOT EXISTS s3_segments (
    owner INTEGER NOT NULL,
    position INTEGER NOT NULL,
    content_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (owner, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS s3_segments_by_content ON s3_segments (content_id);

CREATE TABLE IF NOT EXISTS s3_contents (
    id TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    block_checksums BLOB NOT NULL
);

-- The bytes of those contents that have no file.
CREATE TABLE IF NOT EXISTS s3_small_contents (
    id TEXT PRIMARY KEY,
    data BLOB NOT NULL
);

-- The parts a version was completed from, for GetObjectAttributes and reads by part number.
CREATE TABLE IF NOT EXISTS s3_parts (
    sequence INTEGER NOT NULL,
    number INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (sequence, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS s3_uploads (
    upload_id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL,
    key BLOB NOT NULL,
    initiated REAL NOT NULL,
    storage_class TEXT NOT NULL,
    attributes BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS s3_uploads_by_key ON s3_uploads (bucket, key, upload_id);

CREATE TABLE IF NOT EXISTS s3_upload_parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    upload_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    etag TEXT NOT NULL,
    checksums BLOB NOT NULL,
    last_modified REAL NOT NULL,
    UNIQUE (upload_id, number)
);
"""

_CONTENT = "SELECT id, size_bytes, block_checksums FROM s3_contents WHERE id=?"
_SMALL_CONTENT = (
    "SELECT s3_contents.id, size_bytes, block_checksums, data FROM s3_contents JOIN s3_small_contents USING (id)"
    " WHERE s3_contents.id=?"
)


class Segment(NamedTuple):
    """``length`` bytes of one content, from ``start`` on."""

    content_id: str
    start: int
    length: int


class ObjectDatabase:
    """Connections to the tables. ``freed`` gets the ids of contents whose last reference went with a commit."""

    def __init__(self, path: Path, freed: Callable[[Iterable[str]], None]) -> None:
        self._file = SqliteFile(path, _SCHEMA, synchronous="FULL")
        self._freed = freed
        self.reading = self._file.reading
        self.snapshot = self._file.snapshot
        self.close = self._file.close

    @contextlib.contextmanager
    def transaction(self) -> Generator["WriteTransaction"]:
        """One durable change: commits at the end of the block, rolls back on an error. Writers take turns."""
        with self._file.writing() as connection:
            transaction = WriteTransaction(connection)
            yield transaction
            orphans = transaction.drop_orphans()
        if orphans:
            self._freed(orphans)


class WriteTransaction:
    """An open write transaction, and the statements on segments that several tables share."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._dropped: set[str] = set()

    def add_contents(self, contents: Iterable[Content]) -> None:
        """Note newly written contents; they need a segment in the same transaction."""
        for content in contents:
            if content.id:
                self.connection.execute(
                    "INSERT OR IGNORE INTO s3_contents VALUES (?,?,?)",
                    (content.id, content.size_bytes, content.block_checksums),
                )
            if content.data is not None:
                self.connection.execute(
                    "INSERT OR IGNORE INTO s3_small_contents VALUES (?,?)", (content.id, content.data)
                )

    def add_segments(self, owner: int, segments: Iterable[Segment]) -> None:
        """Give ``owner`` its bytes, in order."""
        self.connection.executemany(
            "INSERT INTO s3_segments VALUES (?,?,?,?,?)",
            ((owner, position, *segment) for position, segment in enumerate(segments)),
        )

    def drop_segments(self, owner: int) -> None:
        """Take ``owner``'s bytes away; contents nobody else refers to are freed by the commit."""
        rows = self.connection.execute("SELECT DISTINCT content_id FROM s3_segments WHERE owner=?", (owner,))
        self._dropped.update(row[0] for row in rows)
        self.connection.execute("DELETE FROM s3_segments WHERE owner=?", (owner,))

    def drop_orphans(self) -> list[str]:
        """Delete the rows of contents that lost their last segment; their ids."""
        orphans: list[str] = []
        for content_id in self._dropped:
            if not self.connection.execute(
                "SELECT 1 FROM s3_segments WHERE content_id=? LIMIT 1", (content_id,)
            ).fetchone():
                self.connection.execute("DELETE FROM s3_contents WHERE id=?", (content_id,))
                if is_small(content_id):
                    self.connection.execute("DELETE FROM s3_small_contents WHERE id=?", (content_id,))
                orphans.append(content_id)
        return orphans

    def next_sequence(self) -> int:
        """The sequence of the next version; never used twice, not even after a deletion."""
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name='s3_versions'").fetchone()
        return (row[0] if row else 0) + 1


def segments_of(connection: sqlite3.Connection, owner: int) -> list[Segment]:
    """The bytes of a version (its sequence) or an uploaded part (minus its id), in order."""
    rows = connection.execute(
        "SELECT content_id, start, length FROM s3_segments WHERE owner=? ORDER BY position", (owner,)
    )
    return [Segment(*row) for row in rows]


def contents_of(connection: sqlite3.Connection, segments: Iterable[Segment]) -> dict[str, Content]:
    """The contents behind ``segments``, by id."""
    found: dict[str, Content] = {}
    for segment in segments:
        if segment.content_id not in found:
            row = connection.execute(
                _SMALL_CONTENT if is_small(segment.content_id) else _CONTENT, (segment.content_id,)
            ).fetchone()
            if row:
                found[segment.content_id] = Content(*row)
    return found


def missing(connection: sqlite3.Connection, segments: Iterable[Segment]) -> str | None:
    """The id of a content behind ``segments`` that is gone; None when all are there."""
    for content_id in {segment.content_id for segment in segments}:
        if not connection.execute("SELECT 1 FROM s3_contents WHERE id=?", (content_id,)).fetchone():
            return content_id
    return None


def packed(document: object) -> bytes:
    """A JSON column's value."""
    return orjson.dumps(document)
