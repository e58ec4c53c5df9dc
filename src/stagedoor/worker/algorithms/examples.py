"""Rows for training, with or without labels, read from a channel's files in pieces of bounded size.

Place in the flow: ``channels`` names the files, ``read_examples`` yields ``Examples``; ``xgboost_matrix`` feeds them to the
library, ``data_set`` makes one matrix of them. Only the pieces themselves stay in memory, whole numbers from 0 to 255 (counts
of words) in one byte each.
"""

import importlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms import sparse_rows
from stagedoor.worker.algorithms.channels import Channel
from stagedoor.worker.algorithms.csv_rows import RowsError, read_csv
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.libsvm_examples import read_libsvm_examples
from stagedoor.worker.algorithms.recordio import Tensor, read_record_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE_BYTES = 8 * 1024 * 1024
_CSV_PIECE_BYTES = (
    1024 * 1024
)  # what a piece goes through on its way to numbers then stays in the processor's cache
_PARQUET_ROWS = 16_384
_RECORDS_AT_MOST = 16_384
_NO_LABELS = np.empty(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Examples:
    """Some rows: ``features`` a dense array (NaN is a missing value) or a sparse CSR matrix (what is not stored is missing).

    ``labels`` is empty where the data has none. ``weights`` and ``groups`` (query ids of ranking) are None where the data has none.
    """

    features: Any
    labels: "NDArray[np.float32]"
    weights: "NDArray[np.float32] | None" = None
    groups: "NDArray[np.int64] | None" = None

    @property
    def columns(self) -> int:
        return int(self.features.shape[1])


def read_examples(channel: Channel, *, weight_column: bool = False, threads: int = 1) -> list[Examples]:
    """All rows of a channel, every piece with the same number of columns. ClientError says which file is wrong.

    ``threads``: how many pieces of CSV data may be read at once.
    ``weight_column``: the second column of CSV data holds instance weights (hyperparameter ``csv_weights``).
    """
    pieces: list[Examples] = []
    for path in channel.files:
        for piece in _read_file(path, channel, weight_column, threads):
            _check_labels(piece, path, channel)
            _check_columns(piece, path, pieces)
            pieces.append(piece)
    if not pieces:
        raise ClientError(f"No data in {channel.name} channel: its files have no rows")
    return _same_width(pieces)


def _read_file(path: Path, channel: Channel, weight_column: bool, threads: int) -> Iterator[Examples]:
    match channel.format:
        case "csv":
            return _read_csv_file(path, channel.label_size, weight_column, threads)
        case "libsvm":
            return _read_libsvm_file(path)
        case "parquet":
            return _read_parquet_file(path)
        case "recordio-protobuf":
            return _read_recordio_file(path, channel.labelled)
        case "text":
            raise ClientError(f"The '{channel.name}' channel holds text, not rows of numbers")


def whole_lines(path: Path, piece_bytes: int) -> Iterator[tuple[int, bytes]]:
    """A text file in pieces that end with a line: the number of the first line, and the piece."""
    line_number = 1
    with path.open("rb") as file:
        while piece := file.read(piece_bytes):
            piece += file.readline()
            yield line_number, piece
            line_number += piece.count(b"\n")


def _read_csv_file(path: Path, label_size: int, weight_column: bool, threads: int) -> Iterator[Examples]:
    def examples(first_line: int, piece: bytes) -> Examples:
        try:
            table = read_csv(piece)
        except RowsError as error:
            raise _csv_error(path, first_line, piece, error) from error
        if table.shape[1] < (3 if weight_column else 1 + label_size):
            wanted = "a label, a weight and features" if weight_column else "a label and features"
            raise ClientError(
                f"File '{path.name}' has {table.shape[1]} columns; CSV data has {wanted}, in this order"
            )
        first_feature = 2 if weight_column else label_size
        weights = np.ascontiguousarray(table[:, 1]) if weight_column else None
        labels = np.ascontiguousarray(table[:, 0]) if label_size else _NO_LABELS
        return Examples(_compact(table[:, first_feature:]), labels, weights)

    pieces = whole_lines(path, min(PIECE_BYTES, _CSV_PIECE_BYTES))
    yield from _in_order(examples, ((line, piece) for line, piece in pieces if piece.strip()), threads)


def _in_order(
    work: Callable[[int, bytes], Examples], pieces: Iterator[tuple[int, bytes]], threads: int
) -> Iterator[Examples]:
    """What ``work`` makes of each piece, in order, ``threads`` at a time: NumPy works without Python's lock."""
    under_way: deque[Future[Examples]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for first_line, piece in pieces:
            under_way.append(pool.submit(work, first_line, piece))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _csv_error(path: Path, first_line: int, piece: bytes, error: RowsError) -> ClientError:
    line = piece.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    if first_line == 1 and "convert" in str(error) and "(line 1)" in str(error):
        return ClientError(
            f"Non-numeric value found in the header line '{line[:50]}...' of file '{path.name}'. CSV data must have no "
            "header line; if there is none, the algorithm does not accept non-numeric values in the data."
        )
    offset = f" (lines from {first_line} on)" if first_line > 1 else ""
    return ClientError(f"Failed to load csv data with exception:\n{error} in file '{path.name}'{offset}")


def _compact(features: "NDArray[np.float32]") -> "NDArray[Any]":
    """The same numbers in one byte each where they fit, else as they are (and without the rest of the table)."""
    with np.errstate(invalid="ignore"):
        small = features.astype(np.uint8)
    if np.array_equal(small, features):
        return small
    return np.ascontiguousarray(features)


def _read_libsvm_file(path: Path) -> Iterator[Examples]:
    for first_line, piece in whole_lines(path, PIECE_BYTES):
        rows = read_libsvm_examples(piece, path.name, first_line)
        if rows is not None:
            yield Examples(rows.features, rows.labels, rows.weights, rows.groups)


def _read_parquet_file(path: Path) -> Iterator[Examples]:
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ClientError(
            f"File '{path.name}' is Parquet, and the package pyarrow is not installed. "
            "Install stagedoor[parquet], or give the channel CSV or LIBSVM data."
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                columns: list[NDArray[np.float32]] = [
                    column.to_numpy(zero_copy_only=False).astype(np.float32, casting="unsafe")
                    for column in batch.columns
                ]
                if len(columns) < 2:
                    raise ClientError(
                        f"File '{path.name}' has {len(columns)} columns; the label is the first of several"
                    )
                yield Examples(_compact(np.stack(columns[1:], axis=1)), columns[0])
    except (arrow.ArrowException, ValueError, TypeError) as error:
        raise ClientError(
            f"Failed to load parquet data with exception:\n{error} in file '{path.name}'"
        ) from error


def _read_recordio_file(path: Path, labelled: bool) -> Iterator[Examples]:
    labels: list[float] = []
    rows: list[Tensor] = []
    size_bytes = 0
    number = 0
    try:
        with path.open("rb") as file:
            for number, record in enumerate(read_record_file(file), 1):
                if record.label is not None and len(record.label.values) == 1:
                    labels.append(float(record.label.values[0]))
                elif labelled:
                    raise ClientError(f"Record {number} of file '{path.name}' has no label")
                rows.append(record.features)
                size_bytes += record.features.values.nbytes
                if size_bytes >= PIECE_BYTES or len(rows) >= _RECORDS_AT_MOST:
                    yield _recordio_piece(path, rows, labels)
                    labels, rows, size_bytes = [], [], 0
    except RowsError as error:
        raise ClientError(
            f"Failed to load recordio-protobuf data with exception:\n{error} in file '{path.name}'"
        ) from error
    if rows:
        yield _recordio_piece(path, rows, labels)


def _recordio_piece(path: Path, rows: list[Tensor], labels: list[float]) -> Examples:
    # Labels that only some records have say nothing, and nobody asked for them.
    values = np.array(labels, dtype=np.float32) if len(labels) == len(rows) else _NO_LABELS
    sparse = [row for row in rows if row.keys is not None]
    if not sparse:
        widths = {len(row.values) for row in rows}
        if len(widths) > 1:
            raise ClientError(
                f"The records of file '{path.name}' have different numbers of features: {sorted(widths)}"
            )
        return Examples(_compact(np.stack([row.values for row in rows]).astype(np.float32)), values)
    keys = [row.keys if row.keys is not None else np.arange(len(row.values)) for row in rows]
    width = max(
        row.width or int(columns.max(initial=-1)) + 1 for row, columns in zip(rows, keys, strict=True)
    )
    columns = np.concatenate(keys)
    if len(columns) and (int(columns.min()) < 0 or int(columns.max()) >= width):
        raise ClientError(f"File '{path.name}' has a record with a key outside its shape ({width})")
    ends = np.cumsum([0, *(len(part) for part in keys)])
    stored = np.concatenate([row.values for row in rows]).astype(np.float32)
    return Examples(sparse_rows.sparse_rows(stored, columns, ends, width), values)


def _check_labels(piece: Examples, path: Path, channel: Channel) -> None:
    if channel.labelled and not len(piece.labels):
        raise ClientError(f"File '{path.name}' of the '{channel.name}' channel has no labels")
    if not np.isfinite(piece.labels).all():
        row = int(np.flatnonzero(~np.isfinite(piece.labels))[0]) + 1
        raise ClientError(
            f"Label contains NaN, infinity or a value too large: row {row} of a piece of '{path.name}'"
        )
    if piece.weights is not None and not (piece.weights >= 0).all():
        raise ClientError(f"Weights must be positive values: file '{path.name}' has others")


def _check_columns(piece: Examples, path: Path, before: list[Examples]) -> None:
    dense = isinstance(piece.features, np.ndarray)
    if before and dense and isinstance(before[0].features, np.ndarray) and before[0].columns != piece.columns:
        raise ClientError(
            f"File '{path.name}' has rows of {piece.columns} features, the rows before have {before[0].columns}"
        )


def _same_width(pieces: list[Examples]) -> list[Examples]:
    """Sparse pieces know only the columns they use: all get the width of the widest."""
    width = max(piece.columns for piece in pieces)
    return [
        piece
        if piece.columns == width
        else replace(piece, features=sparse_rows.widened(piece.features, width))
        for piece in pieces
    ]
