"""Input objects cut into records, records put together into payloads: SplitType, BatchStrategy and MaxPayloadInMB.

Place in the flow: ``act`` opens an input object as a file; ``payloads`` gives the bodies of the model's invocations, in order,
never more than one payload and one record in memory. Each payload keeps its records when the answer must be joined to
them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO, Literal

from awscrt.checksums import crc32c

SplitType = Literal["None", "Line", "RecordIO", "TFRecord"]
BatchStrategy = Literal["MultiRecord", "SingleRecord"]

_RECORDIO_HEAD = Struct("<II")
_RECORDIO_MAGIC = 0xCED7230A
_RECORDIO_LENGTH = (1 << 29) - 1
_WHOLE_RECORD, _LAST_PART = 0, 3
# A TFRecord frame: length, its checksum, the record, its checksum.
_TFRECORD_HEAD = Struct("<QI")
_TFRECORD_TAIL = Struct("<I")


class InputError(Exception):
    """An input object cannot be cut into payloads; the text says why, the job goes on with its other objects."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of one invocation and the records it was made from, before any filter."""

    body: bytes
    records: tuple[bytes, ...]


def payloads(
    file: BinaryIO,
    split_type: SplitType,
    strategy: BatchStrategy,
    max_payload_bytes: int,
    prepare: Callable[[bytes], bytes] | None = None,
) -> Iterator[Payload]:
    """The invocations for one object. ``prepare`` (the input filter) makes of a record what the model is sent.

    InputError when one record alone is larger than ``max_payload_bytes``, or the object is not in its format.
    """
    bodies: list[bytes] = []
    records: list[bytes] = []
    size_bytes = 0
    single = strategy == "SingleRecord" or split_type == "None"
    for record in _records(file, split_type, max_payload_bytes, bare=single):
        body = prepare(record) if prepare is not None else record
        if len(body) > max_payload_bytes:
            raise InputError("Too much data for max payload size")
        if records and (single or size_bytes + len(body) > max_payload_bytes):
            yield Payload(b"".join(bodies), tuple(records))
            bodies, records, size_bytes = [], [], 0
        bodies.append(body)
        records.append(record)
        size_bytes += len(body)
    if records:
        yield Payload(b"".join(bodies), tuple(records))


def _records(file: BinaryIO, split_type: SplitType, max_bytes: int, *, bare: bool) -> Iterator[bytes]:
    match split_type:
        case "None":
            return _whole(file, max_bytes)
        case "Line":
            return _lines(file, max_bytes)
        case "RecordIO":
            return _recordio(file, max_bytes, bare=bare)
        case "TFRecord":
            return _tfrecord(file, max_bytes, bare=bare)


def _whole(file: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise InputError("Too much data for max payload size")
    if content:
        yield content


def _lines(file: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    """Lines with their newline (the last one gets one); blank lines are no records."""
    while line := file.readline(max_bytes + 1):
        if len(line) > max_bytes:
            raise InputError("Too much data for max payload size")
        if line.strip():
            yield line if line.endswith(b"\n") else line + b"\n"


def _recordio(file: BinaryIO, max_bytes: int, *, bare: bool) -> Iterator[bytes]:
    """Whole frames; with ``bare`` only what is in them, as AWS does for single records."""
    frames, contents = b"", b""
    while head := file.read(_RECORDIO_HEAD.size):
        if len(head) < _RECORDIO_HEAD.size:
            raise InputError("The RecordIO data ends inside a frame")
        magic, packed = _RECORDIO_HEAD.unpack(head)
        length, part = packed & _RECORDIO_LENGTH, packed >> 29
        if magic != _RECORDIO_MAGIC:
            raise InputError("The data is not in RecordIO format: a frame has no magic number")
        if len(frames) + length > max_bytes:
            raise InputError("Too much data for max payload size")
        padded = length + (-length % 4)
        content = file.read(padded)
        if len(content) < length:
            raise InputError("The RecordIO data ends inside a frame")
        # The magic number was cut out where the parts of a split record meet.
        contents += (head[:4] if contents else b"") + content[:length]
        frames += head + content
        if part in (_WHOLE_RECORD, _LAST_PART):
            yield contents if bare else frames
            frames, contents = b"", b""
    if frames:
        raise InputError("The RecordIO data ends inside a record")


def _tfrecord(file: BinaryIO, max_bytes: int, *, bare: bool) -> Iterator[bytes]:
    """Whole frames; with ``bare`` only what is in them. Both checksums of a frame are checked."""
    while head := file.read(_TFRECORD_HEAD.size):
        if len(head) < _TFRECORD_HEAD.size:
            raise InputError("The TFRecord data ends inside a frame")
        length, checksum = _TFRECORD_HEAD.unpack(head)
        if _masked_crc(head[:8]) != checksum:
            raise InputError("The data is not in TFRecord format: the checksum of a length is wrong")
        if length > max_bytes:
            raise InputError("Too much data for max payload size")
        content = file.read(length)
        tail = file.read(_TFRECORD_TAIL.size)
        if len(content) < length or len(tail) < _TFRECORD_TAIL.size:
            raise InputError("The TFRecord data ends inside a frame")
        if _masked_crc(content) != _TFRECORD_TAIL.unpack(tail)[0]:
            raise InputError("The data is not in TFRecord format: the checksum of a record is wrong")
        yield content if bare else head + content + tail


def _masked_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, rotated and shifted so that checksums of checksums are no problem."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
