"""Reading S3's object rows: one object, one version, one page of a listing.

Place in the flow: under ``store.object_rows``. A page walks an index in key order (binary UTF-8) and, where a delimiter
folds many keys into one common prefix, seeks behind that prefix instead of walking through it.
"""

import base64
import binascii
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

_COLUMNS: Final = "sequence, bucket, key, version_id, latest, delete_marker, size_bytes, etag, last_modified, storage_class, attributes"


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One version of an object. ``version_id`` is ``"null"`` where versioning was not enabled when it was stored.

    ``etag`` has no quotes. ``attributes`` as in ``object_rows.NewObject``. Times are epoch seconds.
    """

    bucket: str
    key: str
    sequence: int
    version_id: str
    latest: bool
    delete_marker: bool
    size_bytes: int
    etag: str
    last_modified: float
    storage_class: str = "STANDARD"
    attributes: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)

    @property
    def content_type(self) -> str:
        """The Content-Type it was stored with."""
        return self.attributes.get("ContentType", "binary/octet-stream")


@dataclass(slots=True)
class Listing:
    """One page. ``last`` is the last key or common prefix in it, ``last_version_id`` belongs to it in version pages.

    ``truncated`` says that there is more behind it.
    """

    rows: list[ObjectRow] = field(default_factory=list[ObjectRow])
    common_prefixes: list[str] = field(default_factory=list[str])
    truncated: bool = False
    last: str = ""
    last_version_id: str = ""

    def __len__(self) -> int:
        return len(self.rows) + len(self.common_prefixes)


def _row(values: tuple[Any, ...]) -> ObjectRow:
    sequence, bucket, key, version_id, is_latest, marker, size, etag, modified, storage_class, attributes = (
        values
    )
    return ObjectRow(
        bucket=bucket,
        key=key.decode(),
        sequence=sequence,
        version_id=version_id,
        latest=bool(is_latest),
        delete_marker=bool(marker),
        size_bytes=size,
        etag=etag,
        last_modified=modified,
        storage_class=storage_class,
        attributes=orjson.loads(attributes),
    )


def latest(connection: sqlite3.Connection, bucket: str, key: str) -> ObjectRow | None:
    """The newest version under ``key``, which may be a delete marker."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM s3_versions WHERE bucket=? AND key=? ORDER BY sequence DESC LIMIT 1",  # noqa: S608
        (bucket, key.encode()),
    ).fetchone()
    return _row(row) if row else None


def version(connection: sqlite3.Connection, bucket: str, key: str, version_id: str) -> ObjectRow | None:
    """The version of that id under ``key``."""
    sequence = _sequence_in(version_id)
    # Ids have their sequence in them; only a null version has to be looked for among the versions of its key.
    found = "LIMIT 1" if sequence == _NO_SEQUENCE else "AND sequence=?"
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM s3_versions WHERE bucket=? AND key=? AND version_id=? {found}",  # noqa: S608
        (bucket, key.encode(), version_id, *([] if sequence == _NO_SEQUENCE else [sequence])),
    ).fetchone()
    return _row(row) if row else None


def behind(prefix: bytes) -> bytes | None:
    """The first byte string that sorts after all those beginning with ``prefix``; None when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def folded(key: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that ``key`` is folded into, or None when it is listed itself."""
    if not delimiter:
        return None
    position = key.find(delimiter, len(prefix))
    return None if position < 0 else key[: position + len(delimiter)]


def current_page(
    connection: sqlite3.Connection, bucket: str, prefix: str, delimiter: str, after: str, limit: int
) -> Listing:
    """At most ``limit`` current objects and common prefixes that sort behind ``after``.

    A common prefix that does not itself sort behind ``after`` is left out with all its keys, as S3 does: so the last
    key or common prefix of a page is where the next one goes on.
    """
    sql = (
        f"SELECT {_COLUMNS} FROM s3_versions WHERE bucket=? AND key>=? AND key<? AND latest=1 AND delete_marker=0"  # noqa: S608
        " ORDER BY key"
    )
    end = _end(prefix)

    def rows(start: bytes) -> Iterator[ObjectRow]:
        return map(_row, connection.execute(sql, (bucket, start, end)))

    start = max(prefix.encode(), after.encode() + b"\x00") if after else prefix.encode()
    return _page(rows, start, prefix, delimiter, after, limit)


# Larger than every sequence.
_NO_SEQUENCE: Final = 2**62

# No key is as long as 2,000 bytes, and no UTF-8 holds a 0xFF: this sorts behind every key.
_LAST: Final = b"\xff"


def _end(prefix: str) -> bytes:
    return (behind(prefix.encode()) if prefix else None) or _LAST


def _page(
    rows: Callable[[bytes], Iterator[ObjectRow]],
    start: bytes,
    prefix: str,
    delimiter: str,
    after: str,
    limit: int,
) -> Listing:
    listing = Listing()
    if limit <= 0:
        return listing
    seek: bytes | None = start
    while seek is not None:
        position, seek = seek, None
        for row in rows(position):
            common = folded(row.key, prefix, delimiter)
            if common is not None and after and common.encode() <= after.encode():
                seek = behind(common.encode())
                break
            if len(listing) == limit:
                listing.truncated = True
                return listing
            if common is not None:
                listing.common_prefixes.append(common)
                listing.last, listing.last_version_id = common, ""
                seek = behind(common.encode())
                break
            listing.rows.append(row)
            listing.last, listing.last_version_id = row.key, row.version_id
    return listing


def version_page(
    connection: sqlite3.Connection,
    bucket: str,
    prefix: str,
    delimiter: str,
    after: str,
    after_version_id: str | None,
    limit: int,
) -> Listing:
    """At most ``limit`` versions, delete markers and common prefixes behind a version of the key ``after``.

    Without ``after_version_id`` the page begins behind all versions of ``after``.
    """
    sql = (
        f"SELECT {_COLUMNS} FROM s3_versions WHERE bucket=? AND key>=? AND key<? ORDER BY key, sequence DESC"  # noqa: S608
    )
    end = _end(prefix)
    # One more than a page shows says that there is more.
    first = (
        _older_versions(connection, bucket, after, after_version_id, limit + 1)
        if after and after_version_id
        else []
    )
    start = max(prefix.encode(), after.encode() + b"\x00") if after else prefix.encode()

    def rows(position: bytes) -> Iterator[ObjectRow]:
        if (
            position == start
            and first
            and folded(after, prefix, delimiter) is None
            and after.startswith(prefix)
        ):
            yield from first
        yield from map(_row, connection.execute(sql, (bucket, position, end)))

    return _page(rows, start, prefix, delimiter, after, limit)


def _older_versions(
    connection: sqlite3.Connection, bucket: str, key: str, version_id: str, limit: int
) -> list[ObjectRow]:
    """What a page shows first when it goes on within the versions of one key.

    Where the marker's version was deleted meanwhile (only the null version's place is not in its id) the key's
    versions are shown again: twice is better than never.
    """
    row = version(connection, bucket, key, version_id)
    below = row.sequence if row else _sequence_in(version_id)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM s3_versions WHERE bucket=? AND key=? AND sequence<? ORDER BY sequence DESC LIMIT ?",  # noqa: S608
        (bucket, key.encode(), below, limit),
    )
    return [_row(values) for values in rows]


def _sequence_in(version_id: str) -> int:
    try:
        raw = base64.urlsafe_b64decode(version_id)
    except (binascii.Error, ValueError):
        raw = b""
    return min(int.from_bytes(raw[:8], "big"), _NO_SEQUENCE) if len(raw) == 24 else _NO_SEQUENCE
