"""The k-NN algorithm's training: sample rows, reduce their dimension if wanted, put them into an index of faiss.

Place in the flow: ``worker.job_runner`` calls ``train``; ``knn_index`` writes the model.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.dimension_reduction import Reduction
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Values
from stagedoor.worker.algorithms.knn_index import Metadata, NeighbourIndex, faiss
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 0
_QUANTIZER_BITS = 8
_QUANTIZERS = frozenset({1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96})


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "knn")
        _check(run.values)
        data = run.train_data()
        test = run.data("test")
        if test is not None and test.columns != data.columns:
            raise ClientError(
                f"The test channel has {test.columns} features, the train channel has {data.columns}"
            )
        index = _index(run, data)
        run.log.progress(1, 1)
        if test is not None:
            _report(run, index, test)
        index.save(job.model_dir)


def _check(values: Values) -> None:
    kind, target = values.text_or_none("dimension_reduction_type"), "dimension_reduction_target"
    if kind is not None and target not in values.given:
        raise ClientError(f"Missing required hyperparameter: {target} (dimension_reduction_type is {kind})")
    if kind is None and target in values.given:
        raise ClientError(f"Hyperparameter {target} needs dimension_reduction_type")
    quantizers = values.integer_or_none("faiss_index_pq_m")
    if quantizers is not None and quantizers not in _QUANTIZERS:
        raise ClientError(f"Hyperparameter faiss_index_pq_m: {quantizers} is not in {sorted(_QUANTIZERS)}")
    if values.text("index_type") == "faiss.IVFPQ":
        if quantizers is None:
            raise ClientError("Missing required hyperparameter: faiss_index_pq_m (index_type is faiss.IVFPQ)")
        if values.text("index_metric") != "L2":
            raise ClientError(
                f"Hyperparameter index_metric: {values.text('index_metric')} is not supported with faiss.IVFPQ; use L2"
            )


def _index(run: TrainingRun, data: DataSet) -> NeighbourIndex:
    values = run.values
    size = min(values.integer("sample_size"), len(data))
    if size < values.integer("k"):
        raise ClientError(f"k is {values.integer('k')}, and there are only {size} sampled records")
    sample = np.sort(np.random.default_rng(_SEED).permutation(len(data))[:size])
    metadata = _metadata(values, data.columns)
    index = NeighbourIndex(
        _empty_index(values, metadata["width"], size), np.empty(0, dtype=np.float32), metadata
    )
    batch = values.integer("mini_batch_size")
    if not index.index.is_trained:
        rows: NDArray[np.float32] = np.concatenate(
            [index.prepared(data.dense(sample[first : first + batch])) for first in range(0, size, batch)]
        )
        try:
            index.index.train(rows)
        except RuntimeError as error:
            raise ClientError(
                f"The index {values.text('index_type')} cannot be trained on {size} records: {_reason(error)}"
            ) from error
    for first in range(0, size, batch):
        run.check_stop()
        part = sample[first : first + batch]
        index.add(index.prepared(data.dense(part)), data.labels[part])
    return index


def _reason(error: RuntimeError) -> str:
    return str(error).rpartition("failed: ")[2].strip()


def _metadata(values: Values, columns: int) -> Metadata:
    reduction: Reduction | None = None
    width = columns
    kind = values.text_or_none("dimension_reduction_type")
    if kind is not None:
        width = values.integer("dimension_reduction_target")
        if width >= columns:
            raise ClientError(
                f"Hyperparameter dimension_reduction_target: {width} must be less than feature_dim, {columns}"
            )
    quantizers = values.integer_or_none("faiss_index_pq_m")
    if quantizers is not None and values.text("index_type") == "faiss.IVFPQ":
        # As AWS documents it: the next width that the quantizers divide, by zeros or by a larger target.
        width += -width % quantizers
    if kind is not None:
        reduction = {"type": kind, "seed": _SEED, "target_dim": width, "input_dim": columns}
    return {
        "k": values.integer("k"),
        "predictor_type": values.text("predictor_type"),
        "index_metric": values.text("index_metric"),
        "feature_dim": columns,
        "width": width,
        "normalize": values.text("index_metric") == "COSINE",
        "dimension_reduction": reduction,
        "version": "1.0",
    }


def _empty_index(values: Values, width: int, size: int) -> Any:
    flat = faiss.IndexFlatL2(width) if values.text("index_metric") == "L2" else faiss.IndexFlatIP(width)
    kind = values.text("index_type")
    if kind == "faiss.Flat":
        return flat
    lists = min(values.integer_or_none("faiss_index_ivf_nlists") or max(1, int(size**0.5)), size)
    if kind == "faiss.IVFFlat":
        index = faiss.IndexIVFFlat(flat, width, lists, flat.metric_type)
    else:
        quantizers = values.integer("faiss_index_pq_m")
        index = faiss.IndexIVFPQ(flat, width, lists, quantizers, _QUANTIZER_BITS)
    index.nprobe = min(values.integer("_faiss_index_nprobe"), lists)
    return index


def _report(run: TrainingRun, index: NeighbourIndex, test: DataSet) -> None:
    predicted: NDArray[np.float32] = np.concatenate(
        [
            index.neighbours(test.dense(rows)).predicted
            for rows in test.batches(run.values.integer("mini_batch_size"))
        ]
    )
    if run.values.text("predictor_type") == "classifier":
        accuracy = float((predicted == test.labels).mean())
        run.log.say(f"#test_score (algo-1) : ('accuracy', {accuracy!r})")
        run.log.score("test", "accuracy", accuracy)
    else:
        error = float(((predicted.astype(np.float64) - test.labels) ** 2).mean())
        run.log.say(f"#test_score (algo-1) : ('mse', {error!r})")
        run.log.loss("test", "mse", error)
