"""LIBSVM text, fast and strict: ``label[:weight] [qid:N] index:value index:value …``, one row a line.

Place in the flow: ``examples`` gives pieces of whole lines here. All numbers of a piece are read in one go; that labels,
indices and values stand where they belong is checked by the separators in front of them.
"""

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.sparse_rows import sparse_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLON, _NEWLINE = 58, 10
_COMMENT = re.compile(rb"#[^\n]*")
_GROUP = re.compile(rb"[ \t]qid:(\d+)(?=\s|$)")
_AS_BLANKS = bytes.maketrans(b":\n\r\t", b"    ")


@dataclass(frozen=True, slots=True)
class LibsvmRows:
    """The rows of one piece; as wide as the largest index they use (indices count from 0)."""

    features: Any
    labels: "NDArray[np.float32]"
    weights: "NDArray[np.float32] | None"
    groups: "NDArray[np.int64] | None"


def read_libsvm_examples(piece: bytes, file_name: str, first_line: int = 1) -> LibsvmRows | None:
    """The rows of whole lines; None when all of them are blank. ClientError names the first line that is no LIBSVM."""
    text = b"\n" + piece.rstrip() + b"\n"
    if b"#" in text:
        text = _COMMENT.sub(b"", text)
    groups = None
    if b"qid:" in text:
        groups = np.array([int(group) for group in _GROUP.findall(text)], dtype=np.int64)
        text = _GROUP.sub(b"", text)

    layout = _layout(text)
    numbers = _numbers(text, len(layout.starts))
    if numbers is None or not layout.is_valid():
        raise _first_bad_line(piece, file_name, first_line)
    if not len(numbers):
        return None
    if groups is not None and len(groups) != len(layout.first_of_line):
        raise ClientError(f"Some rows of file '{file_name}' have a qid and some have none")

    is_feature = np.ones(len(numbers), dtype=bool)
    is_feature[layout.first_of_line] = False
    is_feature[layout.first_of_line[layout.weighted] + 1] = False
    pairs = numbers[is_feature].reshape(-1, 2)
    indices = pairs[:, 0].astype(np.int64)
    if not np.array_equal(indices, pairs[:, 0]) or (
        len(indices) and (indices.min() < 0 or indices.max() >= 2**31)
    ):
        raise _first_bad_line(piece, file_name, first_line)
    weights = None
    if layout.weighted.any():
        weights = np.ones(len(layout.first_of_line), dtype=np.float32)
        weights[layout.weighted] = numbers[layout.first_of_line[layout.weighted] + 1]
    ends = np.concatenate([[0], np.cumsum(layout.features_per_line())])
    width = int(indices.max(initial=-1)) + 1
    return LibsvmRows(
        sparse_rows(pairs[:, 1].astype(np.float32), indices, ends, width),
        numbers[layout.first_of_line].astype(np.float32),
        weights,
        groups,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the numbers of a text begin, and what stands in front of each."""

    starts: "NDArray[np.intp]"
    after_colon: "NDArray[np.bool_]"
    first_of_line: "NDArray[np.intp]"  # indices into starts
    weighted: "NDArray[np.bool_]"  # for each line: a colon follows the label
    colons: int

    def features_per_line(self) -> "NDArray[np.intp]":
        lengths = np.diff(np.append(self.first_of_line, len(self.starts)))
        return (lengths - 1 - self.weighted) // 2

    def is_valid(self) -> bool:
        """Behind label and weight, blank and colon take turns, a colon comes last, and no colon is left over."""
        if not len(self.starts):
            return self.colons == 0
        lengths = np.diff(np.append(self.first_of_line, len(self.starts)))
        before_features = 1 + self.weighted.astype(np.intp)
        if ((lengths - before_features) % 2).any():
            return False
        place = np.arange(len(self.starts)) - np.repeat(self.first_of_line + before_features, lengths)
        expected = (place % 2 == 1) & (place > 0)
        expected[self.first_of_line[self.weighted] + 1] = True
        return bool(np.array_equal(expected, self.after_colon)) and self.colons == int(self.after_colon.sum())


def _layout(text: bytes) -> _Layout:
    characters = np.frombuffer(text, dtype=np.uint8)
    is_colon = characters == _COLON
    separates = is_colon | (characters <= 32)
    starts = np.flatnonzero(separates[:-1] & ~separates[1:]) + 1
    after_colon = is_colon[starts - 1]
    line_of_start = np.searchsorted(np.flatnonzero(characters == _NEWLINE), starts)
    first_of_line = np.flatnonzero(np.diff(line_of_start, prepend=-1))
    second = first_of_line + 1
    exists = second < len(starts)
    weighted = np.zeros(len(first_of_line), dtype=bool)
    weighted[exists] = after_colon[second[exists]]
    weighted[exists] &= line_of_start[second[exists]] == line_of_start[first_of_line[exists]]
    return _Layout(starts, after_colon, first_of_line, weighted, int(np.count_nonzero(is_colon)))


def _numbers(text: bytes, expected: int) -> "NDArray[np.float64] | None":
    blanks = text.translate(_AS_BLANKS)
    if not blanks.strip():
        return np.empty(0, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            numbers = np.fromstring(blanks, dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None  # something that is no number
    return numbers if len(numbers) == expected else None


_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf)"
_LINE = re.compile(rf"{_NUMBER}(?::{_NUMBER})?(?:\s+qid:\d+)?(?:\s+\d+:{_NUMBER})*\s*(?:#.*)?", re.IGNORECASE)


def _first_bad_line(piece: bytes, file_name: str, first_line: int) -> ClientError:
    lines = piece.split(b"\n")
    for number, raw in enumerate(lines, first_line):
        line = raw.decode("utf-8", "replace").strip()
        if line and not line.startswith("#") and not _LINE.fullmatch(line):
            which = "First line" if number == 1 else f"Line {number}"
            return ClientError(
                f"{which} '{line[:50]}...' of file '{file_name}' is not 'LIBSVM' format. "
                "Please ensure the file is in 'LIBSVM' format."
            )
    return ClientError(
        f"File '{file_name}' is not 'LIBSVM' format. Please ensure the file is in 'LIBSVM' format."
    )
