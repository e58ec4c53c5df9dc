"""The two boosters, as every peer serves them: the same files, and a row made of what the peer's own protocol carries.

A peer that is sent the review as text/csv reads it here in the fastest way that numpy has. Those that a run hands stagedoor's own
reader beside it (``BENCH_READER=stagedoor``, ``catalogue.GIVEN``) tell how much of a difference is the reader's.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import xgboost

Reader = Callable[[bytes], np.ndarray]


def read_counts(body: bytes) -> np.ndarray:
    """One row of counts in CSV. Read as integers and then converted, which takes a sixth of the time of reading float32."""
    return np.fromstring(body, dtype=np.int32, sep=",").astype(np.float32).reshape(1, -1)


class Boosters:
    """Loaded from the files that ``BENCH_REVIEW_MODEL`` and ``BENCH_ROW_MODEL`` name; one thread each, as processes are many."""

    def __init__(self, read: Reader = read_counts) -> None:
        """``read`` is how this peer reads a review in CSV, unless the run hands it stagedoor's reader."""
        self._read = _stagedoors() if os.environ.get("BENCH_READER") == "stagedoor" else read
        self._review = _load(os.environ["BENCH_REVIEW_MODEL"])
        self._row = _load(os.environ["BENCH_ROW_MODEL"])

    def review_csv(self, body: bytes) -> list[float]:
        """Scores of a review in CSV."""
        return self.review(self._read(body))

    def review(self, counts: np.ndarray) -> list[float]:
        """Scores of reviews in float32: rows of 5,000 columns."""
        return self._review.inplace_predict(counts).tolist()

    def rows(self, rows: "Sequence[Sequence[float]] | np.ndarray") -> list[float]:
        """Scores of small rows."""
        return self._row.inplace_predict(np.asarray(rows, np.float32)).tolist()

    def row_json(self, body: bytes) -> list[float]:
        """Scores of ``{"instances": [{"features": [...]}]}``."""
        return self.rows(features_of(orjson.loads(body)))


def features_of(document: Mapping[str, Any]) -> list[list[float]]:
    return [instance["features"] for instance in document["instances"]]


def csv_of(scores: Sequence[float]) -> str:
    return ",".join(map(str, scores))


def json_of(scores: Sequence[float]) -> bytes:
    return orjson.dumps({"predictions": scores})


def _stagedoors() -> Reader:
    from stagedoor.worker.algorithms import csv_rows

    return csv_rows.read_csv


def _load(path: str) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(path)
    booster.set_param({"nthread": 1})
    return booster
