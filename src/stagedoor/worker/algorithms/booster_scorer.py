"""One booster's predictions for a matrix, by the fastest way that gives the booster's own answers.

Place in the flow: ``xgboost_serving`` asks for scores of a float32 matrix (NaN: missing). ``Booster.inplace_predict`` costs
some 300 microseconds however few the rows are, so a few rows go through ``tree_ensemble`` where the model allows it and
where both ways gave the same answers. Finding that out takes longer than a first answer may that somebody waits for already, so it is
done right after the model was loaded only if nobody does (``settle``).
"""

import json
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import xgboost

from stagedoor.worker.algorithms.tree_ensemble import TreeEnsemble, UnsupportedTreesError

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_RAW_BYTES_AT_MOST = 64 * 1024 * 1024
_CELLS_OF_FEW_ROWS = 24_000  # rows times trees up to which the arrays are the faster way
_CHECK_ROWS = 24
_TOLERANCE = 1e-6

Transform = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]


_ONE = np.float32(1)
_LARGEST_EXPONENT = np.float32(88.7)  # where the booster stops, too: beyond it e to the x is no float32


def _sigmoid(margins: "NDArray[np.float32]") -> "NDArray[np.float32]":
    return (_ONE / (_ONE + np.exp(np.minimum(-margins, _LARGEST_EXPONENT))))[:, 0]


def _exponential(margins: "NDArray[np.float32]") -> "NDArray[np.float32]":
    return np.exp(margins)[:, 0]


def _identity(margins: "NDArray[np.float32]") -> "NDArray[np.float32]":
    return margins[:, 0] if margins.shape[1] == 1 else margins


def _softmax(margins: "NDArray[np.float32]") -> "NDArray[np.float32]":
    raised = np.exp(margins - margins.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)


def _winner(margins: "NDArray[np.float32]") -> "NDArray[np.float32]":
    return margins.argmax(axis=1).astype(np.float32)


def _sign(margins: "NDArray[np.float32]") -> "NDArray[np.float32]":
    return (margins[:, 0] > 0).astype(np.float32)


def _logit(score: float) -> float:
    return -math.log(1.0 / score - 1.0)


# Objective -> from margins to predictions, and from base_score to the margin every row begins with.
_OBJECTIVES: dict[str, tuple[Transform, Callable[[float], float]]] = {
    "binary:logistic": (_sigmoid, _logit),
    "reg:logistic": (_sigmoid, _logit),
    "binary:logitraw": (_identity, float),
    "binary:hinge": (_sign, float),
    "reg:squarederror": (_identity, float),
    "reg:linear": (_identity, float),
    "reg:squaredlogerror": (_identity, float),
    "reg:pseudohubererror": (_identity, float),
    "reg:absoluteerror": (_identity, float),
    "rank:pairwise": (_identity, float),
    "rank:ndcg": (_identity, float),
    "rank:map": (_identity, float),
    "count:poisson": (_exponential, math.log),
    "reg:gamma": (_exponential, math.log),
    "reg:tweedie": (_exponential, math.log),
    "survival:cox": (_exponential, math.log),
    "multi:softprob": (_softmax, float),
    "multi:softmax": (_winner, float),
}


