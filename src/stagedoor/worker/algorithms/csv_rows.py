"""Rows of numbers out of ``text/csv`` bodies, fast: most bodies are thousands of small integers.

Place in the flow: ``request_rows`` gives the bytes of a request here; ``tree_ensemble`` or the booster gets the matrix.
Four ways, tried in this order, all with the same answer: every second byte of a long row whose fields are nearly all one
digit; digits on the raw bytes with numpy; a JSON parser that is faster than any float parser of Python's; field by field,
which also knows empty fields, ``nan`` and other delimiters. An empty field is a missing value (NaN).
"""

from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMMA = 44
_NEWLINE = 10
_ZERO = 48
_DIGITS_AT_MOST = 7  # such integers are exact in float32's 24 bits or round the same way from int32
_PIECE_BYTES = 4 * 1024 * 1024
_LONG_ROW_BYTES = 512  # from here on a row is worth numpy calls of its own
_FEW = 8  # runs of fields of one digit; between them stands a number of several
_DIGIT_AND_COMMA = np.uint16(0x2C30)
_NOT_IN_NUMBERS = (b"[", b"{", b'"', b"t", b"l")
_OTHER_DELIMITERS = (b"\t", b";", b"|", b" ")


class RowsError(ValueError):
    """The body is not rows of numbers; the text says where."""


def read_csv(body: bytes) -> "NDArray[np.float32]":
    """All rows of ``body`` as one C-ordered float32 matrix. RowsError when it is not a table of numbers."""
    body = body.strip()
    if not body:
        raise RowsError("the body is empty")
    if len(body) <= _PIECE_BYTES:
        return _read_piece(body)
    # The readers need several times the body's size for a moment; a batch of 100 MB goes through them in pieces.
    pieces: list[NDArray[np.float32]] = []
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _PIECE_BYTES)
        end = len(body) if end < 0 else end
        pieces.append(_read_piece(body[start:end].rstrip(b"\r")))
        if pieces[-1].shape[1] != pieces[0].shape[1]:
            raise RowsError(f"a line has {pieces[-1].shape[1]} fields, line 1 has {pieces[0].shape[1]}")
        start = end + 1
    return np.concatenate(pieces)


def _read_piece(body: bytes) -> "NDArray[np.float32]":
    matrix = read_small_integers(body)
    if matrix is None:
        matrix = _read_json_numbers(body)
    if matrix is None:
        matrix = _read_fields(body)
    return matrix


def read_small_integers(body: bytes) -> "NDArray[np.float32] | None":
    """The matrix when ``body`` holds only digits, commas and single newlines in rows of equal length; else None.

    No leading or trailing newline. Integers of more than seven digits are left to the other readers.
    """
    if len(body) >= _LONG_ROW_BYTES:
        return read_lines(body.split(b"\n") if b"\n" in body else [body])
    return _read_digits(body)


def read_lines(lines: list[bytes]) -> "NDArray[np.float32] | None":
    """As ``read_small_integers``, of a body that is in its lines already."""
    matrix = _read_counts(lines) if sum(map(len, lines)) >= _LONG_ROW_BYTES * len(lines) else None
    return matrix if matrix is not None else _read_digits(b"\n".join(lines))


