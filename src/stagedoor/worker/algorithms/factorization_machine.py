"""A factorization machine: a linear model and, for each pair of features, the product of two learned vectors.

Place in the flow: ``factorization_machines_training`` learns one, ``factorization_machines_serving`` answers with it. For a row x:
``bias + x·linear + ½ Σ_f ((x·v_f)² - x²·v_f²)``, which is the sum over all pairs of features in linear time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class FactorizationMachine:
    """``linear``: (features,). ``factors``: (features, num_factors)."""

    bias: "NDArray[np.float32]"
    linear: "NDArray[np.float32]"
    factors: "NDArray[np.float32]"

    def scores(self, rows: Any) -> "NDArray[np.float64]":
        """One number for each row of a dense or CSR matrix."""
        mixed = np.asarray(rows @ self.factors, dtype=np.float64)
        alone = np.asarray(squared(rows) @ (self.factors.astype(np.float64) ** 2).sum(axis=1))
        linear = np.asarray(rows @ self.linear, dtype=np.float64)
        return float(self.bias[0]) + linear + 0.5 * ((mixed**2).sum(axis=1) - alone)


def squared(rows: Any) -> Any:
    """Each cell times itself; sparse stays sparse."""
    dense = isinstance(rows, np.ndarray)
    cells: Any = rows
    return cells**2 if dense else cells.multiply(cells).tocsr()
