"""The K-Means algorithm's training: many centres over mini-batches, then Lloyd's method among the centres.

Place in the flow: ``worker.job_runner`` calls ``train``. The three steps are those SageMaker documents: choose
``k * extra_center_factor`` centres, move them with each mini-batch, reduce them to ``k``. scikit-learn chooses centres
(k-means++) and runs Lloyd's method, each centre weighing what it stands for.
"""

import importlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Values
from stagedoor.worker.algorithms.model_arrays import save_arrays, save_estimator
from stagedoor.worker.algorithms.nearest_centers import nearest_centers
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

# scikit-learn's types are incomplete.
_cluster: Any = importlib.import_module("sklearn.cluster")
_SEED = 0
_EXTRA_CENTERS = 10  # what auto means for extra_center_factor
_TRIALS = 10  # what auto means for local_lloyd_num_trials, as logs of SageMaker's container show


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "kmeans")
        data = run.train_data()
        test = run.data("test")
        k = run.values.integer("k")
        if len(data) < k:
            raise ClientError(f"k is {k}, and the train channel has only {len(data)} records")
        random = np.random.default_rng(_SEED)
        centers = _first_centers(data, run.values, random)
        weights = np.zeros(len(centers))
        for epoch in range(run.values.integer("epochs")):
            began = time.monotonic()
            for rows in data.batches(run.values.integer("mini_batch_size"), random):
                run.check_stop()
                _move(centers, weights, data.dense(rows), run.values.integer("half_life_time_size"))
            run.log.throughput(len(data), time.monotonic() - began)
            run.log.progress(epoch + 1, run.values.integer("epochs"))
        estimator = _reduced(centers, weights, k, run.values)
        _report(run, "train", data, estimator.cluster_centers_, ["msd"])
        if test is not None:
            asked = (*run.values.words("eval_metrics"), run.values.tuned_metric())
            wanted = [metric for metric in ("msd", "ssd") if metric in asked]
            _report(run, "test", test, estimator.cluster_centers_, wanted)
        save_arrays(job.model_dir, {"centers": estimator.cluster_centers_.astype(np.float32)})
        save_estimator(job.model_dir, estimator)


def _first_centers(data: DataSet, values: Values, random: np.random.Generator) -> "NDArray[np.float64]":
    k = values.integer("k")
    wanted = min(len(data), k * (values.integer_or_none("extra_center_factor") or _EXTRA_CENTERS))
    seen = random.permutation(len(data))[: max(wanted, values.integer("mini_batch_size"))]
    if values.text("init_method") == "random":
        return data.dense(seen[:wanted]).astype(np.float64)
    centers, _ = _cluster.kmeans_plusplus(data.dense(seen).astype(np.float64), wanted, random_state=_SEED)
    return centers


def _move(
    centers: "NDArray[np.float64]",
    weights: "NDArray[np.float64]",
    batch: "NDArray[np.float32]",
    half_life: int,
) -> None:
    """Every centre goes towards the mean of its new points, by their share among all it has seen."""
    nearest, _ = nearest_centers(batch, centers)
    counts = np.bincount(nearest, minlength=len(centers))
    found = np.flatnonzero(counts)
    sums = np.zeros_like(centers)
    np.add.at(sums, nearest, batch)
    if half_life:
        weights *= 0.5 ** (len(batch) / half_life)
    weights += counts
    share = (counts[found] / weights[found])[:, None]
    centers[found] += share * (sums[found] / counts[found, None] - centers[found])


def _reduced(centers: "NDArray[np.float64]", weights: "NDArray[np.float64]", k: int, values: Values) -> Any:
    """A fitted ``sklearn.cluster.KMeans`` with ``k`` centres."""
    used = weights > 0
    if int(used.sum()) >= k:
        centers, weights = centers[used], weights[used]
    else:
        weights = np.maximum(weights, 1e-9)
    estimator = _cluster.KMeans(
        n_clusters=k,
        init="k-means++" if values.text("local_lloyd_init_method") == "kmeans++" else "random",
        n_init=values.integer_or_none("local_lloyd_num_trials") or _TRIALS,
        max_iter=values.integer("local_lloyd_max_iter"),
        tol=values.number("local_lloyd_tol"),
        random_state=_SEED,
    )
    return estimator.fit(centers, sample_weight=weights)


def _report(
    run: TrainingRun, channel: str, data: DataSet, centers: "NDArray[np.float64]", metrics: list[str]
) -> None:
    total = 0.0
    for rows in data.chunks():
        _, squared = nearest_centers(data.dense(rows), centers)
        total += float(squared.sum())
    for metric in metrics:
        value = total if metric == "ssd" else total / len(data)
        if channel == "test":
            run.log.say(f"#test_score (algo-1) : ('{metric}', {value!r})")
        run.log.loss(channel, metric, value)
