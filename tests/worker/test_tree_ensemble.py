"""Trees as arrays: the booster's margins to the last bit, however many rows, however deep the trees."""

from typing import Any

import numpy as np
import orjson
import pytest
import xgboost

from stagedoor.worker.algorithms.tree_ensemble import TreeEnsemble

FEATURES = 7


def booster(depth: int, objective: dict[str, Any]) -> xgboost.Booster:
    random = np.random.default_rng(depth)
    rows = random.poisson(1.0, (300, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    labels = random.integers(0, objective.get("num_class", 2), 300)
    data = xgboost.DMatrix(rows, labels)
    return xgboost.train({"max_depth": depth, "nthread": 1, "base_score": 0.5, **objective}, data, 9)


@pytest.mark.parametrize(
    "objective", [{"objective": "binary:logistic"}, {"objective": "multi:softprob", "num_class": 3}]
)
@pytest.mark.parametrize("depth", range(1, 8))
def test_margins_are_the_boosters_to_the_last_bit(depth: int, objective: dict[str, Any]) -> None:
    trained = booster(depth, objective)
    model = orjson.loads(trained.save_raw("json"))["learner"]["gradient_booster"]["model"]
    ensemble = TreeEnsemble(model["trees"], model["tree_info"])
    random = np.random.default_rng(99)
    margin = 0.0 if "num_class" not in objective else 0.5
    base = np.full(objective.get("num_class", 1), margin, dtype=np.float32)
    for rows in (1, 2, 3, 16, 17, 40):
        matrix = random.poisson(1.0, (rows, FEATURES)).astype(np.float32)
        for missing in (False, True):
            if missing:
                matrix[random.random(matrix.shape) < 0.3] = np.nan
            expected = trained.predict(xgboost.DMatrix(matrix), output_margin=True).reshape(rows, -1)
            assert np.array_equal(ensemble.margins(matrix, base), expected), (rows, missing)
