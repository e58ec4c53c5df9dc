"""Multipart uploads as rows: what was begun, which parts came, and how they become one object.

Place in the flow: reached as ``ObjectRows.uploads`` by ``services.s3.multipart``. Completing an upload moves references
to contents; no byte is copied.
"""

import base64
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from stagedoor.store import object_listing
from stagedoor.store.contents import Content, ContentGoneError
from stagedoor.store.object_database import (
    ObjectDatabase,
    Segment,
    WriteTransaction,
    missing,
    packed,
    segments_of,
)
from stagedoor.store.object_listing import ObjectRow, behind

if TYPE_CHECKING:
    from stagedoor.store.object_rows import Check, NewObject


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload under way. ``attributes`` become the object's; ``initiated`` in epoch seconds.

    Beside what ``object_rows.NewObject`` has, they hold ``initiator`` (ARN, account) and ``checksum``
    (``{"algorithm", "type"}``) under names of their own.
    """

    upload_id: str
    bucket: str
    key: str
    initiated: float
    storage_class: str = "STANDARD"
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)


@dataclass(frozen=True, slots=True)
class Part:
    """An uploaded part. ``etag`` is its MD5 in hex; ``checksums`` base64 values by algorithm."""

    number: int
    size_bytes: int
    etag: str
    checksums: Mapping[str, str]
    last_modified: float


class NoSuchUploadError(Exception):
    """The upload was never begun, or is completed or aborted."""


class _Objects(Protocol):
    def put_within(
        self, transaction: WriteTransaction, bucket_name: str, key: str, new: "NewObject", check: "Check"
    ) -> ObjectRow: ...


@dataclass(frozen=True, slots=True)
class UploadPage:
    """One page of ListMultipartUploads."""

    uploads: list[Upload]
    common_prefixes: list[str]
    truncated: bool
    last_key: str
    last_upload_id: str


Plan = Callable[[Mapping[int, Part]], "tuple[Sequence[int], NewObject]"]
"""Given the parts that are there, says which make the object and what it is (its segments are filled in); may raise."""

_COLUMNS: Final = "upload_id, bucket, key, initiated, storage_class, attributes"


def _upload(row: tuple[Any, ...]) -> Upload:
    return Upload(row[0], row[1], row[2].decode(), row[3], row[4], orjson.loads(row[5]))


def _find(connection: sqlite3.Connection, bucket: str, key: str, upload_id: str) -> Upload:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM s3_uploads WHERE upload_id=? AND bucket=? AND key=?",  # noqa: S608
        (upload_id, bucket, key.encode()),
    ).fetchone()
    if row is None:
        raise NoSuchUploadError(upload_id)
    return _upload(row)


def _parts(
    connection: sqlite3.Connection, upload_id: str, after: int = 0, limit: int = -1
) -> dict[int, tuple[int, Part]]:
    rows = connection.execute(
        "SELECT id, number, size_bytes, etag, checksums, last_modified FROM s3_upload_parts"
        " WHERE upload_id=? AND number>? ORDER BY number LIMIT ?",
        (upload_id, after, limit),
    )
    return {
        number: (part_id, Part(number, size_bytes, etag, orjson.loads(checksums), last_modified))
        for part_id, number, size_bytes, etag, checksums, last_modified in rows
    }


def _new_upload_id() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(48)).decode()


class UploadRows:
    """Uploads and their parts. Thread-safe, blocking."""

    def __init__(self, database: ObjectDatabase, objects: _Objects) -> None:
        self._database = database
        self._objects = objects

    def create(
        self,
        bucket: str,
        key: str,
        *,
        initiated: float,
        attributes: Mapping[str, Any],
        storage_class: str = "STANDARD",
    ) -> Upload:
        """Begin an upload under a new id. The caller has looked the bucket up."""
        upload = Upload(_new_upload_id(), bucket, key, initiated, storage_class, attributes)
        with self._database.transaction() as transaction:
            transaction.connection.execute(
                "INSERT INTO s3_uploads VALUES (?,?,?,?,?,?)",
                (upload.upload_id, bucket, key.encode(), initiated, storage_class, packed(attributes)),
            )
        return upload

    def get(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The upload; NoSuchUploadError."""
        with self._database.reading() as connection:
            return _find(connection, bucket, key, upload_id)

    def put_part(
        self,
        upload: Upload,
        part: Part,
        segments: Sequence[Segment],
        contents: Sequence[Content] = (),
    ) -> None:
        """Add a part or replace the one of its number. NoSuchUploadError, ContentGoneError."""
        with self._database.transaction() as transaction:
            connection = transaction.connection
            _find(connection, upload.bucket, upload.key, upload.upload_id)
            transaction.add_contents(contents)
            gone = missing(connection, segments)
            if gone is not None:
                raise ContentGoneError(gone)
            old = connection.execute(
                "SELECT id FROM s3_upload_parts WHERE upload_id=? AND number=?",
                (upload.upload_id, part.number),
            ).fetchone()
            if old:
                transaction.drop_segments(-old[0])
                connection.execute("DELETE FROM s3_upload_parts WHERE id=?", old)
            cursor = connection.execute(
                "INSERT INTO s3_upload_parts (upload_id, number, size_bytes, etag, checksums, last_modified)"
                " VALUES (?,?,?,?,?,?)",
                (
                    upload.upload_id,
                    part.number,
                    part.size_bytes,
                    part.etag,
                    packed(part.checksums),
                    part.last_modified,
                ),
            )
            assert cursor.lastrowid is not None
            transaction.add_segments(-cursor.lastrowid, segments)

    def parts(self, upload: Upload, *, after: int = 0, limit: int = -1) -> list[Part]:
        """Parts by number, from behind ``after``; all of them for a negative limit."""
        with self._database.reading() as connection:
            return [part for _, part in _parts(connection, upload.upload_id, after, limit).values()]

    def complete(self, bucket: str, key: str, upload_id: str, plan: Plan, check: "Check") -> ObjectRow:
        """Make the object that ``plan`` chooses from the parts, drop the upload and the parts not chosen.

        NoSuchUploadError; whatever ``plan`` and ``check`` raise, and then nothing has changed.
        """
        with self._database.transaction() as transaction:
            connection = transaction.connection
            _find(connection, bucket, key, upload_id)
            parts = _parts(connection, upload_id)
            numbers, new = plan({number: part for number, (_, part) in parts.items()})
            segments: list[Segment] = []
            for number in numbers:
                segments += segments_of(connection, -parts[number][0])
            row = self._objects.put_within(transaction, bucket, key, replace(new, segments=segments), check)
            self._drop(transaction, upload_id)
            return row

    def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """Drop the upload and its parts. NoSuchUploadError."""
        with self._database.transaction() as transaction:
            _find(transaction.connection, bucket, key, upload_id)
            self._drop(transaction, upload_id)

    def abort_all(self, transaction: WriteTransaction, bucket: str) -> None:
        """Drop all uploads of a bucket that is being deleted."""
        rows = transaction.connection.execute(
            "SELECT upload_id FROM s3_uploads WHERE bucket=?", (bucket,)
        ).fetchall()
        for (upload_id,) in rows:
            self._drop(transaction, upload_id)

    def _drop(self, transaction: WriteTransaction, upload_id: str) -> None:
        connection = transaction.connection
        for (part_id,) in connection.execute(
            "SELECT id FROM s3_upload_parts WHERE upload_id=?", (upload_id,)
        ).fetchall():
            transaction.drop_segments(-part_id)
        connection.execute("DELETE FROM s3_upload_parts WHERE upload_id=?", (upload_id,))
        connection.execute("DELETE FROM s3_uploads WHERE upload_id=?", (upload_id,))

    def page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after: str = "",
        after_upload_id: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        """One page by key, then upload id, from behind (``after``, ``after_upload_id``); without the id behind the key."""
        uploads: list[Upload] = []
        prefixes: list[str] = []
        last = ("", "")
        start, start_id = max((prefix.encode(), ""), (after.encode(), after_upload_id or "\uffff"))
        end = (behind(prefix.encode()) if prefix else None) or b"\xff"
        with self._database.reading() as connection:
            seek: tuple[bytes, str] | None = (start, start_id)
            while seek is not None and limit > 0:
                position, seek = seek, None
                rows = connection.execute(
                    f"SELECT {_COLUMNS} FROM s3_uploads WHERE bucket=? AND (key, upload_id) > (?,?) AND key < ?"  # noqa: S608
                    " ORDER BY key, upload_id",
                    (bucket, *position, end),
                )
                for upload in map(_upload, rows):
                    common = object_listing.folded(upload.key, prefix, delimiter)
                    if common is not None and after and common.encode() <= after.encode():
                        seek = (behind(common.encode()) or b"\xff", "")
                        break
                    if len(uploads) + len(prefixes) == limit:
                        return UploadPage(uploads, prefixes, True, *last)
                    if common is not None:
                        prefixes.append(common)
                        last = (common, "")
                        seek = (behind(common.encode()) or b"\xff", "")
                        break
                    uploads.append(upload)
                    last = (upload.key, upload.upload_id)
            return UploadPage(uploads, prefixes, False, *last)
