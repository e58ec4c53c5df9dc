"""The Factorization Machines algorithm's training: Adam on mini-batches, each part of the model with its own rate and decay.

Place in the flow: ``worker.job_runner`` calls ``train``. Of sparse data, a step touches only the features that its batch has, so
that a wide model costs no more than its rows.
"""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.factorization_machine import FactorizationMachine, squared
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Values
from stagedoor.worker.algorithms.linear_losses import probabilities
from stagedoor.worker.algorithms.linear_metrics import binary_metrics, regression_metrics
from stagedoor.worker.algorithms.linear_optimizer import Optimizer
from stagedoor.worker.algorithms.model_arrays import save_arrays
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 0
_PARTS = ("bias", "linear", "factors")
_INIT_HYPERPARAMETERS = {"uniform": "scale", "normal": "sigma", "constant": "value"}
_REPORTED = ("binary_classification_accuracy", "binary_f_1.000")


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "factorization_machines")
        for part in _PARTS:
            _check_init(run.values, part)
        data = run.train_data()
        test = run.data("test")
        for channel, rows in (("train", data), ("test", test)):
            if rows is not None:
                _check_labels(rows, channel, run.values)
        machine = _learned(run, data)
        for channel, rows in (("train", data), ("test", test)):
            if rows is not None:
                _report(run, channel, rows, machine)
        save_arrays(
            job.model_dir,
            {
                "bias": machine.bias,
                "linear": machine.linear,
                "factors": machine.factors,
                "predictor_type": np.array(run.values.text("predictor_type")),
            },
        )


def _check_init(values: Values, part: str) -> None:
    method = values.text(f"{part}_init_method")
    needed = f"{part}_init_{_INIT_HYPERPARAMETERS[method]}"
    if values.number_or_none(needed) is None:
        raise ClientError(f"Missing required hyperparameter: {needed} ({part}_init_method is {method})")


def _check_labels(rows: DataSet, channel: str, values: Values) -> None:
    if values.text("predictor_type") == "binary_classifier" and not np.isin(rows.labels, (0, 1)).all():
        bad = rows.labels[~np.isin(rows.labels, (0, 1))][0]
        raise ClientError(f"Labels of a binary classifier must be 0 or 1; the {channel} channel has {bad:g}")


def _initial(
    values: Values, part: str, shape: tuple[int, ...], random: np.random.Generator
) -> "NDArray[np.float32]":
    match values.text(f"{part}_init_method"):
        case "uniform":
            scale = values.number(f"{part}_init_scale")
            return random.uniform(-scale, scale, shape).astype(np.float32)
        case "normal":
            with np.errstate(over="ignore"):  # what overflows is found when the loss is
                return random.normal(0, values.number(f"{part}_init_sigma"), shape).astype(np.float32)
        case _:
            return np.full(shape, values.number(f"{part}_init_value"), dtype=np.float32)


def _learned(run: TrainingRun, data: DataSet) -> FactorizationMachine:
    values = run.values
    random = np.random.default_rng(_SEED)
    width, factors = data.columns, values.integer("num_factors")
    machine = FactorizationMachine(
        _initial(values, "bias", (1,), random),
        _initial(values, "linear", (width,), random),
        _initial(values, "factors", (width, factors), random),
    )
    if not values.flag("use_bias"):
        machine.bias[:] = 0
    if not values.flag("use_linear"):
        machine.linear[:] = 0
    learning = _Learning(machine, values, is_sparse=data.is_sparse)
    epochs = values.integer("epochs")
    name = "binary_classification_cross_entropy" if learning.is_classifier else "mse"
    for epoch in range(epochs):
        began, total = time.monotonic(), 0.0
        for rows in data.batches(values.integer("mini_batch_size"), random):
            run.check_stop()
            with np.errstate(over="ignore", invalid="ignore"):
                total += learning.step(data.features[rows], data.labels[rows])
        mean = total / len(data)
        if not np.isfinite(mean):
            raise ClientError(
                "Training diverged: the loss is infinite. Use smaller learning rates or rescale the features."
            )
        run.log.loss("train", name, mean, epoch)
        if not learning.is_classifier:
            run.log.loss("train", "rmse", mean**0.5, epoch)
        run.log.progress(epoch + 1, epochs)
        run.log.throughput(len(data), time.monotonic() - began)
    return machine


class _Learning:
    """The steps of one machine."""

    def __init__(self, machine: FactorizationMachine, values: Values, *, is_sparse: bool) -> None:
        self._machine, self._values, self._is_sparse = machine, values, is_sparse
        self.is_classifier = values.text("predictor_type") == "binary_classifier"
        epsilon = values.number_or_none("eps") or 1e-8
        self._steps = {
            name: Optimizer("adam", getattr(machine, name).shape, epsilon=epsilon) for name in _PARTS
        }

    def step(self, rows: Any, labels: "NDArray[np.float32]") -> float:
        """Learn from one batch; the summed loss before the step."""
        machine, values = self._machine, self._values
        used: Any = slice(None)
        if self._is_sparse:
            used = np.unique(rows.indices)
            rows = rows[:, used]
        linear, factors = machine.linear[used], machine.factors[used]
        part = FactorizationMachine(machine.bias, linear, factors)
        scores = part.scores(rows)
        if self.is_classifier:
            losses = np.logaddexp(0, scores) - labels * scores
            slope = probabilities(scores, "logistic") - labels
        else:
            losses, slope = (scores - labels) ** 2, 2 * (scores - labels)
        slope = (slope / len(labels)).astype(np.float32)
        mixed = np.asarray(rows @ factors)
        by_factors = np.asarray(rows.T @ (slope[:, None] * mixed))
        by_factors -= np.asarray(squared(rows).T @ slope)[:, None] * factors
        gradients = {
            "factors": by_factors,
            "linear": np.asarray(rows.T @ slope),
            "bias": slope.sum(keepdims=True),
        }
        wanted = {"factors": True, "linear": values.flag("use_linear"), "bias": values.flag("use_bias")}
        for name in _PARTS:
            if wanted[name]:
                everything = getattr(machine, name)
                place: Any = ... if name == "bias" else used
                gradient = self._treated(gradients[name]) + values.number(f"{name}_wd") * everything[place]
                self._steps[name].step(everything, gradient, values.number(f"{name}_lr"), place)
        return float(losses.sum())

    def _treated(self, gradient: "NDArray[Any]") -> "NDArray[Any]":
        """As MXNet's optimizers treat gradients: rescaled, then clipped."""
        rescale, clip = (self._values.number_or_none(name) for name in ("rescale_grad", "clip_gradient"))
        if rescale is not None:
            gradient = gradient * rescale
        return gradient if clip is None else np.clip(gradient, -abs(clip), abs(clip))


def _report(run: TrainingRun, channel: str, rows: DataSet, machine: FactorizationMachine) -> None:
    scores = np.concatenate([machine.scores(rows.features[part]) for part in rows.chunks()])
    if run.values.text("predictor_type") == "regressor":
        found = regression_metrics(scores, rows.labels)
        losses = set(found)
    else:
        entropy = float((np.logaddexp(0, scores) - rows.labels * scores).mean())
        measured = binary_metrics(probabilities(scores, "logistic"), rows.labels, 0.5, 1.0)
        found = {
            "binary_classification_cross_entropy": entropy,
            **{name: measured[name] for name in _REPORTED},
        }
        losses = {"binary_classification_cross_entropy"}
    for name, value in found.items():
        run.log.say(f"#{channel}_score (algo-1) : ('{name}', {value!r})")
    for name, value in found.items():
        (run.log.loss if name in losses else run.log.score)(channel, name, value)
