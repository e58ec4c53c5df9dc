"""S3's buckets and objects as rows: who owns which name, and which contents a key's versions are made of.

Place in the flow: ``services.s3`` commits here after the bytes are on the disk (``store.contents``); jobs and functions
read here directly. To read or write an object's bytes from the house's own code, see ``store.objects_io``:

    row = house.objects.get("bucket", "some/key")          # ObjectRow, or None
    objects_io.read_to(house.objects, house.contents, row, path)
    objects_io.put_file(house.objects, house.contents, "bucket", "out/key", path, now=house.clock.now())

Everything blocks: call it from a thread. Multipart uploads are ``ObjectRows.uploads`` (``store.upload_rows``).
"""

import base64
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from stagedoor.store import object_listing
from stagedoor.store.contents import Content, ContentGoneError, Contents
from stagedoor.store.object_database import (
    ObjectDatabase,
    Segment,
    WriteTransaction,
    contents_of,
    missing,
    packed,
    segments_of,
)
from stagedoor.store.object_listing import Listing, ObjectRow
from stagedoor.store.upload_rows import UploadRows

__all__ = [
    "NULL_VERSION",
    "Bucket",
    "BucketExistsError",
    "BucketNotEmptyError",
    "Check",
    "CompletedPart",
    "Deletion",
    "NewObject",
    "NoSuchBucketError",
    "ObjectRow",
    "ObjectRows",
    "Versioning",
    "whole",
]

Versioning = Literal["", "Enabled", "Suspended"]

NULL_VERSION: Final = "null"


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket. ``versioning`` is ``""`` until it was first enabled. ``created`` in epoch seconds.

    ``settings`` holds bucket configurations under AWS's names (``CORSConfiguration``, ``WebsiteConfiguration``,
    ``PublicAccessBlockConfiguration``, ``TagSet`` …). The bucket policy is not among them: it is the record
    ``s3.bucket_policy`` in ``store.records``, where authorisation reads it.
    """

    name: str
    account_id: str
    region: str
    created: float
    versioning: Versioning = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)


class NoSuchBucketError(Exception):
    """There is no bucket of that name (any more)."""


class BucketExistsError(Exception):
    """The name is taken; ``bucket`` is who has it."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(f"bucket {bucket.name} exists")
        self.bucket = bucket


class BucketNotEmptyError(Exception):
    """The bucket still holds versions or delete markers."""


@dataclass(frozen=True, slots=True)
class NewObject:
    """What ``ObjectRows.put`` stores. ``contents`` are those just written; ``segments`` may refer to older ones too.

    ``attributes`` are the members that HeadObject answers (``ContentType``, ``Metadata``, …) besides the columns, and
    ``Checksum`` as ``{"algorithm", "type", "value"}``, ``Tags`` as a list of ``{"Key", "Value"}``.
    """

    size_bytes: int
    etag: str
    last_modified: float
    segments: Sequence[Segment]
    contents: Sequence[Content] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    storage_class: str = "STANDARD"
    parts: Sequence["CompletedPart"] = ()


class CompletedPart(NamedTuple):
    """One part of a completed multipart upload; ``checksum`` is "" where the part has none."""

    number: int
    size_bytes: int
    checksum: str


class Deletion(NamedTuple):
    """What a delete did: the version that went or the delete marker that came ("" where neither)."""

    version_id: str
    delete_marker: bool
    removed: "ObjectRow | None"


Check = Callable[["ObjectRow | None"], None]
"""Looks at the current object (None when there is none) inside the write transaction; raises to refuse the write."""


def _no_check(_current: ObjectRow | None) -> None:
    return


def whole(contents: Iterable[Content]) -> list[Segment]:
    """Segments that are the contents from end to end."""
    return [Segment(content.id, 0, content.size_bytes) for content in contents if content.size_bytes]


