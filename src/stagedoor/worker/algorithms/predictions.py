"""Predictions as the bytes of an answer: CSV, JSON or JSON lines, in real time and in batch transform.

Place in the flow: the last step of ``xgboost_serving``. In real time AWS's container puts all predictions on one line,
separated by commas; in batch transform each on its own line with a final newline. With the model's environment
variable ``SAGEMAKER_INFERENCE_OUTPUT`` an answer holds the selected members (label, probability, …) instead.
"""

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
SUPPORTED = (JSON, JSON_LINES, CSV)

_LABEL_KEYS = ("predicted_label", "labels", "raw_score", "raw_scores")
_PROBABILITY_KEYS = ("probability", "probabilities")
_SELECTABLE = {
    "reg:squarederror": ("predicted_score",),
    "reg:logistic": ("predicted_score",),
    "reg:gamma": ("predicted_score",),
    "reg:tweedie": ("predicted_score",),
    "binary:logistic": _LABEL_KEYS + _PROBABILITY_KEYS,
    "binary:logitraw": _LABEL_KEYS,
    "binary:hinge": _LABEL_KEYS,
    "multi:softmax": _LABEL_KEYS,
    "multi:softprob": _LABEL_KEYS + _PROBABILITY_KEYS,
}


class AcceptError(ValueError):
    """Nobody writes this content type here."""


@lru_cache(256)
def accepted(accept: str | None, default: str = CSV, supported: Sequence[str] = SUPPORTED) -> str:
    """The content type to answer with; AcceptError for one that is not among ``supported``."""
    for wish in (accept or "*/*").lower().split(","):
        name = wish.partition(";")[0].strip()
        if name in supported:
            return name
        if name in ("", "*/*"):
            return default
        if name == "text/*" and CSV in supported:
            return CSV
        if name == "application/*" and JSON in supported:
            return JSON
    raise AcceptError(
        f"Accept type {accept} is not supported. Please use supported accept types: {list(supported)}."
    )


def encode(predictions: "NDArray[np.float32]", content_type: str, *, one_per_line: bool) -> bytes:
    """One number per row, or one list of numbers per row (probabilities of classes)."""
    values: list[Any] = predictions.tolist()
    if content_type == CSV:
        if one_per_line:
            return ("\n".join(map(str, values)) + "\n").encode()
        return ",".join(map(str, values)).encode()
    return _encode_objects([{"score": value} for value in values], content_type)


def encode_selected(
    predictions: "NDArray[np.float32]", keys: Sequence[str], objective: str, classes: int, content_type: str
) -> bytes:
    """The members named by ``keys`` for every row. ValueError for an objective that has none."""
    possible = _SELECTABLE.get(objective)
    if possible is None:
        raise ValueError(f"Objective `{objective}` unsupported for selectable inference predictions.")
    rows = [{key: _selected(key, row, objective, classes, possible) for key in keys} for row in predictions]
    if content_type != CSV:
        return _encode_objects(rows, content_type)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([list(row.values()) for row in rows])
    return table.getvalue().encode()


def _encode_objects(rows: list[dict[str, Any]], content_type: str) -> bytes:
    if content_type == JSON_LINES:
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    return orjson.dumps({"predictions": rows})


def _selected(key: str, row: Any, objective: str, classes: int, possible: Sequence[str]) -> Any:
    """One member of one row; NaN where the objective has no such thing, as AWS's container answers."""
    if key not in possible:
        return float("nan")
    several = objective == "multi:softprob"
    score = float(np.max(row)) if several else float(row)
    if key == "labels":
        return list(range(classes)) if objective.startswith("multi:") else [0, 1]
    if key == "predicted_label":
        if several:
            return int(np.argmax(row))
        limit = {"binary:logistic": 0.5, "binary:logitraw": 0.0}.get(objective)
        return score if limit is None else int(score > limit)
    if key in ("probabilities", "raw_scores"):
        return row.tolist() if several else [1.0 - score, score]
    return score
