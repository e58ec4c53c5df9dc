"""What is served: two boosters, and the requests to them. Drawn with fixed seeds, the same in every run.

review   a row of 5,000 word counts as text/csv, 10 KB, for 200 trees: what the function of the main job sends
row      a small JSON row of 13 features, for 100 trees
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import xgboost

REQUESTS = 300
COLUMNS, TREES = 5_000, 200
FEATURES, SMALL_TREES = 13, 100


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request: its bodies, and what the booster itself says to each."""

    name: str
    title: str
    content_type: str
    model: Path
    bodies: Sequence[bytes]
    wanted: Sequence[float]


def make(folder: Path, *names: str) -> dict[str, Work]:
    """Write the boosters of these works (all, when none is named) into ``folder``; each is trained once a run."""
    makers = {"review": _review, "row": _row}
    return {name: makers[name](folder) for name in names or makers}


def _train(features: "np.ndarray", labels: "np.ndarray", trees: int) -> xgboost.Booster:
    # A fifth of the columns for each tree, as the main job has it, and few bins: training is not what is measured here.
    parameters = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.2, "seed": 1, "nthread": 1}
    quick = {"colsample_bytree": 0.2, "max_bin": 16}
    return xgboost.train(parameters | quick, xgboost.DMatrix(features, labels), trees)


@functools.cache
def _review_booster() -> xgboost.Booster:
    random = np.random.default_rng(7)
    counts = random.poisson(0.02, (2_000, COLUMNS)).astype(np.float32)
    weights = random.normal(0, 1, COLUMNS) * (random.random(COLUMNS) < 0.1)
    return _train(counts, (counts @ weights + random.normal(0, 1, 2_000) > 0).astype(np.float32), TREES)


@functools.cache
def _row_booster() -> xgboost.Booster:
    random = np.random.default_rng(13)
    values = random.normal(0, 1, (2_000, FEATURES)).astype(np.float32)
    return _train(values, (values[:, :4].sum(axis=1) > 0).astype(np.float32), SMALL_TREES)


def _review(folder: Path) -> Work:
    booster, path = _review_booster(), folder / "review-model.ubj"
    booster.save_model(path)
    rows = np.random.default_rng(11).poisson(0.02, (REQUESTS, COLUMNS))
    bodies = [",".join(map(str, row)).encode() for row in rows.tolist()]
    wanted = booster.inplace_predict(rows.astype(np.float32)).tolist()
    return Work("review", "a review: 5,000 counts, text/csv, 10 KB", "text/csv", path, bodies, wanted)


def _row(folder: Path) -> Work:
    booster, path = _row_booster(), folder / "row-model.ubj"
    booster.save_model(path)
    rows = np.random.default_rng(17).normal(0, 1, (REQUESTS, FEATURES)).round(3)
    bodies = [orjson.dumps({"instances": [{"features": row}]}) for row in rows.tolist()]
    wanted = booster.inplace_predict(rows.astype(np.float32)).tolist()
    return Work("row", "a small JSON row: 13 features", "application/json", path, bodies, wanted)
