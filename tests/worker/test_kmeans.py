"""K-Means: clusters as good as scikit-learn's, every hyperparameter, every format of answers."""

import io
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from worker.algorithm_jobs import AlgorithmJob, answered, ask, csv, logged
from worker.records import dense_records, sparse_records

from stagedoor.worker.algorithms.failures import ModelFileError
from stagedoor.worker.algorithms.recordio import read_records
from stagedoor.worker.job import JobFailed
from stagedoor.worker.model import Fault, Result


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("kmeans", tmp_path / "ml")


def blobs(rows: int = 900) -> np.ndarray:
    random = np.random.default_rng(1)
    centers = random.normal(0, 10, (5, 3))
    return (centers[random.integers(0, 5, rows)] + random.normal(0, 1, (rows, 3))).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"init_method": "kmeans++"},
        {"mini_batch_size": 100, "epochs": 3},
        {"extra_center_factor": 4, "local_lloyd_init_method": "random", "local_lloyd_num_trials": 20},
        {
            "half_life_time_size": 500,
            "mini_batch_size": 200,
            "local_lloyd_max_iter": 50,
            "local_lloyd_tol": 0.001,
        },
        {"extra_center_factor": 1, "init_method": "kmeans++", "force_dense": "True"},
    ],
    ids=str,
)
def test_clusters_are_as_tight_as_those_of_scikit_learn(
    job: AlgorithmJob, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = blobs()
    job.channel("train", "text/csv;label_size=0", csv(rows))
    job.channel("test", "text/csv;label_size=0", csv(rows))
    job.train(k=5, feature_dim=3, eval_metrics='["msd","ssd"]', **options)
    best = KMeans(5, n_init=10, random_state=0).fit(rows).inertia_ / len(rows)
    printed = capsys.readouterr().out
    [found] = logged(printed, "msd", "test")
    assert found < best * 1.1
    assert logged(printed, "ssd", "test") == [pytest.approx(found * len(rows))]
    assert "#test_score (algo-1) : ('msd', " in printed


def test_the_metric_that_a_tuner_watches_is_logged(
    job: AlgorithmJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job.channel("train", "text/csv;label_size=0", csv(blobs(60)))
    job.channel("test", "text/csv;label_size=0", csv(blobs(60)))
    job.train(k=2, feature_dim=3, _tuning_objective_metric="test:ssd")
    assert logged(capsys.readouterr().out, "ssd", "test")


def test_answers_equal_those_of_the_estimator(job: AlgorithmJob) -> None:
    rows = blobs()
    job.channel("train", None, dense_records(rows))
    job.train(k=5, feature_dim=3)
    opened = joblib.load(job.model_dir / "model.joblib")
    answers = answered(job.load(), rows)
    precise = rows.astype(np.float64)
    assert [one["closest_cluster"] for one in answers] == opened.predict(precise).tolist()
    distances = [one["distance_to_cluster"] for one in answers]
    np.testing.assert_allclose(distances, opened.transform(precise).min(axis=1), rtol=1e-4)
    np.testing.assert_allclose(job.arrays()["centers"], opened.cluster_centers_, rtol=1e-6)


def test_all_formats_say_the_same(job: AlgorithmJob) -> None:
    rows = np.maximum(blobs(), 0)
    job.channel("train", None, sparse_records(rows))
    job.train(k=5, feature_dim=3)
    model = job.load()
    expected = answered(model, rows[:4])
    instances = [{"data": {"features": {"values": row.tolist()}}} for row in rows[:4].astype(float)]
    sparse = [
        {
            "data": {
                "features": {
                    "keys": np.flatnonzero(row).tolist(),
                    "shape": [3],
                    "values": row[row != 0].tolist(),
                }
            }
        }
        for row in rows[:4].astype(float)
    ]
    bodies = [
        (csv(rows[:4]), "text/csv"),
        (csv(rows[:4]), "text/csv; label_size=0; charset=utf-8"),
        (csv(np.zeros(4), rows[:4]), "text/csv;label_size=1"),
        (json.dumps({"instances": instances}), "application/json"),
        (json.dumps({"instances": sparse}), "application/json"),
        (
            json.dumps({"instances": [{"features": row.tolist()} for row in rows[:4].astype(float)]}),
            "application/json",
        ),
        ("\n".join(json.dumps(one) for one in [*instances[:2], *instances[2:]]), "application/jsonlines"),
        (dense_records(rows[:4]), "application/x-recordio-protobuf"),
        (sparse_records(rows[:4]), "application/x-recordio-protobuf"),
    ]
    for body, content_type in bodies:
        found = ask(model, body, content_type)
        assert isinstance(found, Result), found
        assert found.content_type == "application/json"
        assert json.loads(found.body) == {"predictions": expected}, content_type
    table = ask(model, csv(rows[:4]), accept="text/csv")
    assert isinstance(table, Result)
    lines = [[float(cell) for cell in line.split(",")] for line in table.body.decode().splitlines()]
    assert lines == [[one["closest_cluster"], one["distance_to_cluster"]] for one in expected]
    packed = ask(model, csv(rows[:4]), accept="application/x-recordio-protobuf")
    assert isinstance(packed, Result)
    # Answers are records with labels alone; a feature makes each one readable by the training side's reader.
    assert packed.body.count((0xCED7230A).to_bytes(4, "little")) == 4
    for one in expected:
        assert np.float32(one["distance_to_cluster"]).tobytes() in packed.body
    with pytest.raises(ValueError, match="no features"):
        list(read_records(packed.body))


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "text"),
    [
        ("1,2", "text/csv", None, 400, "Feature size of text/csv inference data 2 is not consistent"),
        ("1,2,x", "text/csv", None, 400, "could not convert string to float: 'x'"),
        ("1,,3", "text/csv", None, 400, "missing values"),
        ("", "text/csv", None, 400, "the body is empty"),
        ("1,2,3", "image/png", None, 415, "Content-type image/png not supported. Supported content-type is"),
        ("1,2,3", "text/libsvm", None, 415, "text/libsvm not supported"),
        ("1,2,3", "text/csv", "image/png", 406, "Accept type image/png is not supported"),
        ('{"rows": 1}', "application/json", None, 400, 'must have the one key "instances"'),
        ("{", "application/jsonlines", None, 400, "line 1: "),
        ("", "application/jsonlines", None, 400, "the body is empty"),
        ("abcd", "application/x-recordio-protobuf", None, 400, "cut off"),
        ('{"instances":[{"features":[null,1,2]}]}', "application/json", None, 400, "missing values"),
    ],
)
def test_requests_that_cannot_be_answered(
    job: AlgorithmJob, body: str, content_type: str, accept: str | None, status: int, text: str
) -> None:
    job.channel("train", "text/csv;label_size=0", csv(blobs(60)))
    job.train(k=2, feature_dim=3)
    fault = ask(job.load(), body, content_type, **({} if accept is None else {"accept": accept}))
    assert isinstance(fault, Fault)
    assert fault.status == status
    assert text in fault.reason