class BoosterScorer:
    """Scores matrices of ``features`` columns. Not thread-safe, as the booster is not.

    ``settled=False`` leaves all rows to the booster until ``settle``.
    """

    def __init__(self, booster: xgboost.Booster, *, settled: bool = True) -> None:
        self._booster = booster
        self.features = int(booster.num_features())
        self._config = config = _parsed(booster.save_config())["learner"]
        self.objective = str(config["objective"]["name"])
        self.classes = int(config["learner_model_param"].get("num_class", 0))
        best = booster.attr("best_iteration")
        rounds = booster.num_boosted_rounds()
        # As AWS's container: what early stopping found best, where the model remembers it.
        self._rounds = (0, min(int(best) + 1, rounds)) if best is not None else (0, 0)
        self._inplace = self._allows_inplace()
        self._ensemble: TreeEnsemble | None = None
        self._base = np.zeros(1, dtype=np.float32)
        self._transform: Transform = _identity
        self._few_rows = 0
        self.description = f"{self.objective}, {self.features} features, {rounds} rounds"
        if settled:
            self.settle()

    def settle(self) -> None:
        """Find the fastest way to the booster's answers. Once."""
        reason = self._lay_out(self._config)
        way = f"up to {self._few_rows} rows as arrays" if self._ensemble else f"by the booster ({reason})"
        self.description += f", {way}"

    def score(self, matrix: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Predictions: one number per row, or one list per row (classes)."""
        if self._ensemble is not None and len(matrix) <= self._few_rows:
            return self._transform(self._ensemble.margins(matrix, self._base))
        return self._by_booster(matrix)

    def _by_booster(self, matrix: "NDArray[np.float32]") -> "NDArray[np.float32]":
        if self._inplace:
            return self._booster.inplace_predict(
                matrix, iteration_range=self._rounds, validate_features=False
            )
        data = xgboost.DMatrix(matrix, nthread=1)
        return self._booster.predict(data, iteration_range=self._rounds, validate_features=False)

    def _allows_inplace(self) -> bool:
        row = np.zeros((1, self.features), dtype=np.float32)
        try:
            self._booster.inplace_predict(row, iteration_range=self._rounds, validate_features=False)
        except xgboost.core.XGBoostError:
            return False  # gblinear
        return True

    def _lay_out(self, config: dict[str, Any]) -> str:
        """Build the arrays; a reason why the booster must do it where that is not possible."""
        if self.objective not in _OBJECTIVES:
            return f"objective {self.objective}"
        raw = self._booster.save_raw("json")
        if len(raw) > _RAW_BYTES_AT_MOST:
            return f"{len(raw)} bytes of trees"
        gradient_booster = _parsed(raw)["learner"]["gradient_booster"]
        if gradient_booster.get("name") != "gbtree":
            return f"booster {gradient_booster.get('name')}"
        model = gradient_booster["model"]
        trees, groups = model["trees"], model["tree_info"]
        if self._rounds[1]:
            used = _trees_of_rounds(model, self._rounds[1], self.classes)
            trees, groups = trees[:used], groups[:used]
        transform, to_margin = _OBJECTIVES[self.objective]
        try:
            ensemble = TreeEnsemble(trees, groups)
            base = _base_margins(config["learner_model_param"]["base_score"], max(groups) + 1, to_margin)
        except (UnsupportedTreesError, ValueError) as error:
            return str(error)
        rows = self._check_rows(trees)
        expected = self._by_booster(rows)
        margins = ensemble.margins(rows, base)
        singly = np.concatenate([ensemble.margins(row[None, :], base) for row in rows])
        found = transform(margins)
        if (
            not np.array_equal(singly, margins)
            or found.shape != expected.shape
            or not np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE)
        ):
            log.warning("the arrays and the booster disagree; the booster answers alone")
            return "the arrays gave other answers"
        self._ensemble, self._base, self._transform = ensemble, base, transform
        self._few_rows = max(1, _CELLS_OF_FEW_ROWS // len(trees))
        return ""

    def _check_rows(self, trees: list[dict[str, Any]]) -> "NDArray[np.float32]":
        """Rows on, below and beyond the thresholds of the splits, zeros, ones, and some values missing."""
        random = np.random.default_rng(0)
        rows = random.integers(0, 2, (_CHECK_ROWS, self.features), dtype=np.int8).astype(np.float32)
        features: list[int] = []
        thresholds: list[float] = []
        for tree in trees:
            inner = [node for node, left in enumerate(tree["left_children"]) if left != -1]
            chosen = inner[:: max(1, len(inner) // 8)]
            features += [tree["split_indices"][node] for node in chosen]
            thresholds += [tree["split_conditions"][node] for node in chosen]
        values = np.array(thresholds, dtype=np.float32)
        for nudge in np.array([0, -1, 1, 1e-6], dtype=np.float32):
            rows[random.integers(0, _CHECK_ROWS, len(features)), features] = values + nudge
        some = _CHECK_ROWS // 4
        rows[-some:][random.random((some, self.features), dtype=np.float32) < 0.3] = np.nan
        return rows


def _parsed(text: str | bytes | bytearray) -> dict[str, Any]:
    """XGBoost's JSON, which may hold NaN and Infinity."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _trees_of_rounds(model: dict[str, Any], rounds: int, classes: int) -> int:
    starts = model.get("iteration_indptr")
    if starts is not None:
        return int(starts[rounds])
    per_round = max(1, classes) * int(model["gbtree_model_param"].get("num_parallel_tree", 1))
    return rounds * per_round


def _base_margins(base_score: str, groups: int, to_margin: Callable[[float], float]) -> "NDArray[np.float32]":
    scores = [float(text) for text in base_score.strip("[]").split(",")]
    try:
        margins = [to_margin(score) for score in scores]
    except (ValueError, ZeroDivisionError) as error:  # all labels were alike: the margin is infinite
        raise ValueError(f"base_score {base_score}") from error
    if len(margins) == 1:
        margins *= groups
    if len(margins) != groups:
        raise ValueError(f"{len(margins)} base scores for {groups} outputs")
    return np.array(margins, dtype=np.float32)
