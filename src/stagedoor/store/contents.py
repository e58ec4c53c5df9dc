"""Object bytes on the disk: written once, found by a random id, checked whenever they are read.

Place in the flow: ``services.s3`` streams a body into a ``ContentWriter``; when that is committed the bytes are on the
disk, and only then ``store.object_rows`` commits a row that refers to them. A crash in between leaves a file without a
row, which the sweep at the next start removes. Files are never changed, and never named by an S3 key.

A file holds nothing but the bytes. CRC32C values of its 256 KiB blocks are kept with its row: a reader takes one block,
checks it, and only then hands it on, so a flipped bit never reaches a client, not even in a ranged read. The price:
reads go through user space (no sendfile), and a read of one byte reads a block.

Contents of at most 16 KiB get no file: their bytes are kept with the row, in the same commit, since a file costs three fsyncs and more.
"""

import io
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stagedoor.store.checksums import Digest, block_checksum
from stagedoor.store.durable import sync, sync_directory

BLOCK_BYTES: Final = 256 * 1024
# Up to here bytes are kept with their row: SQLite reads and writes such pieces faster than a file system does.
SMALL_BYTES: Final = 16 * 1024
_TAG_LENGTH: Final = 8
# No hexadecimal digit, so that no file is called so.
_SMALL: Final = "s"


class ContentDamagedError(Exception):
    """Stored bytes are missing or not those that were written. Nothing of the damaged block was handed out."""


class ContentGoneError(Exception):
    """The content was deleted before it could be leased: look the object up again."""


@dataclass(frozen=True, slots=True)
class Content:
    """Committed bytes. ``block_checksums`` has 4 bytes (CRC32C, big-endian) for each started block of 256 KiB.

    ``data``: the bytes themselves where they are few; they are durable with the row that holds them.
    """

    id: str
    size_bytes: int
    block_checksums: bytes = field(repr=False)
    data: bytes | None = field(default=None, repr=False)


def is_small(content_id: str) -> bool:
    """Whether a content's bytes are kept with its row, and not in a file."""
    return content_id.startswith(_SMALL)


