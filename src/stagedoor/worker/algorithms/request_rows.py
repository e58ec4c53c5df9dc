"""The rows of a request, whatever its content type: CSV, LIBSVM, JSON, JSON lines or RecordIO-protobuf.

Place in the flow: ``xgboost_serving`` and ``row_model`` hand in a request's content type and bytes and get rows that can be
laid out as a dense matrix of the model's width. A cell that a sparse row leaves out is what the caller says: a missing value
(NaN) as the booster sees it in training, or zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import orjson

from stagedoor.worker.algorithms.csv_rows import RowsError, read_csv
from stagedoor.worker.algorithms.recordio import read_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

CSV = "text/csv"
LIBSVM = "text/libsvm"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"
_NAMES = {
    "csv": CSV,
    CSV: CSV,
    "libsvm": LIBSVM,
    LIBSVM: LIBSVM,
    "text/x-libsvm": LIBSVM,
    JSON: JSON,
    JSON_LINES: JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    RECORDIO: RECORDIO,
}
_ZERO, _COLON, _NEWLINE, _BLANK = b"0:\n "
_AS_BLANKS = bytes.maketrans(b":\n", b"  ")
_DIGITS_AT_MOST = 7  # such whole numbers are exact as float32
_NUMBERS = frozenset({int, float, NoneType})
_CELLS_AT_ONCE = 16 * 1024 * 1024


class ContentTypeError(ValueError):
    """Nobody reads this content type here."""


class FeatureCountError(ValueError):
    """The rows do not fit the model's number of features."""


@dataclass(frozen=True, slots=True)
class DenseRows:
    """Rows that name every column."""

    matrix: "NDArray[np.float32]"

    def __len__(self) -> int:
        return len(self.matrix)

    def chunks(self, features: int, absent: float = np.nan) -> "Iterator[NDArray[np.float32]]":
        """The rows as matrices of the model's width; one matrix here."""
        yield self.matrix


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows that name some columns: row i holds ``columns`` and ``values`` from ``starts[i]`` to ``starts[i + 1]``."""

    starts: "NDArray[np.int64]"
    columns: "NDArray[np.int64]"
    values: "NDArray[np.float32]"

    def __len__(self) -> int:
        return len(self.starts) - 1

    def chunks(self, features: int, absent: float = np.nan) -> "Iterator[NDArray[np.float32]]":
        """The rows as dense matrices of at most a few million cells, so that wide models do not fill the memory."""
        step = max(1, _CELLS_AT_ONCE // max(1, features))
        for first in range(0, len(self), step):
            starts = self.starts[first : first + step + 1]
            matrix = np.full((len(starts) - 1, features), absent, dtype=np.float32)
            rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
            inside = slice(int(starts[0]), int(starts[-1]))
            matrix[rows, self.columns[inside]] = self.values[inside]
            yield matrix


Rows = DenseRows | SparseRows


@dataclass(frozen=True, slots=True)
class Media:
    """What a content type says: its one ``name``, and how many columns at the front of CSV rows are a label."""

    name: str
    label_size: int | None = None


@lru_cache(256)
def media_type(content_type: str, supported: tuple[str, ...]) -> Media:
    """The content type of a request; ContentTypeError for one that is not among ``supported``."""
    main, *parameters = content_type.lower().split(";")
    name = _NAMES.get(main.strip())
    if name is None or name not in supported:
        raise ContentTypeError(
            f"Content-type {content_type} not supported. Supported content-type is {', '.join(supported)}"
        )
    label_size = None
    for parameter in parameters:
        key, _, value = (part.strip(' "') for part in parameter.strip().partition("="))
        if key == "label_size":
            if not value.isdecimal():
                raise ContentTypeError(f"{content_type}: label_size must be a whole number")
            label_size = int(value)
        if key == "charset" and value not in ("utf-8", "utf8", "us-ascii"):
            raise ContentTypeError(f"{content_type}: the charset must be utf-8")
    return Media(name, label_size)


def read_rows(media: str, body: bytes, features: int, label_size: int = 0) -> Rows:
    """The rows of ``body``. RowsError when it cannot be read, FeatureCountError when it does not fit the model.

    ``label_size`` columns at the front of dense rows are no features.
    """
    rows = _READERS[media](body)
    if label_size and isinstance(rows, DenseRows):
        rows = DenseRows(rows.matrix[:, label_size:])
    if isinstance(rows, SparseRows):
        width = int(rows.columns.max()) + 1 if len(rows.columns) else 0
        if width > features:
            raise FeatureCountError(
                f"Feature size of {media} inference data {width} is larger than feature size of trained model {features}."
            )
    elif rows.matrix.shape[1] != features:
        raise FeatureCountError(
            f"Feature size of {media} inference data {rows.matrix.shape[1]} is not consistent "
            f"with feature size of trained model {features}."
        )
    return rows


def rows_of_any_width(media: str, body: bytes) -> Rows:
    """The rows of ``body``, however many features they have. RowsError when it cannot be read."""
    return _READERS[media](body)


def _read_csv(body: bytes) -> Rows:
    return DenseRows(read_csv(body))


def _sparse(rows: Sequence[tuple[list[int], Sequence[float | None]]]) -> SparseRows:
    """``None`` is a missing value."""
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(columns) for columns, _ in rows], out=starts[1:])
    columns = np.array([column for row, _ in rows for column in row], dtype=np.int64)
    if len(columns) and int(columns.min()) < 0:
        raise RowsError("a feature index is negative")
    values = np.array([value for _, row in rows for value in row], dtype=np.float64)
    return SparseRows(starts, columns, values.astype(np.float32))


def _read_libsvm(body: bytes) -> Rows:
    """Lines of ``index:value``; whatever has no colon (the label) says nothing about the features."""
    text = body.strip()
    if not text:
        raise RowsError("the body is empty")
    bags = _read_libsvm_of_counts(text)
    if bags is not None:
        return bags
    rows: list[tuple[list[int], list[float]]] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        columns: list[int] = []
        values: list[float] = []
        for item in line.partition(b"#")[0].split():
            index, colon, value = item.partition(b":")
            if not colon or index == b"qid":
                continue
            try:
                columns.append(int(index))
                values.append(float(value))
            except ValueError:
                shown = item[:40].decode("utf-8", "replace")
                raise RowsError(f"{shown!r} in line {number} is not index:value") from None
        rows.append((columns, values))
    return _sparse(rows)


def _read_libsvm_of_counts(text: bytes) -> SparseRows | None:
    """Lines ``label index:value index:value …`` of small whole numbers, as bags of words are, all read at once; None for anything else."""
    characters = np.frombuffer(text + b"\n", dtype=np.uint8)
    (ends,) = np.nonzero(characters - _ZERO > 9)  # wraps: everything that is no digit becomes larger than 9
    digits = np.diff(ends, prepend=-1) - 1
    separators = characters[ends]
    is_colon, is_newline = separators == _COLON, separators == _NEWLINE
    if (
        not (is_colon | is_newline | (separators == _BLANK)).all()
        or digits.min() < 1
        or digits.max() > _DIGITS_AT_MOST
    ):
        return None
    # Without the first number of each line, the label, indices and values take turns.
    is_label = np.concatenate([[True], is_newline[:-1]])
    taking_turns = is_colon[~is_label]
    if (
        is_colon[is_label].any()
        or not taking_turns[::2].all()
        or taking_turns[1::2].any()
        or len(taking_turns) % 2
    ):
        return None
    numbers = np.fromstring(text.translate(_AS_BLANKS), dtype=np.int64, sep=" ")
    pairs = numbers[~is_label].reshape(-1, 2)
    starts = np.append((np.flatnonzero(is_label) - np.arange(np.count_nonzero(is_label))) // 2, len(pairs))
    return SparseRows(starts, pairs[:, 0], pairs[:, 1].astype(np.float32))


def _read_recordio(body: bytes) -> Rows:
    records = [record.features for record in read_records(body)]
    if not records:
        raise RowsError("the body is empty")
    if all(record.keys is None for record in records):
        if len({len(record.values) for record in records}) > 1:
            raise RowsError("the records differ in their number of features")
        return DenseRows(np.stack([record.values for record in records]).astype(np.float32))
    return _sparse(
        [
            (record.keys.tolist(), record.values.tolist())
            if record.keys is not None
            else _all_named(record.values.tolist())
            for record in records
        ]
    )


def _all_named(values: Sequence[float | None]) -> tuple[list[int], Sequence[float | None]]:
    """A dense row among sparse ones."""
    return list(range(len(values))), values


def _read_json(body: bytes) -> Rows:
    """``[[…], …]``, one row ``[…]``, or SageMaker's ``{"instances": [{"features": […]} | {"data": …} | […], …]}``."""
    try:
        document: Any = orjson.loads(body)
    except ValueError as error:
        raise RowsError(str(error)) from error
    if _is_object(document):
        if set(document) != {"instances"}:
            raise RowsError('a JSON object must have the one key "instances"')
        document = document["instances"]
    if not _is_list(document) or not document:
        raise RowsError("the body holds no rows: expected a list of lists of numbers")
    if _are_numbers(document):
        document = [document]
    return _instances(document)


