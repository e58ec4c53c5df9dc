"""The XGBoost algorithm's training: from staged channels and hyperparameters to a model file.

Place in the flow: ``worker.job_runner`` calls ``train`` in the job's process; ``model/xgboost-model`` is what comes out. What
is printed is the job's log, in the format of SageMaker's container: the metrics of each round are found in it again.
"""

import math
import re
from collections.abc import Callable, Mapping
from time import gmtime, strftime
from typing import Any, Final

import xgboost
from xgboost.callback import EarlyStopping, TrainingCallback
from xgboost.core import XGBoostError

from stagedoor.worker.algorithms import xgboost_checkpoints
from stagedoor.worker.algorithms.examples import Examples, read_examples
from stagedoor.worker.algorithms.failures import AlgorithmError, ClientError
from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.algorithms.training_run import explained_failures, job_channels
from stagedoor.worker.algorithms.xgboost_cluster import Cluster, joined
from stagedoor.worker.algorithms.xgboost_matrix import training_matrices
from stagedoor.worker.algorithms.xgboost_metrics import METRICS, own_metrics
from stagedoor.worker.algorithms.xgboost_parameters import XgboostParameters, read_parameters
from stagedoor.worker.job import Job, JobFailed

MODEL_NAME = "xgboost-model"

# Parts of the library's texts that speak of the user's data or hyperparameters; the rest are our own failures.
_WHERE: Final = re.compile(r"^\[[\d:]+\] \S+:\d+: (?:Check failed: [^:]*: )?")
"""The time, the place in XGBoost's source and the condition, with which its messages begin."""
_USER_MISTAKES = (
    "label must be",
    "base_score must be",
    "should be greater equal to",
    "Target is multiclass but average='binary'",
    "feature_names mismatch",
    "Input data contains `inf`",
    "Invalid Parameter format",
    "only contains pos or neg samples",
    "constraint",
    "Expecting",
)


def train(job: Job) -> None:
    """The job's entry. JobFailed (its text begins with ``ClientError:``) when the user can put the failure right."""
    with explained_failures():
        _train(job)


def _train(job: Job) -> None:
    parameters = read_parameters(job.config("hyperparameters") or {}, job.threads)
    with joined(job) as cluster:
        if cluster is None:
            _say("No data on this host: it takes no part in the training.", "WARNING")
            return
        _train_together(job, parameters, cluster)


def _train_together(job: Job, parameters: XgboostParameters, cluster: Cluster) -> None:
    channels = job_channels(job, specification("xgboost"))
    _say("Determined 0 GPU(s) available on the instance.")
    for note in parameters.notes:
        _say(note, "WARNING")
    weights, threads = parameters.weight_column, job.threads
    train_rows = read_examples(channels["train"], weight_column=weights, threads=threads)
    validation_rows = None
    if "validation" in channels:
        validation_rows = read_examples(channels["validation"], weight_column=weights, threads=threads)
    _check_labels(train_rows + (validation_rows or []), parameters)
    if cluster.is_distributed:
        _say(f"Distributed node training with {len(cluster.names)} hosts: {list(cluster.names)}")
    else:
        _say("Single node training.")
    try:
        booster = _learn(train_rows, validation_rows, parameters, job, cluster)
    except (XGBoostError, ValueError) as error:
        raise _failure(error) from error
    if cluster.any(job.is_stopping()) and not parameters.save_on_termination:
        raise JobFailed("The training job was stopped before its last round.")
    if not cluster.is_first:
        return
    # Through the buffer, since a file name without an ending makes the library warn that it guesses the format.
    (job.model_dir / MODEL_NAME).write_bytes(booster.save_raw("ubj"))


