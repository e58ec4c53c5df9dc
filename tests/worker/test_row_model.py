"""Requests that were waiting together: evaluated at once, answered as each would be alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from worker.algorithm_jobs import AlgorithmJob, csv
from worker.records import dense_records

from stagedoor.worker.algorithms.row_model import RowAnswers, RowModel
from stagedoor.worker.model import Fault, Request, Result

COLUMNS = 3


class Sums:
    """A ``RowPredictor`` that tells how many rows it was asked about."""

    features = COLUMNS
    takes_sparse = False

    def __init__(self, *, asks_together: bool = True) -> None:
        self.asks_together = asks_together
        self.asked: list[int] = []

    def answer(self, rows: Any) -> RowAnswers:
        self.asked.append(len(rows))
        return RowAnswers({"score": rows.sum(axis=1)}, {"largest": rows.max(axis=1)})


def request(body: str, content_type: str = "text/csv", **meta: Any) -> Request:
    return Request({"content_type": content_type, **meta}, body.encode())


WAITING = [
    request("1,2,3", accept="application/json"),
    request("4,5,6\n7,8,9", accept="application/jsonlines;verbose=true", custom_attributes="trace"),
    request("1,2"),
    request("1,nan,3"),
    request("1,2,3", accept="image/png"),
    request("1,2,3", "image/png"),
    request('{"instances": [{"features": [1, 1, 1]}]}', "application/json"),
    request("0.5,0,0", accept="text/csv"),
]


def alone(model: RowModel, requests: Sequence[Request]) -> list[Result | Fault]:
    return [model.predict([one])[0] for one in requests]


@pytest.mark.parametrize("asks_together", [True, False])
def test_each_request_gets_what_it_gets_alone(asks_together: bool) -> None:
    predictor = Sums(asks_together=asks_together)
    model = RowModel("linear_learner", predictor)
    found = model.predict(WAITING)
    assert predictor.asked == ([5] if asks_together else [1, 2, 1, 1])
    assert found == alone(model, WAITING)
    assert [each.status for each in found if isinstance(each, Fault)] == [400, 400, 406, 415]
    first, second = found[:2]
    assert isinstance(first, Result) and isinstance(second, Result)
    assert first.body == b'{"predictions":[{"score":6.0}]}'
    assert second.body == b'{"score":15.0,"largest":6.0}\n{"score":24.0,"largest":9.0}\n'
    assert second.custom_attributes == "trace"


def test_sparse_and_very_many_rows_are_asked_about_one_request_at_a_time() -> None:
    predictor = Sums()
    model = RowModel("linear_learner", predictor)
    sparse = request(
        '{"instances": [{"data": {"features": {"keys": [1], "shape": [3], "values": [2]}}}]}',
        "application/json",
    )
    for requests in ([WAITING[0], sparse], [request("1,2,3\n" * 200_000), request("4,5,6\n" * 200_000)]):
        predictor.asked.clear()
        assert model.predict(requests) == alone(model, requests)
        assert len(predictor.asked) == 4


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("linear_learner", {"predictor_type": "binary_classifier", "epochs": 1, "num_models": 1}),
        ("kmeans", {"k": 4, "feature_dim": COLUMNS}),
        ("pca", {"num_components": 2, "feature_dim": COLUMNS, "mini_batch_size": 50}),
        ("random_cut_forest", {"feature_dim": COLUMNS, "num_trees": 50}),
        (
            "factorization_machines",
            {"feature_dim": COLUMNS, "num_factors": 2, "predictor_type": "regressor", "epochs": 1},
        ),
        ("knn", {"k": 3, "sample_size": 200, "feature_dim": COLUMNS, "predictor_type": "regressor"}),
    ],
)
def test_a_row_has_one_answer_whoever_waits_beside_it(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    rows = np.random.default_rng(5).normal(size=(200, COLUMNS)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.float32)
    job = AlgorithmJob(name, tmp_path / "ml")
    if name == "factorization_machines":
        job.channel("train", "application/x-recordio-protobuf", dense_records(rows, labels))
    elif name in ("linear_learner", "knn"):
        job.channel("train", "text/csv", csv(labels, rows))
    else:
        job.channel("train", "text/csv;label_size=0", csv(rows))
    job.train(**settings)
    model = job.load()
    requests = [
        request(
            orjson.dumps({"instances": [{"features": row.tolist()}]}).decode(),
            "application/json",
            accept="application/jsonlines",
        )
        for row in rows[:40]
    ]
    for together, single in zip(model.predict(requests), alone(model, requests), strict=True):
        assert isinstance(together, Result) and isinstance(single, Result)
        seen, expected = orjson.loads(together.body), orjson.loads(single.body)
        assert seen.keys() == expected.keys()
        for member, value in expected.items():
            assert seen[member] == pytest.approx(value, rel=1e-6, abs=1e-6), member
