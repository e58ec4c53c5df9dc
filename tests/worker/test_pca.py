"""PCA: components and projections against scikit-learn, in both modes."""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.decomposition import PCA
from worker.algorithm_jobs import AlgorithmJob, answered, ask, csv
from worker.records import dense_records, sparse_records

from stagedoor.worker.job import JobFailed
from stagedoor.worker.model import Result


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("pca", tmp_path / "ml")


def stretched(rows: int = 500) -> np.ndarray:
    """Each direction has another extent; not centred."""
    random = np.random.default_rng(2)
    turned, _ = np.linalg.qr(random.normal(size=(6, 6)))
    return (random.normal(size=(rows, 6)) * [9, 5, 3, 1, 0.5, 0.1] @ turned + 4).astype(np.float32)


def projections(job: AlgorithmJob, rows: np.ndarray) -> np.ndarray:
    return np.array([one["projection"] for one in answered(job.load(), rows)])


@pytest.mark.parametrize("records", [dense_records, sparse_records])
def test_projections_are_those_of_scikit_learn_in_reverse_order(job: AlgorithmJob, records: Any) -> None:
    rows = stretched()
    job.channel("train", None, records(rows))
    job.train(num_components=3, feature_dim=6, mini_batch_size=64)
    direct = PCA(3).fit(rows.astype(np.float64))
    found = projections(job, rows[:20])[:, ::-1]
    expected = direct.transform(rows[:20].astype(np.float64))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-2)
    opened = joblib.load(job.model_dir / "model.joblib")
    np.testing.assert_allclose(found, opened.transform(rows[:20].astype(np.float64)), atol=1e-3)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_"):
        np.testing.assert_allclose(getattr(opened, name), getattr(direct, name), rtol=1e-3)
    arrays = job.arrays()
    assert arrays["v"].shape == (6, 3)
    assert (np.diff(arrays["s"]) > 0).all(), "the largest comes last"


def test_the_random_mode_finds_the_same_directions(job: AlgorithmJob) -> None:
    rows = stretched()
    job.channel("train", "text/csv;label_size=0", csv(rows))
    job.train(
        num_components=2, feature_dim=6, mini_batch_size=50, algorithm_mode="randomized", extra_components=40
    )
    direct = PCA(2).fit(rows)
    found = joblib.load(job.model_dir / "model.joblib").components_
    overlap = np.linalg.svd(found @ direct.components_.T)[1]
    assert overlap.min() > 0.97
    found_ratio = joblib.load(job.model_dir / "model.joblib").explained_variance_ratio_.sum()
    assert found_ratio == pytest.approx(direct.explained_variance_ratio_.sum(), rel=0.03)


def test_without_the_mean_rows_are_taken_as_they_are(job: AlgorithmJob) -> None:
    rows = stretched()
    job.channel("train", "text/csv;label_size=0", csv(rows))
    job.train(num_components=6, feature_dim=6, mini_batch_size=50, subtract_mean="False")
    np.testing.assert_allclose(projections(job, np.zeros((1, 6))), 0, atol=1e-6)
    lengths = np.linalg.norm(projections(job, rows[:9]), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(rows[:9], axis=1), rtol=1e-4)


def test_answers_have_their_own_envelope(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv;label_size=0", csv(stretched()))
    job.channel("test", "text/csv;label_size=0", csv(stretched()))
    job.train(num_components=1, feature_dim=6, mini_batch_size=50)
    found = ask(job.load(), csv(stretched()[:2]))
    assert isinstance(found, Result)
    [first, second] = json.loads(found.body)["projections"]
    assert len(first["projection"]) == len(second["projection"]) == 1


def test_more_components_than_features_are_refused(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv;label_size=0", csv(stretched()))
    with pytest.raises(JobFailed, match="num_components is 7, and must not be greater than feature_dim, 6"):
        job.train(num_components=7, feature_dim=6, mini_batch_size=50)