class ContentWriter:
    """Bytes on their way to the disk. Blocking, one thread at a time. Ends with ``commit`` or ``abort``.

    As a context manager it aborts unless it was committed. ``digests`` are fed everything that is written.
    """

    def __init__(self, contents: "Contents", temporary: Path, digests: Sequence[Digest]) -> None:
        self._contents = contents
        self._temporary = temporary
        self._digests = digests
        # None while the bytes are few enough to need none.
        self._file: io.FileIO | None = None
        self._small: list[bytes] = []
        self._checksums = bytearray()
        self._block_value = 0
        self._block_filled = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Append ``data``. OSError when the disk is full."""
        if self._file is None and self.size_bytes + len(data) <= self._contents.small_bytes:
            self._small.append(data)
        else:
            if self._file is None:
                self._file = io.FileIO(self._temporary, "xb")
                self._append(b"".join(self._small))
                self._small = []
            self._append(data)
        for digest in self._digests:
            digest.update(data)
        self._guard(data)
        self.size_bytes += len(data)

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _guard(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            end = min(len(data), start + BLOCK_BYTES - self._block_filled)
            piece = data if end - start == len(data) else data[start:end]
            self._block_value = block_checksum(piece, self._block_value)
            self._block_filled += end - start
            if self._block_filled == BLOCK_BYTES:
                self._end_block()
            start = end

    def _end_block(self) -> None:
        self._checksums += self._block_value.to_bytes(4, "big")
        self._block_value = self._block_filled = 0

    def commit(self) -> Content:
        """The bytes under a new id; those in a file are durable then. They stay until ``Contents.delete``. No bytes: id ""."""
        if not self.size_bytes:
            return Content("", 0, b"")
        if self._block_filled:
            self._end_block()
        if self._file is None:
            data = b"".join(self._small)
            return Content(_SMALL + secrets.token_hex(16), self.size_bytes, bytes(self._checksums), data)
        sync(self._file.fileno())
        self._file.close()
        content_id = self._contents.adopt(self._temporary)
        return Content(content_id, self.size_bytes, bytes(self._checksums))

    def abort(self) -> None:
        """Forget the bytes; nothing happens after a commit."""
        if self._file is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


class Lease:
    """Keeps contents on the disk while somebody reads them, although their last row may go meanwhile."""

    def __init__(self, contents: "Contents", content_ids: Sequence[str]) -> None:
        self.contents = contents
        self._content_ids: Sequence[str] = content_ids

    def release(self) -> None:
        """Let go; may be called more than once."""
        content_ids, self._content_ids = self._content_ids, ()
        if content_ids:
            self.contents.end_lease(content_ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        # An answer that is dropped before its body was begun never runs a generator's ``finally``.
        self.release()


class Contents:
    """A directory of contents. Thread-safe; all methods block. One instance per directory and process."""

    def __init__(self, directory: Path, small_bytes: int = SMALL_BYTES) -> None:
        self.small_bytes = small_bytes
        self._directory = directory
        self._incoming = directory / "incoming"
        # Re-entrant: the collector may end a lease (``Lease.__del__``) while this very thread is in here.
        self._lock = threading.RLock()
        self._leased: Counter[str] = Counter()
        self._doomed: set[str] = set()
        # Ids end in a tag of this process, so that a sweep tells new contents, whose rows come later, from leftovers.
        self._tag = secrets.token_hex(_TAG_LENGTH // 2)
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink(missing_ok=True)

    def writer(self, digests: Sequence[Digest] = ()) -> ContentWriter:
        """Begin a new content; ``digests`` see all its bytes."""
        return ContentWriter(self, self._incoming / secrets.token_hex(16), digests)

    def path(self, content_id: str) -> Path:
        """Where the bytes are. For reading only, and only while leased or referred to by a row."""
        return self._directory / content_id[:2] / content_id[2:4] / content_id

    def adopt(self, temporary: Path) -> str:
        """Give a finished, synced temporary file its place. Used by ``ContentWriter.commit``."""
        content_id = secrets.token_hex(16) + self._tag
        target = self.path(content_id)
        fresh = [folder for folder in (target.parent.parent, target.parent) if not folder.is_dir()]
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.rename(target)
        sync_directory(target.parent)
        for folder in reversed(fresh):
            sync_directory(folder.parent)
        return content_id

    def delete(self, content_ids: Iterable[str]) -> None:
        """Remove contents that no row refers to; those under lease go when the last reader lets go."""
        with_file = [content_id for content_id in content_ids if content_id and not is_small(content_id)]
        if not with_file:
            return
        with self._lock:
            for content_id in with_file:
                if self._leased[content_id] > 0:
                    self._doomed.add(content_id)
                else:
                    del self._leased[content_id]
                    self.path(content_id).unlink(missing_ok=True)

    def lease(self, content_ids: Sequence[str]) -> Lease:
        """Hold contents for reading; ContentGoneError when one is gone or going already.

        Small ones need no hold: who has them has their bytes.
        """
        content_ids = [content_id for content_id in content_ids if not is_small(content_id)]
        if not content_ids:
            return Lease(self, ())
        with self._lock:
            for content_id in content_ids:
                if content_id in self._doomed or not self.path(content_id).exists():
                    raise ContentGoneError(content_id)
            self._leased.update(content_ids)
        return Lease(self, content_ids)

    def end_lease(self, content_ids: Sequence[str]) -> None:
        """Used by ``Lease.release``."""
        with self._lock:
            self._leased.subtract(content_ids)
            for content_id in content_ids:
                if self._leased[content_id] <= 0:
                    del self._leased[content_id]
                    if content_id in self._doomed:
                        self._doomed.discard(content_id)
                        self.path(content_id).unlink(missing_ok=True)

    def read(self, content: Content, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` on, in pieces of at most 256 KiB, each checked before it is given.

        ContentDamagedError when the file is missing, cut, or a block is not what was written.
        """
        end = content.size_bytes if length is None else start + length
        if start >= end:
            return
        if content.data is not None:
            if not _is_whole(content, content.data, 0):
                raise ContentDamagedError(f"content {content.id} is damaged")
            yield content.data[start:end]
            return
        try:
            with self.path(content.id).open("rb", buffering=0) as file:
                for block in range(start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
                    data = _read_block(file.fileno(), content, block)
                    first = block * BLOCK_BYTES
                    yield data[max(0, start - first) : end - first]
        except FileNotFoundError as error:
            raise ContentDamagedError(f"content {content.id} is missing") from error

    def folders(self) -> Iterator[tuple[str, list[str]]]:
        """For the sweep: every fan-out folder as its ids' common prefix, and the ids in it from earlier processes."""
        for outer in sorted(self._directory.glob("[0-9a-f][0-9a-f]")):
            for inner in sorted(outer.iterdir()):
                names = [entry.name for entry in inner.iterdir()]
                yield outer.name + inner.name, [name for name in names if not name.endswith(self._tag)]


def _read_block(descriptor: int, content: Content, block: int) -> bytes:
    first = block * BLOCK_BYTES
    size = min(BLOCK_BYTES, content.size_bytes - first)
    data = os.pread(descriptor, size, first)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), first + len(data))):
        data += more
    if len(data) != size or not _is_whole(content, data, block):
        raise ContentDamagedError(f"content {content.id} is damaged between bytes {first} and {first + size}")
    return data


def _is_whole(content: Content, data: bytes, block: int) -> bool:
    return block_checksum(data) == int.from_bytes(content.block_checksums[block * 4 : block * 4 + 4], "big")
