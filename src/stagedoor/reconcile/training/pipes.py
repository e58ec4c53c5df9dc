"""Pipe mode: a channel's data flows through a named pipe for each epoch, ``input/data/CHANNEL_0``, ``CHANNEL_1``, …

Place in the flow: the first pipe is there when a host starts; ``act`` lets a ``Feeding`` flow beside the hosts' processes: a thread for
each host and channel. When the process has read a pipe to its end, or closed it, the next epoch's is there already.
"""

import asyncio
import contextlib
import errno
import gzip
import io
import json
import logging
import os
import select
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from stagedoor.reconcile.jobs.downloads import DownloadError, reading
from stagedoor.reconcile.jobs.left_files import open_folder
from stagedoor.reconcile.training.channel_data import Channel, channels
from stagedoor.reconcile.training.staging import ROOT
from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputError, Location
from stagedoor.store.object_listing import ObjectRow
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import ObjectChangedError
from stagedoor.store.records import Document

log = logging.getLogger(__name__)

_FOLDER = f"{ROOT}/input/data"
_POLL_S = 0.01
_MAGIC = 0xCED7230A
_LONGEST_PART = (1 << 29) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 3
_BLOCK_BYTES = 256 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_LONGEST_LINE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Feed:
    """One channel of one host (from 0). ``is_over`` says that the process has ended."""

    channel: Channel
    host: int
    host_count: int
    objects: ObjectRows
    contents: Contents
    is_over: Callable[[], bool]


def first_pipe(channel: Channel) -> str:
    """Where the first epoch's pipe is in the host's directory."""
    return f"{_FOLDER}/{channel.name}_0"


def feed(source: Feed, scratch: Path) -> None:
    """Give the process one epoch after the other until it is over. DownloadError when an object cannot be had. Blocks."""
    folder = open_folder(scratch, _FOLDER)
    if folder is None:
        return
    try:
        epoch = 0
        while (pipe := _open(folder, f"{source.channel.name}_{epoch}", source.is_over)) is not None:
            try:
                _write_all(pipe, _pieces(source, epoch), source.is_over)
                _make(folder, f"{source.channel.name}_{epoch + 1}")
                os.unlink(f"{source.channel.name}_{epoch}", dir_fd=folder)
            finally:
                os.close(pipe)
            epoch += 1
    except FileNotFoundError:
        return  # the process has removed it, and so wants no more
    finally:
        os.close(folder)


class Feeding:
    """The threads that fill a job's pipes. ``failure``: an object could not be had, so the job cannot go on well."""

    def __init__(self, document: Document, objects: ObjectRows, contents: Contents) -> None:
        self._channels = [channel for channel in channels(document) if channel.mode == "Pipe"]
        self._objects = objects
        self._contents = contents
        self.failure: DownloadError | None = None

    @contextlib.asynccontextmanager
    async def flow(self, scratches: Sequence[Path]) -> AsyncGenerator[None]:
        """Fill the hosts' pipes until the end of the block."""
        over = threading.Event()
        # Threads of their own: each waits for its reader, and would keep others from the event loop's few.
        with ThreadPoolExecutor(max(1, len(self._channels) * len(scratches)), "pipe") as threads:
            for number, scratch in enumerate(scratches):
                for channel in self._channels:
                    source = Feed(
                        channel,
                        number,
                        len(scratches),
                        self._objects,
                        self._contents,
                        over.is_set,
                    )
                    threads.submit(self._feed, source, scratch)
            try:
                yield
            finally:
                over.set()
                await asyncio.to_thread(threads.shutdown)

    def _feed(self, source: Feed, scratch: Path) -> None:
        try:
            feed(source, scratch)
        except DownloadError as error:
            self.failure = error
        except OSError:
            log.exception("a pipe cannot be filled", extra={"channel": source.channel.name})


def _make(folder: int, name: str) -> None:
    os.mkfifo(name, 0o600, dir_fd=folder)
    owner = os.fstat(folder)
    if os.geteuid() == 0:
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)


def _open(folder: int, name: str, is_over: Callable[[], bool]) -> int | None:
    """The pipe's writing end as soon as somebody reads from it; None when nobody will."""
    while not is_over():
        try:
            pipe = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ENXIO:
                return None
            time.sleep(_POLL_S)
            continue
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            return pipe
        os.close(pipe)
        return None
    return None


def _write_all(pipe: int, pieces: Iterator[bytes], is_over: Callable[[], bool]) -> None:
    """Until the data or the reader's interest ends."""
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            if is_over():
                return
            try:
                rest = rest[os.write(pipe, rest) :]
            except BlockingIOError:
                poll.poll(100)
            except BrokenPipeError:
                return


