"""Random cut forests: scores against their definition, anomalies found, what is read and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from worker.algorithm_jobs import AlgorithmJob, answered, ask, csv, logged
from worker.records import dense_records

from stagedoor.worker.algorithms.random_cut_trees import RandomCutForest, grow
from stagedoor.worker.job import JobFailed
from stagedoor.worker.model import Result


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("random_cut_forest", tmp_path / "ml")


def scattered(rows: int = 600, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)


def inserted(forest: RandomCutForest, row: np.ndarray, random: np.random.Generator) -> float:
    """The score of one insertion into the first tree, with cuts drawn as the paper has it."""
    node, depth = 0, 0
    scale = np.log2(1 + forest.mass[0, 0])
    while True:
        low = np.minimum(forest.low[0, node], row).astype(float)
        high = np.maximum(forest.high[0, node], row).astype(float)
        extents = high - low
        if extents.sum() == 0:
            return scale / (depth + np.log2(1 + forest.mass[0, node]))
        place = random.random() * extents.sum()
        feature = int(np.searchsorted(np.cumsum(extents), place))
        cut = low[feature] + place - np.cumsum(extents)[feature] + extents[feature]
        beside = cut < forest.low[0, node, feature] or cut >= forest.high[0, node, feature]
        if beside and low[feature] <= cut < high[feature]:
            return scale / (depth + 1)
        if forest.feature[0, node] < 0:
            return scale / (depth + 1) if extents.sum() else scale
        left = row[forest.feature[0, node]] <= forest.cut[0, node]
        node = int(forest.left[0, node] if left else forest.right[0, node])
        depth += 1


def test_scores_are_the_mean_over_all_random_insertions() -> None:
    random = np.random.default_rng(2)
    forest = grow([scattered(40, 2)], random)
    for row in ([0.1, -0.2], [2.5, 0.0], [6.0, 6.0], scattered(40, 2)[3]):
        point = np.array(row, dtype=np.float32)
        drawn = [inserted(forest, point, random) for _ in range(1500)]
        expected, error = np.mean(drawn), np.std(drawn) / 1500**0.5
        assert forest.scores(point[None, :])[0] == pytest.approx(expected, abs=5 * error + 1e-6)


def test_trees_divide_their_sample_until_rows_are_alone() -> None:
    rows = np.vstack([scattered(50), scattered(50)[:5]])  # five rows occur twice
    forest = grow([rows], np.random.default_rng(3))
    leaves = (forest.feature[0] < 0) & (forest.mass[0] > 0)
    assert forest.mass[0][leaves].sum() == 55
    assert sorted(forest.mass[0][leaves])[-5:] == [2] * 5
    for node in np.flatnonzero(~leaves & (forest.mass[0] > 0)):
        left, right = forest.left[0, node], forest.right[0, node]
        assert forest.mass[0, left] + forest.mass[0, right] == forest.mass[0, node]
        feature, cut = forest.feature[0, node], forest.cut[0, node]
        assert forest.high[0, left, feature] <= cut < forest.low[0, right, feature]


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2), min_size=1, max_size=12),
    st.integers(0, 99),
)
def test_any_rows_grow_trees_and_get_finite_scores(rows: list[list[float]], seed: int) -> None:
    sample = np.array(rows, dtype=np.float32)
    forest = grow([sample, sample[:1]], np.random.default_rng(seed))
    scores = forest.scores(np.vstack([sample, [[0, 0], [3e8, -3e8]]]).astype(np.float32))
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    leaves = (forest.feature[0] < 0) & (forest.mass[0] > 0)
    assert forest.mass[0][leaves].sum() == len(rows)


def test_anomalies_are_ranked_as_well_as_by_an_isolation_forest(
    job: AlgorithmJob, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(5)
    usual, odd = scattered(3000), random.normal(size=(20, 3)) * 4 + 3
    rows = np.vstack([usual, odd]).astype(np.float32)
    truth = np.r_[np.zeros(3000), np.ones(20)]
    job.channel("train", "text/csv;label_size=0", csv(rows))
    job.channel("test", "text/csv;label_size=1", csv(truth, rows))
    with pytest.raises(JobFailed, match=r"Hyperparameter num_trees: 20 is not in \[50, 1000\]"):
        job.train(feature_dim=3, num_trees=20)
    job.train(feature_dim=3, eval_metrics='["accuracy", "precision_recall_fscore"]')
    scores = np.array([one["score"] for one in answered(job.load(), rows)])
    isolation = -IsolationForest(random_state=0).fit(rows).score_samples(rows)
    assert roc_auc_score(truth, scores) > roc_auc_score(truth, isolation) - 0.02
    assert np.median(scores) < 1
    printed = capsys.readouterr().out
    said = scores > scores.mean() + 3 * scores.std()
    assert logged(printed, "accuracy", "test") == [pytest.approx((said == truth).mean(), abs=1e-6)]
    assert logged(printed, "f1", "test")[0] > 0.5
    assert {"precision", "recall"} <= {
        name for name in ("precision", "recall") if logged(printed, name, "test")
    }


def test_the_same_row_always_gets_the_same_score(job: AlgorithmJob) -> None:
    job.channel("train", None, dense_records(scattered()))
    job.train(num_trees=50, num_samples_per_tree=100)
    model = job.load()
    body = csv(scattered()[:3])
    one, other = ask(model, body), ask(job.load(), body)
    assert isinstance(one, Result)
    assert one == other
    assert len(json.loads(one.body)["scores"]) == 3


def test_few_records_are_enough(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv;label_size=0", csv(scattered(10)))
    job.train(num_trees=50, feature_dim=3)
    far, near = answered(job.load(), np.array([[50.0, 50, 50], [0, 0, 0]]))
    assert far["score"] > 2 * near["score"]


def test_a_labelled_test_channel_is_needed(job: AlgorithmJob) -> None:
    job.channel("train", "text/csv;label_size=0", csv(scattered()))
    job.channel("test", "text/csv;label_size=0", csv(scattered()))
    with pytest.raises(
        JobFailed, match="The 'test' channel needs labels, and its ContentType says label_size=0"
    ):
        job.train(feature_dim=3)
    job.channel("test", "text/csv;label_size=1", csv(np.full(600, 2), scattered()))
    with pytest.raises(JobFailed, match="must be 0 \\(normal\\) or 1"):
        job.train(feature_dim=3)