def _learn(
    train_rows: list[Examples],
    validation_rows: list[Examples] | None,
    parameters: XgboostParameters,
    job: Job,
    cluster: Cluster,
) -> xgboost.Booster:
    first, second = training_matrices(train_rows, validation_rows, parameters)
    train_rows.clear()  # the matrices hold the data now
    _say(f"Train matrix has {first.num_row()} rows and {first.num_col()} columns")
    watched = [(first, "train")]
    if second is not None:
        _say(f"Validation matrix has {second.num_row()} rows")
        watched.append((second, "validation"))
    before, done = _checkpoint(job)
    callbacks: list[TrainingCallback] = [_RoundsInLog(done), _EndWhenStopped(job.is_stopping, cluster)]
    checkpoints = xgboost_checkpoints.folder(job)
    if checkpoints is not None and cluster.is_first:
        callbacks.append(xgboost_checkpoints.KeepCheckpoints(checkpoints, done, parameters.rounds))
    if parameters.early_stopping_rounds is not None and second is not None:
        callbacks.append(_early_stopping(parameters, parameters.early_stopping_rounds))
    elif parameters.early_stopping_rounds is not None:
        _say("Hyperparameter early_stopping_rounds has no effect without a validation channel.", "WARNING")
    return xgboost.train(
        parameters.booster,
        first,
        num_boost_round=max(0, parameters.rounds - done),
        evals=watched,
        custom_metric=own_metrics(parameters.own_metrics),
        xgb_model=before,
        callbacks=callbacks,
        verbose_eval=False,
    )


def _checkpoint(job: Job) -> tuple[xgboost.Booster | None, int]:
    """The model to go on from and how many rounds it has had."""
    place = xgboost_checkpoints.folder(job)
    found = xgboost_checkpoints.latest(place) if place is not None else None
    if found is None:
        return None, 0
    _say(f"Checkpoint loaded: training goes on after {found[1]} rounds.")
    return found


def _early_stopping(parameters: XgboostParameters, rounds: int) -> EarlyStopping:
    metric = parameters.early_stopping_metric
    return EarlyStopping(
        rounds=rounds,
        data_name="validation",
        metric_name=metric,
        maximize=METRICS.rises(metric) if metric is not None else None,
        save_best=parameters.booster["booster"] != "gblinear",
    )


class _RoundsInLog(TrainingCallback):
    """One line a round, ``[0]#011train-logloss:0.65000#011validation-logloss:0.66000``.

    ``#011`` is a tab as SageMaker's logs show it, and what the regular expressions of its metrics look for. ``done`` rounds
    were trained before.
    """

    def __init__(self, done: int) -> None:
        super().__init__()
        self._done = done

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        shown = [
            f"#011{channel}-{metric}:{_rounded(values[-1])}"
            for channel, metrics in evals_log.items()
            for metric, values in metrics.items()
        ]
        print(f"[{self._done + epoch}]{''.join(shown)}", flush=True)
        return False


def _rounded(value: float | tuple[float, float]) -> str:
    number = value[0] if isinstance(value, tuple) else value
    return "nan" if math.isnan(number) else f"{number:.5f}"


class _EndWhenStopped(TrainingCallback):
    """After SIGTERM (StopTrainingJob), training ends with the round that runs, on all hosts with the same one."""

    def __init__(self, is_stopping: Callable[[], bool], cluster: Cluster) -> None:
        super().__init__()
        self._is_stopping = is_stopping
        self._cluster = cluster

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        return self._cluster.any(self._is_stopping())


def _check_labels(pieces: list[Examples], parameters: XgboostParameters) -> None:
    objective = parameters.objective
    for piece in pieces:
        labels = piece.labels
        if objective in ("binary:logistic", "binary:logitraw", "reg:logistic"):
            if labels.min() < 0 or labels.max() > 1:
                raise ClientError("label must be in [0,1] for logistic regression")
        elif objective == "binary:hinge" and not ((labels == 0) | (labels == 1)).all():
            raise ClientError("label must be 0 or 1 for hinge loss")
        elif objective.startswith("multi:"):
            classes = parameters.booster["num_class"]
            if labels.min() < 0 or labels.max() >= classes or (labels != labels.astype(int)).any():
                raise ClientError(
                    f"SoftmaxMultiClassObj: label must be in [0, num_class), num_class={classes}, "
                    f"but found {labels.min():g} to {labels.max():g} in label."
                )


def _failure(error: Exception) -> Exception:
    text = _WHERE.sub("", str(error).split("\nStack trace", 1)[0].strip())
    if any(part in text for part in _USER_MISTAKES):
        return ClientError(text)
    return AlgorithmError(f"XGB train call failed with exception:\n{text}")


def _say(text: str, level: str = "INFO") -> None:
    print(f"[{strftime('%Y-%m-%d:%H:%M:%S', gmtime())}:{level}] {text}", flush=True)
