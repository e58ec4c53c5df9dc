"""Objects for the house's own use: jobs read inputs and write outputs, Lambda takes its code, without HTTP.

Place in the flow: ``reconcile`` and ``services`` call this from threads (everything blocks). Who may read or write what
is the caller's question: check the role's policies first. All reads are verified (``store.contents``).

    row = objects.get("bucket", "train/part-0.csv")
    if row is None: ...                                   # no such object
    read_to(objects, contents, row, scratch / "part-0.csv")
    data = read_bytes(objects, contents, row)             # small things
    with open_row(objects, contents, row) as file: ...    # seekable: zipfile and tarfile read from it
    put_file(objects, contents, "bucket", "out/model.tar.gz", path, now=clock.now())
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from stagedoor.store import checksums
from stagedoor.store.contents import (
    BLOCK_BYTES,
    Content,
    ContentDamagedError,
    ContentGoneError,
    Contents,
    ContentWriter,
    Lease,
)
from stagedoor.store.object_database import Segment
from stagedoor.store.object_listing import ObjectRow
from stagedoor.store.object_rows import NewObject, ObjectRows, whole

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ObjectChangedError(Exception):
    """The version was deleted before it could be read: look the object up again."""


class Reading:
    """A version's bytes held for reading: they stay although the version may be deleted meanwhile."""

    def __init__(
        self, row: ObjectRow, segments: list[Segment], found: dict[str, Content], lease: Lease
    ) -> None:
        self.row = row
        self._segments = segments
        self._found = found
        self._lease = lease
        self._contents = lease.contents

    def pieces(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` on, at most 256 KiB at a time; ContentDamagedError instead of a wrong byte."""
        end = self.row.size_bytes if length is None else start + length
        position = 0
        for segment in self._segments:
            first, last = max(start, position), min(end, position + segment.length)
            if first < last:
                content = self._found[segment.content_id]
                yield from self._contents.read(content, segment.start + first - position, last - first)
            position += segment.length
            if position >= end:
                return

    def release(self) -> None:
        """Let go of the bytes; may be called more than once."""
        self._lease.release()

    def slices(self, start: int, length: int) -> list[Segment]:
        """The segments that make up a range: what a copy of it refers to."""
        slices: list[Segment] = []
        position, end = 0, start + length
        for segment in self._segments:
            first, last = max(start, position), min(end, position + segment.length)
            if first < last:
                slices.append(Segment(segment.content_id, segment.start + first - position, last - first))
            position += segment.length
        return slices


def reading(objects: ObjectRows, contents: Contents, row: ObjectRow) -> Reading:
    """Hold ``row``'s bytes. ObjectChangedError when the version is gone, ContentDamagedError when bytes are missing."""
    segments = objects.segments(row)
    found = objects.contents_of(segments)
    complete = sum(segment.length for segment in segments) == row.size_bytes
    if complete and all(segment.content_id in found for segment in segments):
        try:
            return Reading(row, segments, found, contents.lease(list(found)))
        except ContentGoneError:
            pass
    if objects.find_version(row.bucket, row.key, row.version_id) == row:
        raise ContentDamagedError(f"bytes of {row.bucket}/{row.key} are missing from the store")
    raise ObjectChangedError(row.key)


class _RowFile(io.RawIOBase):
    """A seekable file over a version's bytes."""

    def __init__(self, held: Reading) -> None:
        self._held = held
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._held.row.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._held.row.size_bytes - self._position)
        filled = 0
        if length > 0:
            for piece in self._held.pieces(self._position, length):
                view[filled : filled + len(piece)] = piece
                filled += len(piece)
        self._position += filled
        return filled

    def close(self) -> None:
        self._held.release()
        super().close()


def open_row(objects: ObjectRows, contents: Contents, row: ObjectRow) -> BinaryIO:
    """Open a version as a seekable file for reading. ObjectChangedError, ContentDamagedError (also while reading)."""
    raw = _RowFile(reading(objects, contents, row))
    return cast(BinaryIO, io.BufferedReader(raw, buffer_size=BLOCK_BYTES))


def read_bytes(objects: ObjectRows, contents: Contents, row: ObjectRow) -> bytes:
    """All bytes of a version that is known to be small (look at ``row.size_bytes``)."""
    held = reading(objects, contents, row)
    try:
        return b"".join(held.pieces())
    finally:
        held.release()


def read_to(objects: ObjectRows, contents: Contents, row: ObjectRow, path: Path) -> None:
    """Copy a version's bytes to a new file; on an error no file is left. FileExistsError when there is one."""
    held = reading(objects, contents, row)
    try:
        with path.open("xb", buffering=0) as file:
            try:
                for piece in held.pieces():
                    view = memoryview(piece)
                    while view:
                        view = view[file.write(view) :]
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    finally:
        held.release()


def put_file(
    objects: ObjectRows,
    contents: Contents,
    bucket: str,
    key: str,
    path: Path,
    *,
    now: float,
    content_type: str = "binary/octet-stream",
    metadata: Mapping[str, str] | None = None,
) -> ObjectRow:
    """Store a file's bytes as the current object under ``key``. NoSuchBucketError; OSError when the disk is full.

    ``metadata`` has the names without ``x-amz-meta-``. Checksum and encryption members are S3's defaults.
    """
    with path.open("rb", buffering=0) as file:
        return _put(objects, contents, bucket, key, partial(_fill, file), now, content_type, metadata)


def put_stream(
    objects: ObjectRows, contents: Contents, bucket: str, key: str, file: BinaryIO, *, now: float
) -> ObjectRow:
    """Store the rest of an open file; else as ``put_file``."""
    return _put(objects, contents, bucket, key, partial(_fill, file), now, "binary/octet-stream", None)


def _fill(file: BinaryIO | io.FileIO, writer: ContentWriter) -> None:
    while data := file.read(BLOCK_BYTES):
        writer.write(data)


def put_bytes(
    objects: ObjectRows,
    contents: Contents,
    bucket: str,
    key: str,
    data: bytes,
    *,
    now: float,
    content_type: str = "binary/octet-stream",
    metadata: Mapping[str, str] | None = None,
) -> ObjectRow:
    """Store ``data`` as the current object under ``key``; else as ``put_file``."""
    return _put(
        objects, contents, bucket, key, lambda writer: writer.write(data), now, content_type, metadata
    )


def _put(
    objects: ObjectRows,
    contents: Contents,
    bucket: str,
    key: str,
    fill: Callable[[ContentWriter], None],
    now: float,
    content_type: str,
    metadata: Mapping[str, str] | None,
) -> ObjectRow:
    md5, checksum = checksums.md5(), checksums.DEFAULT.start()
    with contents.writer([md5, checksum]) as writer:
        fill(writer)
        content = writer.commit()
    new = NewObject(
        size_bytes=content.size_bytes,
        etag=md5.digest().hex(),
        last_modified=now,
        segments=whole([content]),
        contents=[content],
        attributes={
            "ContentType": content_type,
            "ServerSideEncryption": "AES256",
            "Checksum": {
                "algorithm": checksums.DEFAULT.name,
                "type": "FULL_OBJECT",
                "value": checksums.encoded(checksum),
            },
            **({"Metadata": dict(metadata)} if metadata else {}),
        },
    )
    try:
        return objects.put(bucket, key, new)
    except BaseException:
        contents.delete([content.id])
        raise


def sweep(objects: ObjectRows, contents: Contents) -> int:
    """Delete contents that earlier processes left without a row (a crash between file and row); their number.

    Run at start, in a thread: new contents may be written meanwhile.
    """
    swept = 0
    for prefix, content_ids in contents.folders():
        orphans = set(content_ids) - objects.content_ids(prefix)
        contents.delete(orphans)
        swept += len(orphans)
    return swept
