"""Sparse matrices for training: CSR, where what is not stored is missing. The only place that knows scipy."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# scipy brings no types.
_scipy: Any = importlib.import_module("scipy.sparse")


def sparse_rows(
    values: "NDArray[np.float32]", columns: "NDArray[np.int64]", ends: "NDArray[Any]", width: int
) -> Any:
    """A CSR matrix: row n holds ``values[ends[n]:ends[n + 1]]`` at ``columns[...]``."""
    return _scipy.csr_matrix((values, columns, ends), shape=(len(ends) - 1, width))


def widened(rows: Any, width: int) -> Any:
    """The same rows with ``width`` columns, the new ones all missing."""
    return sparse_rows(rows.data, rows.indices, rows.indptr, width)


def stacked(parts: list[Any]) -> Any:
    """Several matrices of one width as one."""
    return _scipy.vstack(parts, format="csr")


def from_dense(rows: "NDArray[Any]") -> Any:
    """The cells of a dense array that are not zero."""
    return _scipy.csr_matrix(rows, dtype="float32")
