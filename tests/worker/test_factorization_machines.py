"""Factorization machines: the formula against its definition, the gradients against slopes, interactions learned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from worker.algorithm_jobs import AlgorithmJob, ask, logged
from worker.records import dense_records, sparse_records

from stagedoor.worker.algorithms.factorization_machine import FactorizationMachine
from stagedoor.worker.job import JobFailed
from stagedoor.worker.model import Result


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("factorization_machines", tmp_path / "ml")


def machine(features: int = 7, factors: int = 3) -> FactorizationMachine:
    random = np.random.default_rng(1)
    return FactorizationMachine(
        random.normal(size=1).astype(np.float32),
        random.normal(size=features).astype(np.float32),
        random.normal(size=(features, factors)).astype(np.float32),
    )


def by_definition(model: FactorizationMachine, row: np.ndarray) -> float:
    total = float(model.bias[0]) + float(model.linear @ row)
    for one in range(len(row)):
        for other in range(one + 1, len(row)):
            total += float(model.factors[one] @ model.factors[other]) * row[one] * row[other]
    return total


def test_scores_are_the_sum_over_all_pairs() -> None:
    model = machine()
    rows = np.random.default_rng(2).normal(size=(20, 7)) * (np.random.default_rng(3).random((20, 7)) < 0.6)
    expected = [by_definition(model, row) for row in rows]
    np.testing.assert_allclose(model.scores(rows.astype(np.float32)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        model.scores(scipy.sparse.csr_matrix(rows, dtype=np.float32)), expected, rtol=1e-4, atol=1e-4
    )


def ratings(count: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """One user and one item in each row; each rating is the product of two tastes."""
    random = np.random.default_rng(4)
    users, items = random.integers(0, 12, count), random.integers(0, 9, count)
    tastes, traits = random.normal(size=(12, 2)), random.normal(size=(9, 2))
    rows = np.zeros((count, 21), dtype=np.float32)
    rows[np.arange(count), users] = rows[np.arange(count), 12 + items] = 1
    return rows, (tastes[users] * traits[items]).sum(axis=1)


FAST = {"epochs": 150, "mini_batch_size": 100, "bias_lr": 0.02, "linear_lr": 0.02, "factors_lr": 0.03,
        "factors_init_sigma": 0.2, "factors_wd": 0, "linear_wd": 0}  # fmt: skip


def test_interactions_are_learned(job: AlgorithmJob, capsys: pytest.CaptureFixture[str]) -> None:
    rows, labels = ratings()
    job.channel("train", None, sparse_records(rows, labels))
    job.channel("test", None, sparse_records(rows[:100], labels[:100]))
    job.train(predictor_type="regressor", feature_dim=21, num_factors=4, **FAST)
    printed = capsys.readouterr().out
    assert logged(printed, "rmse", "test")[0] < 0.15 * labels.std()
    epochs = logged(printed, "mse", "train")
    assert len(epochs) == 151, "one for each epoch and one for the finished model"
    assert epochs[-1] < 0.05 * epochs[0]


def test_sparse_and_dense_records_learn_the_same(tmp_path: Path) -> None:
    rows, labels = ratings(300)
    found = []
    for records in (sparse_records, dense_records):
        job = AlgorithmJob("factorization_machines", tmp_path / records.__name__)
        job.channel("train", None, records(rows, labels))
        # One batch has every feature; with smaller ones, sparse steps leave alone what their batch does not have.
        job.train(predictor_type="regressor", feature_dim=21, num_factors=2, epochs=5, mini_batch_size=300)
        found.append(job.arrays())
    for name in ("bias", "linear", "factors"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"bias_init_method": "constant", "bias_init_value": 0.5},
        {"linear_init_method": "uniform", "linear_init_scale": 0.1},
        {"factors_init_method": "uniform", "factors_init_scale": 0.1},
        {"clip_gradient": 0.5, "rescale_grad": 0.5, "eps": 1e-6},
        {"use_bias": "false", "use_linear": "false"},
    ],
    ids=str,
)
def test_a_classifier_with_every_hyperparameter(
    job: AlgorithmJob, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, tastes = ratings()
    labels = (tastes > 0).astype(int)
    job.channel("train", None, sparse_records(rows, labels))
    job.channel("test", None, sparse_records(rows, labels))
    job.train(predictor_type="binary_classifier", feature_dim=21, num_factors=4, **FAST | options)
    printed = capsys.readouterr().out
    [accuracy] = logged(printed, "binary_classification_accuracy", "test")
    assert accuracy > 0.93
    assert logged(printed, "binary_f_1.000", "test")[0] > 0.9
    assert logged(printed, "binary_classification_cross_entropy", "test")[0] < 0.3
    arrays = job.arrays()
    if options.get("use_bias") == "false":
        assert not arrays["bias"].any()
        assert not arrays["linear"].any()
    body = json.dumps({"instances": [{"features": row.tolist()} for row in rows[:50].astype(float)]})
    found = ask(job.load(), body, "application/json")
    assert isinstance(found, Result)
    answers = json.loads(found.body)["predictions"]
    assert all((one["score"] >= 0.5) == (one["predicted_label"] == 1) for one in answers)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"factors_init_method": "uniform"}, "Missing required hyperparameter: factors_init_scale"),
        ({"bias_init_method": "constant"}, "Missing required hyperparameter: bias_init_value"),
        ({"feature_dim": 4}, "have 21 features, and feature_dim is 4"),
        ({"num_factors": 0}, "Hyperparameter num_factors: 0 is not in [1, +inf)"),
        ({"predictor_type": "binary_classifier"}, "Labels of a binary classifier must be 0 or 1"),
        ({"factors_init_sigma": 1e39}, "Training diverged"),
    ],
)
def test_what_is_refused(job: AlgorithmJob, options: dict[str, Any], text: str) -> None:
    rows, labels = ratings()
    job.channel("train", None, sparse_records(rows, labels))
    with pytest.raises(JobFailed) as refusal:
        job.train(**{"predictor_type": "regressor", "feature_dim": 21, "num_factors": 2} | options)
    assert text in str(refusal.value)


def test_csv_is_no_format_of_this_algorithm(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv", b"1,2\n")
    with pytest.raises(JobFailed, match="text/csv is not an accepted ContentType: recordio-protobuf"):
        job.train(predictor_type="regressor", feature_dim=1, num_factors=2)


def test_records_without_labels_are_refused(job: AlgorithmJob) -> None:
    job.channel("train", None, sparse_records(ratings()[0]))
    with pytest.raises(JobFailed, match="Record 1 of file 'part-0' has no label"):
        job.train(predictor_type="regressor", feature_dim=21, num_factors=2)