class ObjectRows:
    """Buckets, object versions and uploads in the SQLite file ``path``. Thread-safe, blocking.

    Contents that lose their last reference are deleted from ``contents`` after the commit.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self._database = ObjectDatabase(path, contents.delete)
        self._contents = contents
        self.uploads = UploadRows(self._database, self)

    def close(self) -> None:
        """Close all connections; the store is not used afterwards."""
        self._database.close()

    # Buckets ------------------------------------------------------------------------------------------------------

    def find_bucket(self, name: str) -> Bucket | None:
        """The bucket of that name, whoever owns it."""
        with self._database.reading() as connection:
            return _find_bucket(connection, name)

    def buckets(self, account_id: str | None = None, *, prefix: str = "", after: str = "") -> list[Bucket]:
        """Buckets ordered by name; of one account, or of all."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT name, account_id, region, created, versioning, settings FROM s3_buckets WHERE name > ? ORDER BY name",
                (after,),
            )
            found = (_bucket(row) for row in rows)
            return [b for b in found if account_id in (None, b.account_id) and b.name.startswith(prefix)]

    def create_bucket(self, bucket: Bucket) -> None:
        """Take the name; BucketExistsError when it is taken."""
        with self._database.transaction() as transaction:
            present = _find_bucket(transaction.connection, bucket.name)
            if present is not None:
                raise BucketExistsError(present)
            transaction.connection.execute(
                "INSERT INTO s3_buckets VALUES (?,?,?,?,?,?)",
                (
                    bucket.name,
                    bucket.account_id,
                    bucket.region,
                    bucket.created,
                    bucket.versioning,
                    packed(bucket.settings),
                ),
            )

    def update_bucket(
        self,
        name: str,
        *,
        versioning: Versioning | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Bucket:
        """Change a bucket; ``settings`` are merged in, a None among them removes that one. NoSuchBucketError."""
        with self._database.transaction() as transaction:
            bucket = _require_bucket(transaction.connection, name)
            merged = {**bucket.settings, **(settings or {})}
            merged = {key: value for key, value in merged.items() if value is not None}
            bucket = replace(
                bucket, settings=merged, versioning=bucket.versioning if versioning is None else versioning
            )
            transaction.connection.execute(
                "UPDATE s3_buckets SET versioning=?, settings=? WHERE name=?",
                (bucket.versioning, packed(merged), name),
            )
            return bucket

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket and its unfinished uploads. NoSuchBucketError, BucketNotEmptyError."""
        with self._database.transaction() as transaction:
            _require_bucket(transaction.connection, name)
            if transaction.connection.execute(
                "SELECT 1 FROM s3_versions WHERE bucket=? LIMIT 1", (name,)
            ).fetchone():
                raise BucketNotEmptyError(name)
            self.uploads.abort_all(transaction, name)
            transaction.connection.execute("DELETE FROM s3_buckets WHERE name=?", (name,))

    # Reading objects ------------------------------------------------------------------------------------------------

    def get(self, bucket: str, key: str) -> ObjectRow | None:
        """The current object under ``key``; None when there is none or it is deleted."""
        with self._database.reading() as connection:
            row = object_listing.latest(connection, bucket, key)
        return None if row is None or row.delete_marker else row

    def find_version(self, bucket: str, key: str, version_id: str | None = None) -> ObjectRow | None:
        """One version (the latest for None), which may be a delete marker."""
        with self._database.reading() as connection:
            if version_id is None:
                return object_listing.latest(connection, bucket, key)
            return object_listing.version(connection, bucket, key, version_id)

    def page(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> Listing:
        """One page of current objects and common prefixes behind ``after``; see ``object_listing.current_page``."""
        with self._database.snapshot() as connection:
            return object_listing.current_page(connection, bucket, prefix, delimiter, after, limit)

    def version_page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after: str = "",
        after_version_id: str | None = None,
        limit: int = 1000,
    ) -> Listing:
        """One page of all versions, keys ascending, newest version first; see ``object_listing.version_page``."""
        with self._database.snapshot() as connection:
            return object_listing.version_page(
                connection, bucket, prefix, delimiter, after, after_version_id, limit
            )

    def segments(self, row: ObjectRow) -> list[Segment]:
        """The bytes of ``row``, in order; empty when it was deleted meanwhile."""
        with self._database.reading() as connection:
            return segments_of(connection, row.sequence)

    def contents_of(self, segments: Iterable[Segment]) -> dict[str, Content]:
        """The contents behind ``segments``, by id; without those deleted meanwhile."""
        with self._database.reading() as connection:
            return contents_of(connection, segments)

    def parts(self, row: ObjectRow) -> list[CompletedPart]:
        """The parts ``row`` was completed from; empty when it was not a multipart upload."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT number, size_bytes, checksum FROM s3_parts WHERE sequence=? ORDER BY number",
                (row.sequence,),
            )
            return [CompletedPart(*part) for part in rows]

    def content_ids(self, prefix: str) -> set[str]:
        """Ids of the contents that rows refer to and that begin with ``prefix``; for the sweep at start."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id FROM s3_contents WHERE id >= ? AND id < ?", (prefix, prefix + "g")
            )
            return {row[0] for row in rows}

    # Writing objects ------------------------------------------------------------------------------------------------

    def put(self, bucket: str, key: str, new: NewObject, check: Check = _no_check) -> ObjectRow:
        """Make ``new`` the current object, keeping or replacing versions as the bucket's versioning says.

        NoSuchBucketError; ContentGoneError when a content that ``new`` shares with another object is gone; whatever
        ``check`` raises. The contents just written stay on the disk after an error: the caller deletes them.
        """
        with self._database.transaction() as transaction:
            return self.put_within(transaction, bucket, key, new, check)

    def put_within(
        self, transaction: WriteTransaction, bucket_name: str, key: str, new: NewObject, check: Check
    ) -> ObjectRow:
        """``put`` inside an open transaction."""
        connection = transaction.connection
        bucket = _require_bucket(connection, bucket_name)
        current = object_listing.latest(connection, bucket_name, key)
        check(None if current is None or current.delete_marker else current)
        transaction.add_contents(new.contents)
        gone = missing(connection, new.segments)
        if gone is not None:
            raise ContentGoneError(gone)
        row = _insert_version(transaction, bucket, key, new, current, delete_marker=False)
        transaction.add_segments(row.sequence, new.segments)
        connection.executemany(
            "INSERT INTO s3_parts VALUES (?,?,?,?)", ((row.sequence, *part) for part in new.parts)
        )
        return row

    def delete(
        self, bucket: str, key: str, version_id: str | None = None, *, now: float, check: Check = _no_check
    ) -> Deletion:
        """Delete as S3 does: a version for good, or the current object (a delete marker where versions are kept).

        Nothing there is no error. NoSuchBucketError; whatever ``check`` raises.
        """
        with self._database.transaction() as transaction:
            return _delete(transaction, bucket, key, version_id, now, check)

    def delete_many(
        self, bucket: str, targets: Sequence[tuple[str, str | None, Check]], *, now: float
    ) -> "list[Deletion | Exception]":
        """Delete many keys or versions in one commit; what a target's check raises stands in its place."""
        results: list[Deletion | Exception] = []
        with self._database.transaction() as transaction:
            for key, version_id, check in targets:
                refused: list[Exception] = []

                def noted(
                    current: ObjectRow | None, check: Check = check, refused: list[Exception] = refused
                ) -> None:
                    try:
                        check(current)
                    except Exception as error:
                        refused.append(error)
                        raise

                try:
                    results.append(_delete(transaction, bucket, key, version_id, now, noted))
                except Exception as error:
                    if error not in refused:
                        raise
                    results.append(error)
        return results

    def change_attributes(
        self, bucket: str, key: str, version_id: str | None, change: Callable[[ObjectRow], Mapping[str, Any]]
    ) -> ObjectRow:
        """Merge what ``change(row)`` returns into a version's attributes (a None removes); ``change`` may raise.

        KeyError when there is no such version, or it is a delete marker.
        """
        with self._database.transaction() as transaction:
            connection = transaction.connection
            _require_bucket(connection, bucket)
            row = (
                object_listing.latest(connection, bucket, key)
                if version_id is None
                else object_listing.version(connection, bucket, key, version_id)
            )
            if row is None or row.delete_marker:
                raise KeyError(key)
            merged = {**row.attributes, **change(row)}
            merged = {name: value for name, value in merged.items() if value is not None}
            connection.execute(
                "UPDATE s3_versions SET attributes=? WHERE sequence=?", (packed(merged), row.sequence)
            )
            return replace(row, attributes=merged)

    # Last, since it takes the name of a type that annotations above use.
    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectRow]:
        """All current objects whose key begins with ``prefix``, in key order; reads on page by page."""
        after = ""
        while True:
            page = self.page(bucket, prefix=prefix, after=after, limit=1000)
            yield from page.rows
            if not page.truncated:
                return
            after = page.last


