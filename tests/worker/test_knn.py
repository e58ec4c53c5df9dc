"""k-NN: neighbours against scikit-learn's exact ones, every index, both reductions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from worker.algorithm_jobs import AlgorithmJob, answered, ask, csv, logged
from worker.records import dense_records

from stagedoor.worker.algorithms.dimension_reduction import Projector
from stagedoor.worker.algorithms.failures import ModelFileError
from stagedoor.worker.job import JobFailed
from stagedoor.worker.model import Result

faiss: Any = pytest.importorskip("faiss")


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("knn", tmp_path / "ml")


def labelled(rows: int = 600, columns: int = 8) -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(3).normal(size=(rows, columns)).astype(np.float32)
    return features, (features[:, 0] > 0).astype(int) + 2 * (features[:, 1] > 0)


def test_a_classifier_says_what_scikit_learn_says(
    job: AlgorithmJob, capsys: pytest.CaptureFixture[str]
) -> None:
    features, labels = labelled()
    job.channel("train", None, dense_records(features, labels))
    job.channel("test", None, dense_records(features[:200], labels[:200]))
    job.train(k=7, sample_size=600, predictor_type="classifier", mini_batch_size=100)
    direct = KNeighborsClassifier(7).fit(features, labels)
    asked = np.random.default_rng(4).normal(size=(100, 8)).astype(np.float32)
    said = [one["predicted_label"] for one in answered(job.load(), asked)]
    # Where two labels are equally frequent, scikit-learn takes the smaller one, this one the nearer one.
    votes = np.sort(direct.predict_proba(asked), axis=1)
    clear = votes[:, -1] > votes[:, -2]
    assert clear.sum() > 80
    assert np.array(said)[clear].tolist() == direct.predict(asked)[clear].tolist()
    assert logged(capsys.readouterr().out, "accuracy", "test")[0] > 0.85


def test_a_regressor_gives_the_mean(job: AlgorithmJob, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = labelled()
    job.channel("train", "text/csv", csv(labels, features))
    job.channel("test", "text/csv", csv(labels[:100], features[:100]))
    job.train(k=5, sample_size=600, predictor_type="regressor")
    direct = KNeighborsRegressor(5).fit(features, labels)
    said = [one["predicted_label"] for one in answered(job.load(), features[:50])]
    np.testing.assert_allclose(said, direct.predict(features[:50]), rtol=1e-6)
    [error] = logged(capsys.readouterr().out, "mse", "test")
    assert error == pytest.approx(((direct.predict(features[:100]) - labels[:100]) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize(("metric", "name"), [("L2", "euclidean"), ("COSINE", "cosine")])
def test_verbose_answers_name_the_neighbours(job: AlgorithmJob, metric: str, name: str) -> None:
    features, labels = labelled()
    job.channel("train", "text/csv", csv(labels, features))
    job.train(k=4, sample_size=600, predictor_type="classifier", index_metric=metric)
    found = ask(job.load(), csv(features[:5] + 0.01), accept="application/json; verbose=true")
    assert isinstance(found, Result)
    answers = json.loads(found.body)["predictions"]
    distances, numbers = (
        NearestNeighbors(n_neighbors=4, metric=name).fit(features).kneighbors(features[:5] + 0.01)
    )
    expected = 1 - distances if metric == "COSINE" else distances
    np.testing.assert_allclose([one["distances"] for one in answers], expected, atol=1e-3)
    assert [one["labels"] for one in answers] == labels[numbers].tolist()


def test_the_inner_product_prefers_long_rows(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv", csv([0, 1], [[1.0, 0.0], [50.0, 10.0]]))
    job.train(k=1, sample_size=2, predictor_type="classifier", index_metric="INNER_PRODUCT")
    assert answered(job.load(), np.array([[1.0, 0.0]])) == [{"predicted_label": 1.0}]


@pytest.mark.parametrize(
    "options",
    [
        {"index_type": "faiss.IVFFlat"},
        {"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": 8, "_faiss_index_nprobe": 8},
        {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4},
        {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 3},
        {"dimension_reduction_type": "sign", "dimension_reduction_target": 7},
        {"dimension_reduction_type": "fjlt", "dimension_reduction_target": 7},
        {
            "dimension_reduction_type": "sign",
            "dimension_reduction_target": 6,
            "index_type": "faiss.IVFPQ",
            "faiss_index_pq_m": 4,
        },
    ],
    ids=str,
)
def test_every_index_and_reduction_is_nearly_right(
    job: AlgorithmJob, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    features, labels = labelled(1000)
    labels = labels > 1
    job.channel("train", "text/csv", csv(labels, features))
    job.channel("test", "text/csv", csv(labels[:300], features[:300]))
    job.train(k=5, sample_size=1000, predictor_type="classifier", feature_dim=8, **options)
    assert logged(capsys.readouterr().out, "accuracy", "test")[0] > 0.8
    metadata = json.loads((job.model_dir / "model_algo-1.json").read_text())
    index = faiss.read_index(str(job.model_dir / "model_algo-1"))
    assert index.ntotal == 1000
    assert index.d == metadata["width"]
    assert len(answered(job.load(), features[:3])) == 3


def test_the_metadata_may_be_edited_as_aws_documents_it(job: AlgorithmJob) -> None:
    features, labels = labelled()
    job.channel("train", "text/csv", csv(labels, features))
    job.train(k=1, sample_size=600, predictor_type="classifier")
    path = job.model_dir / "model_algo-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"k": 9, "predictor_type": "regressor"}))
    direct = KNeighborsRegressor(9).fit(features, labels)
    said = [one["predicted_label"] for one in answered(job.load(), features[:9])]
    np.testing.assert_allclose(said, direct.predict(features[:9]), rtol=1e-5)


def test_a_sample_is_no_larger_than_asked_for(job: AlgorithmJob) -> None:
    features, labels = labelled()
    job.channel("train", "text/csv", csv(labels, features))
    job.train(k=3, sample_size=100, predictor_type="classifier")
    assert faiss.read_index(str(job.model_dir / "model_algo-1")).ntotal == 100


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_reductions_keep_distances_about_as_they_are(kind: str) -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(40, 300)).astype(np.float32)
    project = Projector({"type": kind, "seed": 0, "target_dim": 200, "input_dim": 300})
    ratio = np.linalg.norm(project(rows[:20]) - project(rows[20:]), axis=1) / np.linalg.norm(
        rows[:20] - rows[20:], axis=1
    )
    assert 0.8 < ratio.min() < ratio.max() < 1.2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k": 5, "sample_size": 3}, "k is 5, and there are only 3 sampled records"),
        ({"dimension_reduction_type": "sign"}, "Missing required hyperparameter: dimension_reduction_target"),
        ({"dimension_reduction_target": 2}, "dimension_reduction_target needs dimension_reduction_type"),
        (
            {"dimension_reduction_type": "sign", "dimension_reduction_target": 8},
            "dimension_reduction_target: 8 must be less than feature_dim, 8",
        ),
        ({"index_type": "faiss.IVFPQ"}, "Missing required hyperparameter: faiss_index_pq_m"),
        (
            {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 5},
            "faiss_index_pq_m: 5 is not in [1, 2, 3, 4, 8",
        ),
        (
            {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4, "index_metric": "COSINE"},
            "index_metric: COSINE is not supported with faiss.IVFPQ",
        ),
        (
            {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4, "sample_size": 50},
            "cannot be trained on 50 records",
        ),
    ],
)
def test_what_is_refused(job: AlgorithmJob, options: dict[str, Any], text: str) -> None:
    features, labels = labelled(100)
    job.channel("train", "text/csv", csv(labels, features))
    with pytest.raises(JobFailed) as refusal:
        job.train(**{"k": 3, "sample_size": 100, "predictor_type": "classifier", **options})
    assert text in str(refusal.value)


def test_files_that_are_no_model(job: AlgorithmJob) -> None:
    features, labels = labelled(100)
    job.channel("train", "text/csv", csv(labels, features))
    job.train(k=3, sample_size=100, predictor_type="classifier")
    (job.model_dir / "model_algo-1.labels").write_bytes(b"\x00" * 4)
    with pytest.raises(ModelFileError, match="do not fit together"):
        job.load()
    (job.model_dir / "model_algo-1").write_bytes(b"no index at all")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        job.load()
    (job.model_dir / "model_algo-1").unlink()
    with pytest.raises(ModelFileError, match="holds no file model_algo-1"):
        job.load()
