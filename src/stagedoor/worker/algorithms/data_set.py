"""All rows of a channel as one matrix of float32, dense or CSR, read without a second copy of all of it.

Place in the flow: ``examples`` reads pieces, ``read_data_set`` lays them into one matrix and lets go of each piece as it is
copied; the algorithms other than XGBoost train on it. Missing values mean nothing to them, and what a sparse row does not
name is zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stagedoor.worker.algorithms import sparse_rows
from stagedoor.worker.algorithms.channels import Channel
from stagedoor.worker.algorithms.examples import Examples, read_examples
from stagedoor.worker.algorithms.failures import ClientError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DataSet:
    """``features``: a C-ordered float32 array or a CSR matrix. ``labels``: float32, empty where the data has none."""

    features: Any
    labels: "NDArray[np.float32]"

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def columns(self) -> int:
        return int(self.features.shape[1])

    @property
    def is_sparse(self) -> bool:
        return not isinstance(self.features, np.ndarray)

    def dense(self, rows: "NDArray[np.intp] | slice") -> "NDArray[np.float32]":
        """Some rows as a dense array."""
        part = self.features[rows]
        return part.toarray() if self.is_sparse else part

    def batches(self, size: int, random: "np.random.Generator | None" = None) -> "Iterator[NDArray[np.intp]]":
        """Row numbers in pieces of ``size`` (the last one smaller), shuffled when there is a generator."""
        order = np.arange(len(self)) if random is None else random.permutation(len(self))
        for first in range(0, len(order), size):
            yield order[first : first + size]

    def chunks(self) -> Iterator[slice]:
        """Rows in order, in pieces of a few million cells: for passes that need a dense piece at a time."""
        step = max(1, _CELLS_AT_ONCE // max(1, self.columns))
        for first in range(0, len(self), step):
            yield slice(first, min(first + step, len(self)))


def read_data_set(channel: Channel, feature_dim: int | None, threads: int = 1) -> DataSet:
    """All rows of the channel. ClientError for missing values, or another width than ``feature_dim`` says."""
    pieces = read_examples(channel, threads=threads)
    _check_width(pieces, channel, feature_dim)
    labels = np.concatenate([piece.labels for piece in pieces])
    if len(labels) and len(labels) != sum(piece.features.shape[0] for piece in pieces):
        raise ClientError(f"Some rows of the '{channel.name}' channel have a label and some have none")
    if any(not isinstance(piece.features, np.ndarray) for piece in pieces):
        return DataSet(_joined_sparse(pieces, channel, feature_dim or pieces[0].columns), labels)
    return DataSet(_joined_dense(pieces, channel), labels)


def _check_width(pieces: list[Examples], channel: Channel, feature_dim: int | None) -> None:
    found = pieces[0].columns
    sparse = not isinstance(pieces[0].features, np.ndarray)
    if feature_dim is None or found == feature_dim or (sparse and found < feature_dim):
        return
    hint = ""
    if channel.format == "csv" and channel.label_size == 1 and found + 1 == feature_dim:
        hint = ". The first column was read as the label; data without labels has the ContentType text/csv;label_size=0"
    if channel.format == "csv" and channel.label_size == 0 and found - 1 == feature_dim:
        hint = ". The ContentType says label_size=0; with a label in the first column it is text/csv;label_size=1"
    raise ClientError(
        f"The rows of the '{channel.name}' channel have {found} features, and feature_dim is {feature_dim}{hint}"
    )


def _joined_dense(pieces: list[Examples], channel: Channel) -> "NDArray[np.float32]":
    rows = sum(piece.features.shape[0] for piece in pieces)
    matrix = np.empty((rows, pieces[0].columns), dtype=np.float32)
    end = rows
    while pieces:  # from the end, so that each piece is let go as soon as it is copied
        piece = pieces.pop()
        start = end - piece.features.shape[0]
        matrix[start:end] = piece.features
        _check_finite(matrix[start:end], channel, start)
        end = start
    return matrix


def _check_finite(values: "NDArray[np.float32]", channel: Channel, first_row: int) -> None:
    if not np.isfinite(values).all():
        rows, columns = np.nonzero(~np.isfinite(values))
        raise ClientError(
            f"Input contains NaN or infinity: row {first_row + int(rows[0]) + 1}, feature {int(columns[0]) + 1} of the "
            f"'{channel.name}' channel. This algorithm does not take missing values."
        )


def _joined_sparse(pieces: list[Examples], channel: Channel, width: int) -> Any:
    parts: list[Any] = []
    while pieces:
        part = pieces.pop(0).features
        if isinstance(part, np.ndarray):
            part = sparse_rows.from_dense(cast(Any, part))
        if not np.isfinite(part.data).all():
            raise ClientError(f"Input contains NaN or infinity in the '{channel.name}' channel")
        parts.append(part if part.shape[1] == width else sparse_rows.widened(part, width))
    return parts[0] if len(parts) == 1 else sparse_rows.stacked(parts)
