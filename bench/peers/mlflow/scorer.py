"""The MLflow model, from code: a review arrives as a text, a row as numbers, both under ``inputs``."""

from typing import Any

import mlflow
from bench.peers.boosters import Boosters
from mlflow.pyfunc import PythonModel


class Scorer(PythonModel):
    def load_context(self, context: Any) -> None:
        self._boosters = Boosters()

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> list[float]:
        if isinstance(model_input[0], str):
            return self._boosters.review(model_input[0].encode())
        return self._boosters.rows(model_input)


mlflow.models.set_model(Scorer())