@pytest.mark.parametrize(
    ("data", "hyperparameters", "text"),
    [
        (b"1,2\n", {"k": 1}, "Missing required hyperparameter: feature_dim"),
        (b"1,2\n", {"k": 2, "feature_dim": 2}, "k is 2, and the train channel has only 1 records"),
        (b"1,2\n", {"k": 1, "feature_dim": 3}, "have 2 features, and feature_dim is 3"),
        (b"1,nan\n", {"k": 1, "feature_dim": 2}, "NaN or infinity: row 1, feature 2"),
        (b"a,b\n1,2\n", {"k": 1, "feature_dim": 2}, "Non-numeric value found in the header line 'a,b"),
        (b"1,2\n3\n", {"k": 1, "feature_dim": 2}, "line 2 has 1 fields, line 1 has 2"),
        (b"", {"k": 1, "feature_dim": 2}, "No data in training channel path"),
        (b"\n\n", {"k": 1, "feature_dim": 2}, "its files have no rows"),
        (
            b"1,2\n",
            {"k": 1, "feature_dim": 2, "eval_metrics": "beauty"},
            "eval_metrics: value ['beauty'] not in range",
        ),
        (
            b"1,2\n",
            {"k": 1, "feature_dim": 2, "init_method": "best"},
            "init_method: best is not in ['random', 'kmeans++']",
        ),
    ],
)
def test_training_data_and_hyperparameters_that_are_refused(
    job: AlgorithmJob, data: bytes, hyperparameters: dict[str, Any], text: str
) -> None:
    job.channel("train", "text/csv;label_size=0", data)
    with pytest.raises(JobFailed) as refusal:
        job.train(**hyperparameters)
    assert str(refusal.value).startswith("ClientError: ")
    assert text in str(refusal.value)


def test_the_hint_about_the_label_column(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv", b"1,2\n3,4\n")
    with pytest.raises(JobFailed, match="has the ContentType text/csv;label_size=0"):
        job.train(k=1, feature_dim=2)


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("text/libsvm", "text/libsvm is not an accepted ContentType: csv, recordio-protobuf, text/csv"),
        ("text/csv;label_size=2", "label_size must be equal to 1 or 0"),
    ],
)
def test_content_types_that_are_refused(job: AlgorithmJob, content_type: str, text: str) -> None:
    job.channel("train", content_type, b"1,2\n")
    with pytest.raises(JobFailed, match=text):
        job.train(k=1, feature_dim=2)


def test_channels_that_are_refused(job: AlgorithmJob) -> None:
    with pytest.raises(JobFailed, match="Missing required channel: train"):
        job.train(k=1, feature_dim=2)
    job.channel("train", "text/csv;label_size=0", b"1,2\n")
    job.channel("validation", "text/csv", b"1,2\n")
    with pytest.raises(JobFailed, match="Extraneous channel found: validation"):
        job.train(k=1, feature_dim=2)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


@pytest.mark.parametrize("content", [None, b"no archive", b"\x93NUMPY", b"PK\x03\x04 broken", npy()])
def test_files_that_are_no_model(job: AlgorithmJob, content: bytes | None) -> None:
    if content is not None:
        (job.model_dir / "model_algo-1").write_bytes(content)
    with pytest.raises(ModelFileError, match="model_algo-1"):
        job.load()


def test_a_pickle_in_the_model_is_not_opened(job: AlgorithmJob, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    with (job.model_dir / "model_algo-1").open("wb") as file:
        np.savez(file, centers=np.array([Trap()], dtype=object))
    joblib.dump(Trap(), job.model_dir / "model.joblib")
    with pytest.raises(ModelFileError):
        job.load()
    assert not (tmp_path / "sprung").exists()
