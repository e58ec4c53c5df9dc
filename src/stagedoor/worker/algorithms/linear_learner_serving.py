"""Serves Linear Learner models: scores, and for classifiers the predicted label.

Place in the flow: ``worker.model_server`` calls ``load``; ``row_model`` has the formats.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.linear_losses import probabilities
from stagedoor.worker.algorithms.model_arrays import load_arrays
from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.specs import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load(spec: ModelSpec, model_dir: Path) -> RowModel:
    """Load ``model_algo-1``; ModelFileError when it is no Linear Learner model."""
    arrays = load_arrays(model_dir, "weights", "bias", "threshold", "predictor_type", "loss")
    return RowModel("linear_learner", LinearPredictor(arrays))


class LinearPredictor:
    """A ``RowPredictor``."""

    takes_sparse = True
    asks_together = True

    def __init__(self, arrays: "dict[str, NDArray[Any]]") -> None:
        self._weights = arrays["weights"].astype(np.float64)
        self._bias = arrays["bias"].astype(np.float64)
        self._threshold = float(arrays["threshold"])
        self._kind = str(arrays["predictor_type"])
        self._loss = str(arrays["loss"])
        self.features = self._weights.shape[0]

    def answer(self, rows: Any) -> RowAnswers:
        scores = np.asarray(rows @ self._weights) + self._bias
        if self._kind == "regressor":
            return RowAnswers({"score": scores[:, 0].astype(np.float32)})
        if self._kind == "multiclass_classifier":
            found = probabilities(scores, self._loss)
            return RowAnswers({"score": found.astype(np.float32), "predicted_label": found.argmax(axis=1)})
        found = probabilities(scores[:, 0], self._loss)
        label = (found >= self._threshold).astype(np.int64)
        return RowAnswers({"score": found.astype(np.float32), "predicted_label": label})
