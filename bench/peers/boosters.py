"""The two boosters, as every peer serves them: the same files and the same reader of the rows as stagedoor's model worker."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import xgboost

from stagedoor.worker.algorithms import csv_rows


class Boosters:
    """Loaded from the files that ``BENCH_REVIEW_MODEL`` and ``BENCH_ROW_MODEL`` name; one thread each, as processes are many."""

    def __init__(self) -> None:
        self._review = _load(os.environ["BENCH_REVIEW_MODEL"])
        self._row = _load(os.environ["BENCH_ROW_MODEL"])

    def review(self, body: bytes) -> list[float]:
        """Scores of rows in CSV."""
        return self._review.inplace_predict(csv_rows.read_csv(body)).tolist()

    def rows(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """Scores of small rows."""
        return self._row.inplace_predict(np.array(rows, np.float32)).tolist()

    def row_json(self, body: bytes) -> list[float]:
        """Scores of ``{"instances": [{"features": [...]}]}``."""
        return self.rows(features_of(orjson.loads(body)))


def features_of(document: Mapping[str, Any]) -> list[list[float]]:
    return [instance["features"] for instance in document["instances"]]


def csv_of(scores: Sequence[float]) -> str:
    return ",".join(map(str, scores))


def json_of(scores: Sequence[float]) -> bytes:
    return orjson.dumps({"predictions": scores})


def _load(path: str) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(path)
    booster.set_param({"nthread": 1})
    return booster
