"""The Linear Learner: what it learns against scikit-learn, what each hyperparameter does, what it refuses."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn import datasets, linear_model, metrics
from worker.algorithm_jobs import AlgorithmJob, answered, csv, logged
from worker.records import dense_records, sparse_records

from stagedoor.worker.algorithms.hyperparameters import Values
from stagedoor.worker.algorithms.linear_losses import Loss
from stagedoor.worker.algorithms.linear_metrics import (
    best_threshold,
    binary_metrics,
    multiclass_metrics,
    roc_auc,
)
from stagedoor.worker.job import JobFailed

EXACT: dict[str, Any] = {
    "epochs": 300,
    "early_stopping_patience": 300,
    "num_models": 1,
    "mini_batch_size": 100,
}


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("linear_learner", tmp_path / "ml")


def cancer() -> tuple[np.ndarray, np.ndarray]:
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return features[order], labels[order]


def scores(job: AlgorithmJob, rows: np.ndarray) -> np.ndarray:
    return np.array([one["score"] for one in answered(job.load(), rows)])


def test_a_classifier_comes_close_to_the_best_there_is(
    job: AlgorithmJob, capsys: pytest.CaptureFixture[str]
) -> None:
    features, labels = cancer()
    job.channel("train", "text/csv", csv(labels[:400], features[:400]))
    job.channel("validation", "text/csv", csv(labels[400:], features[400:]))
    job.train(predictor_type="binary_classifier")
    mean, spread = features[:400].mean(axis=0), features[:400].std(axis=0)
    direct = linear_model.LogisticRegression().fit((features[:400] - mean) / spread, labels[:400])
    best = metrics.accuracy_score(labels[400:], direct.predict((features[400:] - mean) / spread))
    printed = capsys.readouterr().out
    assert logged(printed, "binary_classification_accuracy", "validation")[-1] >= best - 0.01
    found = logged(printed, "roc_auc_score", "validation")[-1]
    assert found == pytest.approx(metrics.roc_auc_score(labels[400:], scores(job, features[400:])))


def test_answers_equal_those_of_the_estimator_that_scikit_learn_opens(job: AlgorithmJob) -> None:
    features, labels = cancer()
    job.channel("train", "text/csv", csv(labels, features))
    job.train(predictor_type="binary_classifier", epochs=3)
    opened = joblib.load(job.model_dir / "model.joblib")
    np.testing.assert_allclose(
        scores(job, features[:50]), opened.predict_proba(features[:50])[:, 1], atol=1e-4
    )


def test_long_enough_training_reaches_the_optimum_of_ridge_regression(job: AlgorithmJob) -> None:
    random = np.random.default_rng(1)
    features = random.normal(3, 2, (400, 5))
    labels = features @ [1.0, -2.0, 0.5, 0, 3] + 7 + random.normal(0, 0.5, 400)
    job.channel("train", "text/csv", csv(labels, features))
    job.train(predictor_type="regressor", wd=0, l1=0, learning_rate=0.05, lr_scheduler_factor=0.5, **EXACT)
    direct = linear_model.LinearRegression().fit(features, labels)
    opened = joblib.load(job.model_dir / "model.joblib")
    np.testing.assert_allclose(opened.coef_, direct.coef_, atol=0.02)
    np.testing.assert_allclose(scores(job, features[:9]), direct.predict(features[:9]), atol=0.1)
    np.testing.assert_allclose(scores(job, features[:9]), opened.predict(features[:9]), rtol=1e-4)


def test_classes_are_told_apart(job: AlgorithmJob, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = datasets.load_iris(return_X_y=True)
    job.channel("train", None, dense_records(features, labels))
    job.channel("test", None, dense_records(features, labels))
    job.train(predictor_type="multiclass_classifier", num_classes=3, accuracy_top_k=2)
    answers = answered(job.load(), features)
    said = np.array([one["predicted_label"] for one in answers])
    probabilities = np.array([one["score"] for one in answers])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    opened = joblib.load(job.model_dir / "model.joblib")
    np.testing.assert_allclose(probabilities, opened.predict_proba(features), atol=1e-4)
    printed = capsys.readouterr().out
    assert logged(printed, "multiclass_accuracy", "test") == [pytest.approx((said == labels).mean())]
    assert logged(printed, "multiclass_accuracy", "test")[0] > 0.93
    assert logged(printed, "macro_f_1.000", "test")[0] == pytest.approx(
        metrics.f1_score(labels, said, average="macro")
    )
    assert logged(printed, "multiclass_top_k_accuracy_2", "test")[0] == pytest.approx(
        metrics.top_k_accuracy_score(labels, probabilities, k=2)
    )


def test_sparse_and_dense_records_learn_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    features = ((random.random((300, 6)) < 0.3) * random.integers(1, 4, (300, 6))).astype(np.float32)
    labels = (features[:, 0] > features[:, 1]).astype(int)
    found = []
    for records in (dense_records, sparse_records):
        job = AlgorithmJob("linear_learner", tmp_path / records.__name__)
        job.channel("train", "application/x-recordio-protobuf", records(features, labels))
        job.train(
            predictor_type="binary_classifier",
            unbias_data="false",
            num_models=1,
            epochs=40,
            learning_rate=0.1,
        )
        found.append(scores(job, features[:40]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("absolute_loss", "median"),
        ("quantile_loss", "quantile"),
        ("huber_loss", None),
        ("eps_insensitive_squared_loss", None),
        ("eps_insensitive_absolute_loss", None),
        ("squared_loss", "mean"),
    ],
)
def test_every_loss_of_a_regression(job: AlgorithmJob, loss: str, expected: str | None) -> None:
    labels = np.random.default_rng(3).exponential(1.0, 400)
    job.channel("train", "text/csv", csv(labels, np.zeros(400)))  # only the bias can learn something
    job.train(predictor_type="regressor", loss=loss, quantile=0.9, learning_rate=0.02, **EXACT)
    [found] = scores(job, np.zeros((1, 1)))
    wanted = {"median": np.median(labels), "quantile": np.quantile(labels, 0.9), "mean": labels.mean()}
    if expected is None:
        assert np.median(labels) - 0.1 < found < labels.mean() + 0.1
    else:
        assert found == pytest.approx(wanted[expected], abs=0.1)


def test_hinge_loss_gives_margins_that_a_linear_svc_says_too(job: AlgorithmJob) -> None:
    features, labels = cancer()
    job.channel("train", "text/csv", csv(labels, features))
    job.train(predictor_type="binary_classifier", loss="hinge_loss")
    opened = joblib.load(job.model_dir / "model.joblib")
    np.testing.assert_allclose(
        scores(job, features[:20]), opened.decision_function(features[:20]), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.8, "use_lr_scheduler": "false"}, {"init_method": "normal"}]
)
def test_every_optimizer_learns(job: AlgorithmJob, optimizer: str, options: dict[str, Any]) -> None:
    features, labels = cancer()
    job.channel("train", "text/csv", csv(labels, features))
    job.train(predictor_type="binary_classifier", optimizer=optimizer, mini_batch_size=50, **options)
    said = np.array([one["predicted_label"] for one in answered(job.load(), features)])
    assert (said == labels).mean() > 0.95


def test_l1_leaves_out_what_says_nothing(job: AlgorithmJob) -> None:
    random = np.random.default_rng(4)
    features = random.normal(size=(500, 8))
    labels = (features[:, 0] > 0).astype(int)
    job.channel("train", "text/csv", csv(labels, features))
    job.train(predictor_type="binary_classifier", l1=0.1, wd=0, learning_rate=0.05, **EXACT)
    weights = job.arrays()["weights"][:, 0]
    assert weights[0] != 0
    assert np.count_nonzero(weights[1:]) == 0


def test_without_a_bias_zero_stays_zero(job: AlgorithmJob) -> None:
    random = np.random.default_rng(5)
    features = random.normal(2, 1, (200, 2))
    job.channel("train", "text/csv", csv(features[:, 0] * 3 + 10, features))
    job.train(predictor_type="regressor", use_bias="false", normalize_label="false")
    assert scores(job, np.zeros((1, 2))) == [0]


def test_weights_of_positive_examples_raise_recall(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    features = random.normal(size=(1000, 2))
    labels = (features[:, 0] + random.normal(0, 1.5, 1000) > 1.8).astype(int)
    recalls = []
    for weight in ("0.2", "balanced"):
        job = AlgorithmJob("linear_learner", tmp_path / weight)
        job.channel("train", "text/csv", csv(labels, features))
        job.train(
            predictor_type="binary_classifier",
            positive_example_weight_mult=weight,
            binary_classifier_model_selection_criteria="loss_function",
            num_models=1,
            learning_rate=0.1,
            mini_batch_size=100,
        )
        said = np.array([one["predicted_label"] for one in answered(job.load(), features)])
        recalls.append(metrics.recall_score(labels, said))
    assert recalls[1] > recalls[0] + 0.3


@pytest.mark.parametrize(
    ("criterion", "options", "metric", "least"),
    [
        ("precision_at_target_recall", {"target_recall": "0.9"}, metrics.recall_score, 0.9),
        ("recall_at_target_precision", {"target_precision": "0.9"}, metrics.precision_score, 0.9),
    ],
)
def test_thresholds_hold_their_target(
    job: AlgorithmJob, criterion: str, options: dict[str, str], metric: Any, least: float
) -> None:
    random = np.random.default_rng(7)
    features = random.normal(size=(800, 2))
    labels = (features[:, 0] + random.normal(0, 1, 800) > 0.5).astype(int)
    job.channel("train", "text/csv", csv(labels, features))
    job.train(
        predictor_type="binary_classifier", binary_classifier_model_selection_criteria=criterion, **options
    )
    said = np.array([one["predicted_label"] for one in answered(job.load(), features)])
    assert metric(labels, said) >= least - 1e-9


def test_epochs_end_early_and_are_logged_as_on_aws(
    job: AlgorithmJob, capsys: pytest.CaptureFixture[str]
) -> None:
    features, labels = cancer()
    job.channel("train", "text/csv", csv(labels, features))
    job.channel("validation", "text/csv", csv(labels, features))
    job.train(
        predictor_type="binary_classifier",
        epochs=100,
        early_stopping_tolerance=0.2,
        early_stopping_patience=2,
    )
    printed = capsys.readouterr().out
    epochs = [line for line in printed.splitlines() if "#progress_metric: host=algo-1, completed" in line]
    assert 2 < len(epochs) < 50
    lines = [
        line for line in printed.splitlines() if ", epoch=0, validation binary_classification_cross" in line
    ]
    assert len(lines) == 1
    assert "_objective <loss>=" in lines[0]


@pytest.mark.parametrize(
    ("hyperparameters", "text"),
    [
        ({}, "Missing required hyperparameter: predictor_type"),
        ({"predictor_type": "multiclass_classifier"}, "Missing required hyperparameter: num_classes"),
        (
            {"predictor_type": "multiclass_classifier", "num_classes": 2},
            "num_classes: 2 is not in [3, 1000000]",
        ),
        (
            {"predictor_type": "regressor", "loss": "logistic"},
            "loss: logistic cannot be used with predictor_type",
        ),
        (
            {"predictor_type": "regressor", "epochs": "many"},
            "Hyperparameter epochs: could not parse value 'many'",
        ),
        ({"predictor_type": "regressor", "l1": "-1"}, "Hyperparameter l1: -1.0 is not in [0, +inf)"),
        ({"predictor_type": "regressor", "colour": "red"}, "Extraneous hyperparameter found: colour"),
        (
            {"predictor_type": "regressor", "use_bias": "maybe"},
            "Hyperparameter use_bias: could not parse value",
        ),
        (
            {"predictor_type": "binary_classifier"},
            "Labels of a binary classifier must be 0 or 1; the train channel has 2",
        ),
        (
            {"predictor_type": "multiclass_classifier", "num_classes": 3},
            "Labels must be whole numbers from 0 to num_classes - 1, 2; the train channel has 3",
        ),
        (
            {"predictor_type": "regressor", "feature_dim": 7},
            "The rows of the 'train' channel have 2 features, and feature_dim is 7",
        ),
        (
            {
                "predictor_type": "regressor",
                "optimizer": "sgd",
                "learning_rate": 1e6,
                "num_models": 1,
                "l1": 0,
                "epochs": 60,
                "early_stopping_patience": 99,
            },
            "Training diverged",
        ),
    ],
)
def test_what_is_refused(job: AlgorithmJob, hyperparameters: dict[str, Any], text: str) -> None:
    job.channel("train", "text/csv", b"0,1,2\n2,3,4\n3,1,1\n")
    with pytest.raises(JobFailed) as refusal:
        job.train(**hyperparameters)
    assert str(refusal.value).startswith("ClientError: ")
    assert text in str(refusal.value)
    assert not list(job.model_dir.iterdir())


def test_a_stop_ends_training_without_a_model(job: AlgorithmJob) -> None:
    features, labels = cancer()
    job.channel("train", "text/csv", csv(labels, features))
    with pytest.raises(JobFailed, match="was stopped"):
        job.train(lambda: True, predictor_type="binary_classifier")
    assert not list(job.model_dir.iterdir())


LOSSES = ["logistic", "hinge_loss", "squared_loss", "absolute_loss", "quantile_loss", "huber_loss",
          "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss", "softmax_loss"]  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_the_slopes_of_the_losses(name: str) -> None:
    random = np.random.default_rng(8)
    loss = Loss(name, margin=1.0, insensitivity=0.1, quantile=0.3, delta=0.7)
    shape = (20, 3, 4) if name == "softmax_loss" else (20, 3)
    given = random.normal(0, 1.5, shape)
    labels = random.integers(0, 4 if name == "softmax_loss" else 2, 20).astype(float)
    _, gradient = loss.value_and_gradient(given, labels)
    step = 1e-6
    for index in np.ndindex(shape):
        moved = given.copy()
        moved[index] += step
        moved_back = given.copy()
        moved_back[index] -= step
        slope = (loss.value(moved, labels) - loss.value(moved_back, labels)).sum() / (2 * step)
        assert gradient[index] == pytest.approx(slope, abs=1e-4), index


def test_thresholds_and_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(9)
    given = random.random(300).round(2)
    labels = (given + random.normal(0, 0.3, 300) > 0.5).astype(int)
    assert roc_auc(given, labels > 0) == pytest.approx(metrics.roc_auc_score(labels, given))
    values = Values({"binary_classifier_model_selection_criteria": "f_beta", "f_beta": 2.0}, frozenset())
    threshold = best_threshold(given, labels, values, 0.5)
    candidates = [
        metrics.fbeta_score(labels, given >= cut, beta=2, zero_division=0) for cut in np.unique(given)
    ]
    assert threshold.merit == pytest.approx(max(candidates))
    assert metrics.fbeta_score(labels, given >= threshold.value, beta=2) == pytest.approx(threshold.merit)
    found = binary_metrics(given, labels, 0.5, 2.0)
    assert found["precision"] == pytest.approx(metrics.precision_score(labels, given >= 0.5))
    assert found["binary_f_2.000"] == pytest.approx(metrics.fbeta_score(labels, given >= 0.5, beta=2))
    probabilities = random.dirichlet(np.ones(4), 200)
    classes = random.integers(0, 4, 200)
    several = multiclass_metrics(probabilities, classes, 2, 1.0)
    said = probabilities.argmax(axis=1)
    assert several["macro_precision"] == pytest.approx(
        metrics.precision_score(classes, said, average="macro")
    )
    assert several["multiclass_log_loss"] == pytest.approx(metrics.log_loss(classes, probabilities))
    assert several["multiclass_balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(classes, said)
    )
