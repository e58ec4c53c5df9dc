"""``application/x-recordio-protobuf``: RecordIO frames around SageMaker's ``Record`` messages, without a protobuf library.

Place in the flow: ``request_rows`` reads request bodies with it, the training side whole channels, ``answers`` writes
predictions with it. Only what a ``Record`` needs of protobuf is here: varints, length-delimited fields and packed numbers.

A frame is ``u32 magic | u32 length (29 bits; the upper 3 say which part of a split record it is) | data | padding to 4``.
A record has ``features`` (field 1) and ``label`` (field 2), maps from a name to a tensor of float32 (field 2), float64
(field 3) or int32 (field 7); a tensor has ``values`` (1), ``keys`` (2: indices of a sparse row) and ``shape`` (3).
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stagedoor.worker.algorithms.csv_rows import RowsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = 0xCED7230A
_HEAD = Struct("<II")
_LENGTH_MASK = (1 << 29) - 1
_TENSOR_TYPES = {2: np.dtype("<f4"), 3: np.dtype("<f8"), 7: np.dtype("<i4")}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row's values; ``keys`` are the columns of a sparse row, ``width`` its declared number of columns."""

    values: "NDArray[np.float32] | NDArray[np.float64]"
    keys: "NDArray[np.int64] | None" = None
    width: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One example: its features and, in training data, its label."""

    features: Tensor
    label: Tensor | None = None


def read_records(data: bytes) -> Iterator[Record]:
    """The records of a body, in order. RowsError at the first thing that is none."""
    return read_record_file(io.BytesIO(data))


def read_record_file(file: BinaryIO) -> Iterator[Record]:
    """The records of an open file, one after the other. RowsError at the first thing that is none."""
    for number, payload in enumerate(_payloads(file), 1):
        try:
            yield _record(payload)
        except (IndexError, ValueError) as error:
            raise RowsError(f"record {number}: {error}") from error


def _payloads(file: BinaryIO) -> Iterator[bytes]:
    position, parts = 0, b""
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise RowsError(f"the frame at byte {position} is cut off")
        magic, packed = _HEAD.unpack(head)
        if magic != MAGIC:
            raise RowsError(f"no RecordIO magic number at byte {position}")
        length, part = packed & _LENGTH_MASK, packed >> 29
        payload = file.read(length)
        if len(payload) < length:
            raise RowsError(f"the frame at byte {position} announces {length} bytes that are not there")
        padding = -length % 4
        file.read(padding)
        position += _HEAD.size + length + padding
        if part == 0:
            yield payload
        else:
            # 1 begins a split record, 2 goes on, 3 ends it; the magic number was cut out where the parts meet.
            parts = payload if part == 1 else parts + MAGIC.to_bytes(4, "little") + payload
            if part == 3:
                yield parts
                parts = b""


def write_record(label: Mapping[str, "NDArray[np.float32]"]) -> bytes:
    """One framed record without features, whose ``label`` holds the given float32 tensors: a prediction."""
    payload = b"".join(
        _field(2, _field(1, name.encode()) + _field(2, _field(2, _field(1, values.astype("<f4").tobytes()))))
        for name, values in label.items()
    )
    return _HEAD.pack(MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _as_varint(len(content)) + content


def _as_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _record(data: bytes) -> Record:
    features: Tensor | None = None
    label: Tensor | None = None
    for field, value in _fields(data):
        if field not in (1, 2) or not isinstance(value, bytes):
            continue  # uid, metadata, configuration
        name, tensor = _entry(value)
        if field == 1:
            if features is not None:
                raise ValueError(f"more than one feature tensor ({name!r})")
            features = tensor
        else:
            label = tensor
    if features is None:
        raise ValueError("no features")
    return Record(features, label)


def _entry(data: bytes) -> tuple[str, Tensor]:
    name, tensor = "", None
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            name = value.decode("utf-8", "replace")
        elif field == 2 and isinstance(value, bytes):
            for kind, content in _fields(value):
                if kind not in _TENSOR_TYPES or not isinstance(content, bytes):
                    raise ValueError(f"feature {name!r} is not a tensor of numbers")
                tensor = _tensor(content, kind)
    if tensor is None:
        raise ValueError(f"feature {name!r} has no value")
    return name, tensor


def _tensor(data: bytes, kind: int) -> Tensor:
    dtype = _TENSOR_TYPES[kind]
    values: list[NDArray[Any]] = []
    keys: list[int] = []
    shape: list[int] = []
    for field, value in _fields(data):
        if field == 1:
            values.append(_numbers(value, dtype, varints=kind == 7))
        elif field in (2, 3):
            (keys if field == 2 else shape).extend(_varints(value) if isinstance(value, bytes) else [value])
    row = values[0] if len(values) == 1 else np.concatenate(values) if values else np.empty(0, np.float64)
    if not keys:
        return Tensor(row)
    if len(keys) != len(row):
        raise ValueError(f"{len(keys)} keys for {len(row)} values")
    return Tensor(row, np.array(keys, dtype=np.int64), shape[-1] if shape else None)


def _numbers(value: bytes | int, dtype: "np.dtype[np.generic]", *, varints: bool) -> "NDArray[Any]":
    if varints:
        raw = _varints(value) if isinstance(value, bytes) else [value]
        signed = [number - (1 << 64) if number >> 63 else number for number in raw]
        return np.array(signed, dtype=np.float64)
    if isinstance(value, int):
        value = value.to_bytes(dtype.itemsize, "little")
    if len(value) % dtype.itemsize:
        raise ValueError(f"{len(value)} bytes are no whole number of {dtype.name}")
    return np.frombuffer(value, dtype=dtype)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield field, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} is not one of a Record")
        if position + length > len(data):
            raise ValueError(f"field {field} is cut off")
        chunk = data[position : position + length]
        position += length
        yield field, chunk if wire == _BYTES else int.from_bytes(chunk, "little")


def _varints(data: bytes) -> list[int]:
    numbers: list[int] = []
    position = 0
    while position < len(data):
        number, position = _varint(data, position)
        numbers.append(number)
    return numbers


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("a varint is cut off or too long")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
