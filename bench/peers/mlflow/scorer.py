"""The MLflow model, from code: a review and a row arrive as named tensors under ``inputs``."""

from typing import Any

import mlflow
import numpy as np
from bench.peers.boosters import Boosters
from mlflow.pyfunc import PythonModel


class Scorer(PythonModel):
    def load_context(self, context: Any) -> None:
        self._boosters = Boosters()

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> list[float]:
        if "review" in model_input:
            return self._boosters.review(np.asarray(model_input["review"], np.float32))
        return self._boosters.rows(model_input["row"])


mlflow.models.set_model(Scorer())