def _bucket(row: tuple[str, str, str, float, Versioning, bytes]) -> Bucket:
    return Bucket(row[0], row[1], row[2], row[3], row[4], orjson.loads(row[5]))


def _find_bucket(connection: sqlite3.Connection, name: str) -> Bucket | None:
    row = connection.execute(
        "SELECT name, account_id, region, created, versioning, settings FROM s3_buckets WHERE name=?", (name,)
    ).fetchone()
    return _bucket(row) if row else None


def _require_bucket(connection: sqlite3.Connection, name: str) -> Bucket:
    bucket = _find_bucket(connection, name)
    if bucket is None:
        raise NoSuchBucketError(name)
    return bucket


def _new_version_id(sequence: int) -> str:
    """Opaque, 32 characters, unguessable; the sequence in front lets a listing go on after a deleted version."""
    return base64.urlsafe_b64encode(sequence.to_bytes(8, "big") + secrets.token_bytes(16)).decode()


def _remove_version(transaction: WriteTransaction, row: ObjectRow) -> None:
    transaction.drop_segments(row.sequence)
    transaction.connection.execute("DELETE FROM s3_parts WHERE sequence=?", (row.sequence,))
    transaction.connection.execute("DELETE FROM s3_versions WHERE sequence=?", (row.sequence,))


