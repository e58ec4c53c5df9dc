"""Serves random cut forests: an anomaly score for each row.

Place in the flow: ``worker.model_server`` calls ``load``; ``row_model`` has the formats.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stagedoor.worker.algorithms.model_arrays import load_arrays
from stagedoor.worker.algorithms.random_cut_trees import ARRAYS, RandomCutForest
from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.specs import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load(spec: ModelSpec, model_dir: Path) -> RowModel:
    """Load ``model_algo-1``; ModelFileError when it is no forest."""
    arrays = load_arrays(model_dir, *ARRAYS)
    return RowModel(
        "random_cut_forest", AnomalyScorer(RandomCutForest(*(arrays[name] for name in ARRAYS))), "scores"
    )


class AnomalyScorer:
    """A ``RowPredictor``."""

    takes_sparse = False
    asks_together = True

    def __init__(self, forest: RandomCutForest) -> None:
        self._forest = forest
        self.features = forest.features

    def answer(self, rows: "NDArray[np.float32]") -> RowAnswers:
        return RowAnswers({"score": self._forest.scores(rows).astype(np.float32)})
