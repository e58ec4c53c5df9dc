"""The Random Cut Forest algorithm's training: a random sample, divided among the trees.

Place in the flow: ``worker.job_runner`` calls ``train``. A labelled test channel is scored as SageMaker documents it: scores
beyond three standard deviations from the mean are called anomalies.
"""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.linear_metrics import f_score
from stagedoor.worker.algorithms.model_arrays import save_arrays
from stagedoor.worker.algorithms.random_cut_trees import RandomCutForest, grow
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 0
_DEVIATIONS = 3.0


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "random_cut_forest")
        data = run.train_data()
        test = run.data("test")
        if test is not None:
            _check(test, data)
        began = time.monotonic()
        random = np.random.default_rng(_SEED)
        forest = grow(_samples(run, data, random), random)
        run.log.throughput(len(data), time.monotonic() - began)
        run.log.progress(1, 1)
        run.check_stop()
        if test is not None:
            _report(run, forest, test)
        save_arrays(job.model_dir, forest.arrays())


def _check(test: DataSet, data: DataSet) -> None:
    if test.columns != data.columns:
        raise ClientError(
            f"The test channel has {test.columns} features, the train channel has {data.columns}"
        )
    if not np.isin(test.labels, (0, 1)).all():
        raise ClientError("Labels of the test channel must be 0 (normal) or 1 (anomaly)")


def _samples(run: TrainingRun, data: DataSet, random: np.random.Generator) -> "list[NDArray[np.float32]]":
    """For each tree its part of a random sample; of few data, each tree gets a sample of its own from all of them."""
    trees, size = run.values.integer("num_trees"), run.values.integer("num_samples_per_tree")
    if trees * size <= len(data):
        order = random.permutation(len(data))[: trees * size]
        return [data.dense(order[first : first + size]) for first in range(0, trees * size, size)]
    if len(data) < size:
        run.log.say(f"num_samples_per_tree is {size}; each tree gets all {len(data)} records", "WARNING")
    size = min(size, len(data))
    return [data.dense(random.permutation(len(data))[:size]) for _ in range(trees)]


def _report(run: TrainingRun, forest: RandomCutForest, test: DataSet) -> None:
    scores = np.concatenate([forest.scores(test.dense(rows)) for rows in test.chunks()])
    said = scores > scores.mean() + _DEVIATIONS * scores.std()
    truth = test.labels > 0
    hits = float((said & truth).sum())
    precision = hits / float(said.sum()) if said.any() else 0.0
    recall = hits / float(truth.sum()) if truth.any() else 0.0
    found: dict[str, Any] = {}
    wanted = run.values.words("eval_metrics")
    if run.values.tuned_metric() in ("precision", "recall", "f1"):
        wanted = [*wanted, "precision_recall_fscore"]
    if "accuracy" in wanted or run.values.tuned_metric() == "accuracy":
        found["accuracy"] = float((said == truth).mean())
    if "precision_recall_fscore" in wanted:
        score = float(f_score(np.array(precision), np.array(recall), 1.0))
        found |= {"precision": precision, "recall": recall, "f1": score}
    for name, value in found.items():
        run.log.say(f"#test_score (algo-1) : ('{name}', {value!r})")
        run.log.score("test", name, value)