def _read_json_lines(body: bytes) -> Rows:
    """One instance a line: ``{"features": […]}``, ``{"data": {"features": {…}}}`` or ``[…]``."""
    instances: list[Any] = []
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            try:
                instances.append(orjson.loads(line))
            except ValueError as error:
                raise RowsError(f"line {number}: {error}") from error
    if not instances:
        raise RowsError("the body is empty")
    return _instances(instances)


def _instances(document: list[Any]) -> Rows:
    rows = [_instance(instance, number) for number, instance in enumerate(document, 1)]
    dense = [row for row in rows if isinstance(row, list)]
    if len(dense) < len(rows):
        return _sparse([row if isinstance(row, tuple) else _all_named(row) for row in rows])
    if len({len(row) for row in dense}) > 1:
        raise RowsError("the rows differ in their number of features")
    # Of None numpy makes NaN.
    return DenseRows(np.array(dense, dtype=np.float64).astype(np.float32))


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _are_numbers(values: list[Any]) -> bool:
    """Whether all of them are numbers or null."""
    return _NUMBERS.issuperset(map(type, values))


def _numbers(values: Any, number: int) -> list[float | None]:
    if not _is_list(values) or not _are_numbers(values):
        raise RowsError(f"row {number} is not a list of numbers")
    return values


def _instance(instance: Any, number: int) -> "list[float | None] | tuple[list[int], list[float | None]]":
    if _is_object(instance):
        features: Any = instance.get("features", instance.get("data"))
        if _is_object(features) and "features" in features:
            features = features["features"]
        if _is_object(features):
            values = _numbers(features.get("values"), number)
            if "keys" not in features:
                return values
            keys: Any = features["keys"]
            if not _is_list(keys) or not all(type(key) is int for key in keys):
                raise RowsError(f"the keys of instance {number} are not one integer per value")
            if not keys and values:
                return values  # no keys: a dense row, as in a protobuf record
            if len(keys) != len(values):
                raise RowsError(f"the keys of instance {number} are not one integer per value")
            return keys, values
        return _numbers(features, number)
    return _numbers(instance, number)


_READERS = {
    CSV: _read_csv,
    LIBSVM: _read_libsvm,
    JSON: _read_json,
    JSON_LINES: _read_json_lines,
    RECORDIO: _read_recordio,
}
