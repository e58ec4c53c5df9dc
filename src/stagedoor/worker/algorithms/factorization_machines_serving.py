"""Serves factorization machines: a score for each row, and for classifiers the label (1 from one half on).

Place in the flow: ``worker.model_server`` calls ``load``; ``row_model`` has the formats.
"""

from pathlib import Path
from typing import Any

import numpy as np

from stagedoor.worker.algorithms.factorization_machine import FactorizationMachine
from stagedoor.worker.algorithms.linear_losses import probabilities
from stagedoor.worker.algorithms.model_arrays import load_arrays
from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.specs import ModelSpec


def load(spec: ModelSpec, model_dir: Path) -> RowModel:
    """Load ``model_algo-1``; ModelFileError when it is no factorization machine."""
    arrays = load_arrays(model_dir, "bias", "linear", "factors", "predictor_type")
    machine = FactorizationMachine(arrays["bias"], arrays["linear"], arrays["factors"])
    return RowModel("factorization_machines", MachinePredictor(machine, str(arrays["predictor_type"])))


class MachinePredictor:
    """A ``RowPredictor``."""

    takes_sparse = True
    asks_together = True

    def __init__(self, machine: FactorizationMachine, predictor_type: str) -> None:
        self._machine = machine
        self._is_classifier = predictor_type == "binary_classifier"
        self.features = len(machine.linear)

    def answer(self, rows: Any) -> RowAnswers:
        scores = self._machine.scores(rows)
        if not self._is_classifier:
            return RowAnswers({"score": scores.astype(np.float32)})
        found = probabilities(scores, "logistic")
        return RowAnswers(
            {"score": found.astype(np.float32), "predicted_label": (found >= 0.5).astype(np.int64)}
        )
