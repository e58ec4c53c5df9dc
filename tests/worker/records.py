"""RecordIO-protobuf training data, written by hand after SageMaker's public .proto file."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def dense_records(features: np.ndarray, labels: Iterable[float] | None = None) -> bytes:
    return _records([(row, None, None) for row in features], labels)


def sparse_records(features: np.ndarray, labels: Iterable[float] | None = None) -> bytes:
    """Zeros are left out."""
    width = features.shape[1]
    return _records([(row[row != 0], np.flatnonzero(row), width) for row in features], labels)


def _records(rows: list[tuple[np.ndarray, Any, int | None]], labels: Iterable[float] | None) -> bytes:
    all_labels = list(labels) if labels is not None else [None] * len(rows)
    return b"".join(_record(row, label) for row, label in zip(rows, all_labels, strict=True))


def _record(row: tuple[np.ndarray, Any, int | None], label: float | None) -> bytes:
    values, keys, width = row
    tensor = _field(1, np.asarray(values, dtype="<f4").tobytes())
    if keys is not None:
        tensor += _field(2, b"".join(_varint(int(key)) for key in keys)) + _field(3, _varint(width or 0))
    payload = _field(1, _entry(tensor))
    if label is not None:
        payload += _field(2, _entry(_field(1, np.float32(label).tobytes())))
    head = (0xCED7230A).to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    return head + payload + b"\x00" * (-len(payload) % 4)


def _entry(tensor: bytes) -> bytes:
    return _field(1, b"values") + _field(2, _field(2, tensor))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])
