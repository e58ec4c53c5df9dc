"""Rows of a channel as one matrix: what is read, and in how much memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from worker.algorithm_jobs import csv
from worker.records import dense_records, sparse_records

from stagedoor.worker.algorithms.channels import Channel
from stagedoor.worker.algorithms.data_set import read_data_set
from stagedoor.worker.algorithms.failures import ClientError


def channel(
    tmp_path: Path, form: str, *contents: bytes, label_size: int = 1, labelled: bool = True
) -> Channel:
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"part-{number}")
        paths[-1].write_bytes(content)
    return Channel("train", form, tuple(paths), label_size, labelled)  # type: ignore[arg-type]


@pytest.mark.parametrize("whole", [True, False])
def test_never_more_than_twice_the_matrix_is_held(
    tmp_path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    rows = random.integers(0, 99, (3000, 200)) if whole else random.normal(size=(3000, 200))
    source = channel(tmp_path, "csv", csv(rows[:, 0], rows))
    monkeypatch.setattr("stagedoor.worker.algorithms.examples.PIECE_BYTES", 20_000)
    tracemalloc.start()
    found = read_data_set(source, 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.features.dtype == np.float32
    assert peak < (1.4 if whole else 2.2) * found.features.nbytes
    np.testing.assert_allclose(found.features, rows, rtol=1e-6)


def test_records_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).normal(size=(3000, 200)).astype(np.float32)
    source = channel(tmp_path, "recordio-protobuf", dense_records(rows, rows[:, 0]))
    monkeypatch.setattr("stagedoor.worker.algorithms.examples.PIECE_BYTES", 20_000)
    tracemalloc.start()
    found = read_data_set(source, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.2 * found.features.nbytes
    np.testing.assert_array_equal(found.features, rows)
    np.testing.assert_array_equal(found.labels, rows[:, 0])


def test_sparse_records_stay_sparse_and_get_the_width_of_feature_dim(tmp_path: Path) -> None:
    rows = np.array([[0, 2, 0], [1, 0, 0]], dtype=np.float32)
    found = read_data_set(channel(tmp_path, "recordio-protobuf", sparse_records(rows, [1, 0])), 9)
    assert found.is_sparse
    assert found.features.shape == (2, 9)
    np.testing.assert_array_equal(found.dense(slice(0, 2))[:, :3], rows)


def test_sparse_and_dense_files_are_put_together(tmp_path: Path) -> None:
    rows = np.array([[0, 2, 0], [1, 0, 0]], dtype=np.float32)
    source = channel(tmp_path, "recordio-protobuf", sparse_records(rows, [1, 0]), dense_records(rows, [3, 4]))
    found = read_data_set(source, 3)
    np.testing.assert_array_equal(found.features.toarray(), np.vstack([rows, rows]))
    assert found.labels.tolist() == [1, 0, 3, 4]


def test_labels_that_nobody_asked_for_are_left_alone(tmp_path: Path) -> None:
    rows = np.ones((3, 2), dtype=np.float32)
    source = channel(tmp_path, "recordio-protobuf", dense_records(rows, [1, 2, 3]), labelled=False)
    assert len(read_data_set(source, 2)) == 3
    plain = channel(tmp_path, "csv", b"1,2\n3,4\n", label_size=0, labelled=False)
    assert read_data_set(plain, 2).features.tolist() == [[1, 2], [3, 4]]
    assert not len(read_data_set(plain, 2).labels)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"1,2,3\n1,inf,3\n", "NaN or infinity: row 2, feature 1 of the 'train' channel"),
        (b"1,2,3\n1,,3\n", "NaN or infinity: row 2, feature 1"),
        (b"1,2,3,4\n", "have 3 features, and feature_dim is 2"),
        (b",1,2\n", "Label contains NaN"),
        (b"1,2\n", "have 1 features, and feature_dim is 2"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(ClientError) as refusal:
        read_data_set(channel(tmp_path, "csv", content), 2)
    assert text in str(refusal.value)
