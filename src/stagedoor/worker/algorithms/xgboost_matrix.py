"""The library's data matrices from pieces of examples, in as little memory as the chosen method allows.

Place in the flow: ``examples`` -> ``training_matrices`` -> ``xgboost_training``. Methods that build histograms get the data
as bins (one byte for most values), piece by piece; the others need the values themselves.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost
from xgboost import collective

from stagedoor.worker.algorithms import sparse_rows
from stagedoor.worker.algorithms.examples import Examples
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.xgboost_parameters import XgboostParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEW_VALUES = 32


def training_matrices(
    train: list[Examples], validation: list[Examples] | None, parameters: XgboostParameters
) -> tuple[xgboost.DMatrix, xgboost.DMatrix | None]:
    """The matrix to learn from and the one to validate with (as wide as the first)."""
    if validation is not None:
        validation = _as_wide_as(validation, train[0].columns)
    threads = parameters.booster["nthread"]
    if not parameters.quantised:
        return _whole(train, parameters), _whole(validation, parameters) if validation is not None else None
    bins = parameters.booster.get("max_bin") or 256
    first = xgboost.QuantileDMatrix(
        _Pieces(train, parameters), nthread=threads, max_bin=bins, ref=_few_values(train, bins, threads)
    )
    # The validation rows are kept as values: the library predicts sparse rows 40 times slower from bins.
    return first, _whole(validation, parameters) if validation is not None else None


def _few_values(pieces: list[Examples], bins: int, threads: int) -> xgboost.DMatrix | None:
    """A few rows that have each value of each column, when all are small whole numbers; else None.

    The library looks for bins in these rows then, instead of sketching all data, and finds the same: each value is one.
    """
    if collective.is_distributed():
        return None  # each host has other rows, and may have other values
    if any(
        piece.features.dtype != np.uint8 or not isinstance(piece.features, np.ndarray) for piece in pieces
    ):
        return None
    highest = max(int(piece.features.max(initial=0)) for piece in pieces)
    if highest >= min(bins, _FEW_VALUES):
        return None
    occurs = np.zeros((highest + 1, pieces[0].columns), dtype=bool)
    for piece in pieces:
        for value in range(highest + 1):
            occurs[value] |= (piece.features == value).any(axis=0)
    values = np.arange(highest + 1, dtype=np.float32)[:, None]
    rows = np.where(occurs, values, occurs.argmax(axis=0).astype(np.float32))
    return xgboost.QuantileDMatrix(rows, nthread=threads, max_bin=bins)


def _as_wide_as(validation: list[Examples], columns: int) -> list[Examples]:
    found = validation[0].columns
    if found == columns:
        return validation
    if found > columns or isinstance(validation[0].features, np.ndarray):
        raise ClientError(
            f"feature_names mismatch: the validation channel has {found} features, the train channel has {columns}"
        )
    return [
        Examples(sparse_rows.widened(piece.features, columns), piece.labels, piece.weights, piece.groups)
        for piece in validation
    ]


def _whole(pieces: list[Examples], parameters: XgboostParameters) -> xgboost.DMatrix:
    joined = Examples(
        _stacked([piece.features for piece in pieces]),
        np.concatenate([piece.labels for piece in pieces]),
        _joined([piece.weights for piece in pieces], pieces, 1.0),
        _joined([piece.groups for piece in pieces], pieces, 0),
    )
    return xgboost.DMatrix(
        joined.features, nthread=parameters.booster["nthread"], **_targets(joined, parameters)
    )


def _stacked(parts: list[Any]) -> Any:
    """Dense or sparse features of several pieces as one matrix."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return sparse_rows.stacked(parts)


def _joined(parts: list[Any], pieces: list[Examples], absent: float) -> "NDArray[Any] | None":
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [
            part if part is not None else np.full(len(piece.labels), absent)
            for part, piece in zip(parts, pieces, strict=True)
        ]
    )


def _targets(piece: Examples, parameters: XgboostParameters) -> dict[str, Any]:
    targets: dict[str, Any] = {"label": piece.labels}
    if piece.weights is not None:
        targets["weight"] = piece.weights
    if piece.groups is not None:
        targets["qid"] = piece.groups
    if parameters.objective == "survival:aft":
        # The channel formats have no column for censoring: every label is an observed time.
        targets |= {"label_lower_bound": piece.labels, "label_upper_bound": piece.labels}
    return targets


class _Pieces(xgboost.DataIter):
    """Gives the library one piece after the other, as often as it asks."""

    def __init__(self, pieces: list[Examples], parameters: XgboostParameters) -> None:
        super().__init__()
        # Ranking weights belong to groups, so a piece without weights must say so when another has some.
        weighted = any(piece.weights is not None for piece in pieces)
        self._pieces = [
            Examples(piece.features, piece.labels, np.ones(len(piece.labels), np.float32), piece.groups)
            if weighted and piece.weights is None
            else piece
            for piece in pieces
        ]
        self._parameters = parameters
        self._next = 0

    def next(self, input_data: Callable[..., None]) -> bool:
        if self._next == len(self._pieces):
            return False
        piece = self._pieces[self._next]
        self._next += 1
        input_data(data=piece.features, **_targets(piece, self._parameters))
        return True

    def reset(self) -> None:
        self._next = 0