def _insert_version(
    transaction: WriteTransaction,
    bucket: Bucket,
    key: str,
    new: NewObject,
    current: ObjectRow | None,
    *,
    delete_marker: bool,
) -> ObjectRow:
    """Put a version on top. Without versioning enabled it takes the place of the null version."""
    connection = transaction.connection
    sequence = transaction.next_sequence()
    if bucket.versioning == "Enabled":
        version_id = _new_version_id(sequence)
    else:
        version_id = NULL_VERSION
        null = object_listing.version(connection, bucket.name, key, NULL_VERSION)
        if null is not None:
            _remove_version(transaction, null)
    if current is not None:
        connection.execute("UPDATE s3_versions SET latest=0 WHERE sequence=?", (current.sequence,))
    row = ObjectRow(
        bucket=bucket.name,
        key=key,
        sequence=sequence,
        version_id=version_id,
        latest=True,
        delete_marker=delete_marker,
        size_bytes=new.size_bytes,
        etag=new.etag,
        last_modified=new.last_modified,
        storage_class=new.storage_class,
        attributes=dict(new.attributes),
    )
    connection.execute(
        "INSERT INTO s3_versions (sequence, bucket, key, version_id, latest, delete_marker, size_bytes, etag,"
        " last_modified, storage_class, attributes) VALUES (?,?,?,?,1,?,?,?,?,?,?)",
        (
            sequence,
            row.bucket,
            key.encode(),
            version_id,
            int(delete_marker),
            row.size_bytes,
            row.etag,
            row.last_modified,
            row.storage_class,
            packed(row.attributes),
        ),
    )
    return row


def _delete(
    transaction: WriteTransaction,
    bucket_name: str,
    key: str,
    version_id: str | None,
    now: float,
    check: Check,
) -> Deletion:
    connection = transaction.connection
    bucket = _require_bucket(connection, bucket_name)
    current = object_listing.latest(connection, bucket_name, key)
    if version_id is not None:
        target = object_listing.version(connection, bucket_name, key, version_id)
        check(target)
        if target is None:
            return Deletion(version_id, delete_marker=False, removed=None)
        _remove_version(transaction, target)
        if target.latest:
            connection.execute(
                "UPDATE s3_versions SET latest=1 WHERE sequence="
                "(SELECT max(sequence) FROM s3_versions WHERE bucket=? AND key=?)",
                (bucket_name, key.encode()),
            )
        return Deletion(version_id, target.delete_marker, target)
    check(None if current is None or current.delete_marker else current)
    if bucket.versioning:
        marker = NewObject(0, "", now, ())
        row = _insert_version(transaction, bucket, key, marker, current, delete_marker=True)
        return Deletion(row.version_id, delete_marker=True, removed=None)
    if current is not None:
        _remove_version(transaction, current)
    return Deletion("", delete_marker=False, removed=current)
