"""Serves K-Means models: the nearest centre of each row, and how far it is.

Place in the flow: ``worker.model_server`` calls ``load``; ``row_model`` has the formats.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stagedoor.worker.algorithms.model_arrays import load_arrays
from stagedoor.worker.algorithms.nearest_centers import nearest_centers
from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.specs import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load(spec: ModelSpec, model_dir: Path) -> RowModel:
    """Load ``model_algo-1``; ModelFileError when it is no K-Means model."""
    return RowModel("kmeans", Clusters(load_arrays(model_dir, "centers")["centers"].astype(np.float64)))


class Clusters:
    """A ``RowPredictor``. ``distance_to_cluster`` is the Euclidean distance."""

    takes_sparse = False
    asks_together = True

    def __init__(self, centers: "NDArray[np.float64]") -> None:
        self._centers = centers
        self.features = centers.shape[1]

    def answer(self, rows: "NDArray[np.float32]") -> RowAnswers:
        nearest, squared = nearest_centers(rows, self._centers)
        return RowAnswers(
            {
                "closest_cluster": nearest.astype(np.float32),
                "distance_to_cluster": np.sqrt(squared).astype(np.float32),
            }
        )