# What flows -------------------------------------------------------------------------------------------------------------


def _pieces(source: Feed, epoch: int) -> Iterator[bytes]:
    channel = source.channel
    try:
        if channel.data_type == "AugmentedManifestFile":
            yield from _augmented(source, epoch)
            return
        found = channel.objects(source.objects, source.contents, epoch)
        for one in channel.share(found, source.host, source.host_count):
            yield from _wrapped(source, one.row)
    except (InputError, ObjectChangedError, ContentDamagedError) as error:
        raise DownloadError(f"Data download failed:{error}") from error


def _wrapped(source: Feed, row: ObjectRow) -> Iterator[bytes]:
    """One object's bytes, unzipped and in a record, as the channel says."""
    channel = source.channel
    uri = f"s3://{row.bucket}/{row.key}"
    with reading(uri), objects_io.open_row(source.objects, source.contents, row) as packed:
        if channel.is_zipped:
            with gzip.GzipFile(fileobj=packed, mode="rb") as unpacked:
                yield from _maybe_record(cast(BinaryIO, unpacked), None, channel)
        else:
            yield from _maybe_record(packed, row.size_bytes, channel)


def _maybe_record(file: BinaryIO, size_bytes: int | None, channel: Channel) -> Iterator[bytes]:
    if channel.record_wrapper != "RecordIO":
        yield from _blocks(file, size_bytes)
        return
    if size_bytes is not None:
        yield from record(file, size_bytes)
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as whole:
        shutil.copyfileobj(file, whole, _BLOCK_BYTES)
        size_bytes = whole.tell()
        whole.seek(0)
        yield from record(cast(BinaryIO, whole), size_bytes)


def _blocks(file: BinaryIO, size_bytes: int | None) -> Iterator[bytes]:
    left = size_bytes
    while left is None or left > 0:
        block = file.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left))
        if not block:
            return
        if left is not None:
            left -= len(block)
        yield block


def record(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    """The next ``size_bytes`` of a file as a RecordIO record; a very large one in parts, as the format has it."""
    left, part = size_bytes, _WHOLE if size_bytes <= _LONGEST_PART else _FIRST
    while True:
        length = min(left, _LONGEST_PART)
        yield _MAGIC.to_bytes(4, "little") + (part << 29 | length).to_bytes(4, "little")
        yield from _blocks(file, length)
        yield bytes(-length % 4)
        left -= length
        if left <= 0:
            return
        part = _MIDDLE if left > _LONGEST_PART else _LAST


# Augmented manifests ------------------------------------------------------------------------------------------------------


def _augmented(source: Feed, epoch: int) -> Iterator[bytes]:
    """The named attributes of each line, in the order of AttributeNames; what a ``…-ref`` attribute refers to instead of it."""
    channel = source.channel
    manifest = Location.parse(channel.uri)
    row = source.objects.get(manifest.bucket, manifest.key)
    if row is None:
        raise InputError(f"The augmented manifest {channel.uri} does not exist")
    lines = list(_lines(source, row))
    ordered = channel.ordered(lines, epoch)
    for number, line in channel.share(ordered, source.host, source.host_count):
        for attribute in channel.attributes:
            if attribute not in line:
                raise InputError(
                    f"Line {number} of the augmented manifest {channel.uri} has no attribute {attribute}"
                )
            yield from _attribute(source, number, attribute, line[attribute])


def _lines(source: Feed, row: ObjectRow) -> Iterator[tuple[int, dict[str, Any]]]:
    with objects_io.open_row(source.objects, source.contents, row) as file:
        number = 0
        while text := file.readline(_LONGEST_LINE):
            number += 1
            if not text.strip():
                continue
            try:
                line: Any = json.loads(text)
            except (ValueError, RecursionError):
                line = None
            if not isinstance(line, dict):
                raise InputError(
                    f"Line {number} of the augmented manifest {source.channel.uri} is not a JSON object"
                )
            yield number, cast("dict[str, Any]", line)


def _attribute(source: Feed, number: int, name: str, value: Any) -> Iterator[bytes]:
    if name.endswith("-ref"):
        place = Location.parse(str(value))
        row = source.objects.get(place.bucket, place.key)
        if row is None:
            raise InputError(
                f"Line {number} of the augmented manifest {source.channel.uri} refers to {value}: no such object"
            )
        yield from _wrapped(source, row)
        return
    text = value if isinstance(value, str) else json.dumps(value)
    data = text.encode()
    if source.channel.record_wrapper == "RecordIO":
        yield from record(io.BytesIO(data), len(data))
    else:
        yield data
