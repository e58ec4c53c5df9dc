"""Serves k-NN models: the label that the nearest neighbours have, on demand with them and their distances.

Place in the flow: ``worker.model_server`` calls ``load``; ``row_model`` has the formats.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stagedoor.worker.algorithms.knn_index import NeighbourIndex
from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.specs import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def load(spec: ModelSpec, model_dir: Path) -> RowModel:
    """Load the index; ModelFileError when it is no k-NN model."""
    return RowModel("knn", NeighbourVote(NeighbourIndex.load(model_dir)))


class NeighbourVote:
    """A ``RowPredictor``."""

    takes_sparse = False
    asks_together = (
        False  # from 20 rows on faiss measures in another way, whose distances differ in their last digits
    )

    def __init__(self, index: NeighbourIndex) -> None:
        self._index = index
        self.features = index.metadata["feature_dim"]

    def answer(self, rows: "NDArray[np.float32]") -> RowAnswers:
        found = self._index.neighbours(rows)
        return RowAnswers(
            {"predicted_label": found.predicted}, {"distances": found.distances, "labels": found.labels}
        )
