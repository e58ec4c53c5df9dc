"""Every objective and metric of the XGBoost algorithm: trained, logged as the library computes them, answered as it predicts."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from worker.algorithm_jobs import AlgorithmJob, ask, csv

from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.algorithms.xgboost_metrics import METRICS
from stagedoor.worker.model import Result

BINARY = "binary"
COUNTS = "counts"
CLASSES = "classes"
POSITIVE = "positive"
GROUPED = "grouped"
OF_ANY = {"rmse", "mae", "mse", "r2"}
OF_BINARY = OF_ANY | {"logloss", "error", "error@0.3", "auc", "aucpr", "accuracy", "balanced_accuracy", "f1", "f1_binary",
                      "f1_macro", "precision", "precision_macro", "precision_micro", "recall", "recall_macro",
                      "recall_micro", "map", "ndcg"}  # fmt: skip
CASES: list[tuple[str, str, set[str]]] = [
    ("binary:logistic", BINARY, OF_BINARY),
    ("binary:logitraw", BINARY, {"auc", "aucpr", "rmse"}),
    ("binary:hinge", BINARY, {"error", "accuracy", "f1_binary"}),
    ("reg:logistic", BINARY, {"rmse", "logloss"}),
    ("reg:squarederror", POSITIVE, OF_ANY | {"mape", "rmsle", "mphe"}),
    ("reg:linear", POSITIVE, {"rmse"}),
    ("reg:squaredlogerror", POSITIVE, {"rmsle"}),
    ("reg:pseudohubererror", POSITIVE, {"mphe", "mae"}),
    ("reg:absoluteerror", POSITIVE, {"mae", "mape"}),
    ("reg:gamma", POSITIVE, {"gamma-nloglik", "gamma-deviance"}),
    ("reg:tweedie", COUNTS, {"tweedie-nloglik@1.5", "rmse"}),
    ("count:poisson", COUNTS, {"poisson-nloglik", "rmse"}),
    ("survival:cox", POSITIVE, {"cox-nloglik"}),
    ("survival:aft", POSITIVE, {"aft-nloglik", "interval-regression-accuracy"}),
    (
        "multi:softprob",
        CLASSES,
        {"mlogloss", "merror", "auc", "accuracy", "f1_macro", "precision_micro", "recall_macro"},
    ),
    ("multi:softmax", CLASSES, {"merror", "mlogloss", "accuracy"}),
    ("rank:pairwise", GROUPED, {"ndcg", "map", "ndcg@3", "map@2-", "auc"}),
    ("rank:ndcg", GROUPED, {"ndcg", "ndcg@5"}),
    ("rank:map", GROUPED, {"map", "map@4"}),
]


def labels_of(kind: str, features: np.ndarray) -> np.ndarray:
    signal = features[:, 0] + 0.5 * features[:, 1]
    match kind:
        case "binary" | "grouped":
            return (signal > np.median(signal)).astype(int)
        case "counts":
            return np.floor(np.maximum(signal + 3, 0))
        case "classes":
            return np.digitize(signal, np.quantile(signal, [0.33, 0.67]))
        case _:
            return np.abs(signal) + 0.5


def libsvm(features: np.ndarray, labels: np.ndarray) -> bytes:
    lines = [
        f"{label} qid:{number // 10} " + " ".join(f"{index}:{value:.9g}" for index, value in enumerate(row))
        for number, (label, row) in enumerate(zip(labels, features, strict=True))
    ]
    return "\n".join(lines).encode() + b"\n"


@pytest.mark.parametrize(("objective", "kind", "metrics"), CASES, ids=[case[0] for case in CASES])
def test_objective(
    objective: str, kind: str, metrics: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    labels = labels_of(kind, features)
    job = AlgorithmJob("xgboost", tmp_path / "ml")
    grouped = kind == GROUPED
    data = libsvm(features, labels) if grouped else csv(labels, features)
    for name in ("train", "validation"):
        job.channel(name, "text/libsvm" if grouped else "text/csv", data)
    options: dict[str, Any] = {"num_class": 3} if kind == CLASSES else {}
    job.train(num_round=3, objective=objective, eval_metric=",".join(sorted(metrics)), eta=0.5, **options)
    printed = capsys.readouterr().out
    for metric in metrics:
        values = re.findall(rf"#011validation-{re.escape(metric)}:(\S+?)(?=#011|\n)", printed)
        assert len(values) == 3, metric
        assert np.isfinite([float(value) for value in values]).all(), metric

    # The same as the library by itself, given the same data.
    matrix = xgboost.DMatrix(features, label=labels)
    if grouped:
        matrix.set_info(qid=np.arange(200) // 10)
    if objective == "survival:aft":
        matrix.set_info(label_lower_bound=labels, label_upper_bound=labels)
    parameters = {"objective": objective.replace("reg:linear", "reg:squarederror"), "eta": 0.5, **options}
    if objective != "reg:absoluteerror":
        parameters["base_score"] = 0.5
    direct = xgboost.train(parameters, matrix, 3).predict(xgboost.DMatrix(features))
    found = ask(job.load(), csv(features), accept="application/json")
    assert isinstance(found, Result)
    scores = [one["score"] for one in json.loads(found.body)["predictions"]]
    np.testing.assert_allclose(scores, direct, rtol=1e-3, atol=1e-4)


def test_every_objective_and_metric_has_a_case() -> None:
    objectives = specification("xgboost").hyperparameters.hyperparameters["objective"].choices
    assert {case[0] for case in CASES} == set(objectives)
    tried = {metric.partition("@")[0] for case in CASES for metric in case[2]}
    assert tried == set(METRICS.names)