def _read_counts(lines: list[bytes]) -> "NDArray[np.float32] | None":
    """Rows of equal length whose fields are digits, all but a few of them one digit; else None."""
    # Room for the longest: a field has two bytes at least. The rows follow each other when all have the first one's length.
    values = np.empty(sum([(len(line) + 1) // 2 for line in lines]), dtype=np.float32)
    width = _read_count_row(lines[0], values)
    if not width:
        return None
    for number in range(1, len(lines)):
        if _read_count_row(lines[number], values[number * width :]) != width:
            return None
    return values[: len(lines) * width].reshape(len(lines), width)


def _read_count_row(line: bytes, values: "NDArray[np.float32]") -> int:
    """Write a row's fields into ``values``; their number, or 0 if this is no such row."""
    data = line + b","
    at = field = 0
    for _ in range(_FEW):
        # A digit and its comma are one little-endian number: 0x2C30 and the digit. Whatever else wraps to more than 9.
        pairs = np.frombuffer(data, dtype="<u2", offset=at, count=(len(data) - at) // 2) - _DIGIT_AND_COMMA
        fitting = len(pairs) if pairs.max(initial=0) <= 9 else int((pairs > 9).argmax())
        values[field : field + fitting] = pairs[:fitting]
        field += fitting
        at += 2 * fitting
        if at == len(data):
            break
        end = data.find(b",", at)
        number = data[at:end]
        if len(number) > _DIGITS_AT_MOST or not number.isdigit():
            return 0
        values[field] = int(number)
        field += 1
        at = end + 1
        if at == len(data):
            break
    else:
        return 0
    return field


def _read_digits(body: bytes) -> "NDArray[np.float32] | None":
    characters = np.frombuffer(body, dtype=np.uint8)
    digits = characters - _ZERO  # wraps: everything that is no digit becomes larger than 9
    (ends,) = np.nonzero(digits > 9)
    separators = characters[ends]
    newlines = separators == _NEWLINE
    if not ((separators == _COMMA) | newlines).all():
        return None
    fields = len(ends) + 1
    last = np.empty(fields, dtype=np.intp)
    last[:-1] = ends
    last[-1] = len(body)
    lengths = np.diff(last, prepend=-1)
    lengths -= 1
    longest = int(lengths.max())
    if longest > _DIGITS_AT_MOST or int(lengths.min()) == 0:
        return None
    last -= 1
    values = digits[last].astype(np.float32 if longest == 1 else np.int32)
    scale = 1
    wide = None
    for place in range(1, longest):
        scale *= 10
        wide = np.nonzero(lengths > place)[0] if wide is None else wide[lengths[wide] > place]
        values[wide] += digits[last[wide] - place].astype(np.int32) * scale
    rows = int(np.count_nonzero(newlines)) + 1
    if rows > 1:
        columns, rest = divmod(fields, rows)
        if rest or not newlines[columns - 1 :: columns].all():
            return None
        return values.astype(np.float32, copy=False).reshape(rows, columns)
    return values.astype(np.float32, copy=False).reshape(1, fields)


def _read_json_numbers(body: bytes) -> "NDArray[np.float32] | None":
    """The matrix when every field is also a JSON number; else None."""
    # Brackets and quotes could make another shape than rows of numbers; true, false and null are JSON but not CSV.
    if any(character in body for character in _NOT_IN_NUMBERS):
        return None
    text = b"[[" + body.replace(b"\r\n", b"\n").replace(b"\n", b"],[") + b"]]"
    try:
        rows = orjson.loads(text)
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return _as_float32(matrix) if matrix.ndim == 2 else None


def _read_fields(body: bytes) -> "NDArray[np.float32]":
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    delimiter = b","
    if delimiter not in lines[0]:
        delimiter = next((other for other in _OTHER_DELIMITERS if other in lines[0]), delimiter)
    rows: list[list[float]] = []
    for line_number, line in enumerate(lines, 1):
        fields = line.split(delimiter)
        if rows and len(fields) != len(rows[0]):
            raise RowsError(f"line {line_number} has {len(fields)} fields, line 1 has {len(rows[0])}")
        try:
            rows.append([_number(field) for field in fields])
        except ValueError:
            bad = next(field for field in fields if not _is_number(field))
            shown = bad[:40].decode("utf-8", "replace")
            raise RowsError(f"could not convert string to float: {shown!r} (line {line_number})") from None
    return _as_float32(np.array(rows, dtype=np.float64))


def _number(field: bytes) -> float:
    field = field.strip()
    if b"_" in field:  # Python reads 1_000, CSV does not
        raise ValueError(field)
    return float(field) if field else float("nan")


def _is_number(field: bytes) -> bool:
    try:
        _number(field)
    except ValueError:
        return False
    return True


def _as_float32(matrix: "NDArray[np.float64]") -> "NDArray[np.float32]":
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(matrix.astype(np.float32))
