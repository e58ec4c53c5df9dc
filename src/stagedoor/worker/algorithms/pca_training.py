"""The PCA algorithm's training: one pass over mini-batches, then the components of what was summed up.

Place in the flow: ``worker.job_runner`` calls ``train``. ``regular`` sums up the covariance matrix; ``randomized`` sums up
random mixtures of the rows, a matrix of ``num_components + extra_components`` rows instead of ``feature_dim``. Both are as
SageMaker documents them. Components are stored with the largest last, as SageMaker's models have them.
"""

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.model_arrays import save_arrays, save_estimator
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 0


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "pca")
        components = run.values.integer("num_components")
        if components > run.values.integer("feature_dim"):
            raise ClientError(
                f"num_components is {components}, and must not be greater than feature_dim, "
                f"{run.values.integer('feature_dim')}"
            )
        data = run.train_data()
        test = run.data("test")
        began = time.monotonic()
        mean = _mean(data) if run.values.flag("subtract_mean") else np.zeros(data.columns)
        if run.values.text("algorithm_mode") == "regular":
            vectors, values, total = _regular(run, data, mean)
        else:
            vectors, values, total = _randomized(run, data, mean)
        run.log.throughput(len(data), time.monotonic() - began)
        run.log.progress(1, 1)
        estimator = _estimator(vectors[:, :components], values[:components], mean, len(data), total)
        run.log.say(f"Share of the variance: {float(estimator.explained_variance_ratio_.sum()):.6f}")
        if test is not None:
            run.log.say(
                f"Mean squared reconstruction error of the test channel: {_error(test, estimator):.6g}"
            )
        save_arrays(
            job.model_dir,
            {
                "mean": mean[None, :].astype(np.float32),
                "s": values[:components][::-1].astype(np.float32),
                "v": vectors[:, :components][:, ::-1].astype(np.float32),
            },
        )
        save_estimator(job.model_dir, estimator)


def _mean(data: DataSet) -> "NDArray[np.float64]":
    total = np.zeros(data.columns)
    for rows in data.chunks():
        total += np.asarray(data.features[rows].sum(axis=0, dtype=np.float64)).ravel()
    return total / len(data)


def _regular(
    run: TrainingRun, data: DataSet, mean: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64], float]":
    """Directions (columns) and singular values, largest first, and the sum of all squared singular values."""
    scatter = np.zeros((data.columns, data.columns))
    for rows in data.batches(run.values.integer("mini_batch_size")):
        run.check_stop()
        part = data.features[rows]
        if data.is_sparse:
            scatter += (part.T @ part).toarray()
        else:
            part = part.astype(np.float64) - mean
            scatter += part.T @ part
    if data.is_sparse:  # centred afterwards: centred rows would not be sparse
        scatter -= len(data) * np.outer(mean, mean)
    squared, vectors = np.linalg.eigh(scatter)
    squared = np.maximum(squared[::-1], 0.0)
    return vectors[:, ::-1], np.sqrt(squared), float(squared.sum())


def _randomized(
    run: TrainingRun, data: DataSet, mean: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64], float]":
    """The same from a sketch. Singular values are measured in a second pass: the sketch's own are too large."""
    components = run.values.integer("num_components")
    extra = run.values.integer("extra_components")
    lines = components + (max(10, components) if extra == -1 else extra)
    random = np.random.default_rng(_SEED)
    sketch = np.zeros((lines, data.columns))
    ones = np.zeros(lines)
    total = 0.0
    for rows in data.batches(run.values.integer("mini_batch_size")):
        run.check_stop()
        part = data.features[rows]
        signs = random.choice(np.array([-1.0, 1.0]), size=(lines, len(rows)))
        sketch += np.asarray(part.T @ signs.T).T
        ones += signs.sum(axis=1)
        squares = part.multiply(part) if data.is_sparse else part.astype(np.float64) ** 2
        total += float(squares.sum())
    total -= len(data) * float(mean @ mean)
    sketch -= np.outer(ones, mean)
    _, _, rows_of_v = np.linalg.svd(sketch, full_matrices=False)
    vectors = rows_of_v[:components].T
    squared = np.zeros(components)
    for rows in data.batches(run.values.integer("mini_batch_size")):
        squared += ((np.asarray(data.features[rows] @ vectors) - mean @ vectors) ** 2).sum(axis=0)
    order = np.argsort(-squared)
    return vectors[:, order], np.sqrt(squared[order]), total


def _estimator(
    vectors: "NDArray[np.float64]",
    values: "NDArray[np.float64]",
    mean: "NDArray[np.float64]",
    rows: int,
    total: float,
) -> Any:
    """A ``sklearn.decomposition.PCA`` as if it had been fitted itself (largest component first)."""
    estimator = PCA(n_components=vectors.shape[1])
    degrees = max(rows - 1, 1)
    fitted: dict[str, Any] = {
        "mean_": mean,
        "components_": np.ascontiguousarray(vectors.T),
        "singular_values_": values,
        "explained_variance_": values**2 / degrees,
        "explained_variance_ratio_": values**2 / total if total > 0 else np.zeros_like(values),
        "noise_variance_": 0.0,
        "n_components_": vectors.shape[1],
        "n_features_in_": len(mean),
        "n_samples_": rows,
    }
    for name, value in fitted.items():
        setattr(estimator, name, value)
    return estimator


def _error(data: DataSet, estimator: Any) -> float:
    total = 0.0
    for rows in data.chunks():
        part = data.dense(rows).astype(np.float64)
        total += float(((part - estimator.inverse_transform(estimator.transform(part))) ** 2).sum())
    return total / len(data)
