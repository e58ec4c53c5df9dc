"""Serves PCA models: each row's projection on the components, the largest component last, as SageMaker's models answer.

Place in the flow: ``worker.model_server`` calls ``load``; ``row_model`` has the formats.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.model_arrays import load_arrays
from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.specs import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load(spec: ModelSpec, model_dir: Path) -> RowModel:
    """Load ``model_algo-1``; ModelFileError when it is no PCA model."""
    arrays = load_arrays(model_dir, "mean", "v")
    return RowModel("pca", Projection(arrays["v"], arrays["mean"].ravel()), "projections")


class Projection:
    """A ``RowPredictor`` of directions (columns of ``vectors``) around a mean."""

    takes_sparse = True
    asks_together = True

    def __init__(self, vectors: "NDArray[Any]", mean: "NDArray[Any]") -> None:
        self._vectors = vectors.astype(np.float64)
        self._offset = mean.astype(np.float64) @ self._vectors
        self.features = vectors.shape[0]

    def answer(self, rows: Any) -> RowAnswers:
        projected = np.asarray(rows @ self._vectors) - self._offset
        return RowAnswers({"projection": projected.astype(np.float32)})
