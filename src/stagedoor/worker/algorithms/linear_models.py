"""Linear models that are trained side by side on the same mini-batches, and what they are in the end.

Place in the flow: ``linear_learner_training`` makes ``LinearModels``, calls ``learn`` for each mini-batch and ``scores`` to see how
good they are; ``finished`` gives one of them in the units of the data. Features are normalised on the way, batch by batch,
so that no second copy of the data exists; sparse batches stay sparse.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.hyperparameters import Values
from stagedoor.worker.algorithms.linear_candidates import Candidate, optimizer_name
from stagedoor.worker.algorithms.linear_losses import Loss
from stagedoor.worker.algorithms.linear_optimizer import Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

# scipy brings no types.
_sparse: Any = importlib.import_module("scipy.sparse")
_DEFAULT_SCHEDULE = (100, 0.99, 1e-5)  # steps, factor, smallest rate: what auto is on AWS


@dataclass(frozen=True, slots=True)
class Scaling:
    """How features and labels are normalised: value -> (value - mean) / spread."""

    mean: "NDArray[np.float64]"
    spread: "NDArray[np.float64]"
    label_mean: float
    label_spread: float

    @classmethod
    def of(cls, data: DataSet, values: Values) -> "Scaling":
        """From the first ``num_point_for_scaler`` records, as far as the hyperparameters want it."""
        head = slice(0, values.integer("num_point_for_scaler"))
        mean, spread = np.zeros(data.columns), np.ones(data.columns)
        # Sparse rows would not be sparse any more, so they are shifted only when that is asked for.
        unbias = values.flag_or_none("unbias_data")
        shifts = (not data.is_sparse if unbias is None else unbias) and values.flag("use_bias")
        center, deviation = _moments(data.features[head])
        if values.flag_or_none("normalize_data") is not False:
            spread = np.where(deviation > 0, deviation, 1.0)
        if shifts and (unbias or values.flag_or_none("normalize_data") is not False):
            mean = center
        label_mean, label_spread = 0.0, 1.0
        if values.text("predictor_type") == "regressor":
            labels = data.labels[head].astype(np.float64)
            if values.flag_or_none("normalize_label") is not False:
                label_spread = float(labels.std()) or 1.0
            if values.flag_or_none("unbias_label") is not False and values.flag("use_bias"):
                label_mean = float(labels.mean())
        return cls(mean, spread, label_mean, label_spread)

    def batch(self, features: Any) -> Any:
        """Normalised float32 features: sparse ones stay sparse unless they must be shifted."""
        if isinstance(features, np.ndarray):
            return ((features - self.mean) / self.spread).astype(np.float32)
        if self.mean.any():
            return ((features.toarray() - self.mean) / self.spread).astype(np.float32)
        return _sparse.csr_matrix(
            (
                (features.data / self.spread[features.indices]).astype(np.float32),
                features.indices,
                features.indptr,
            ),
            shape=features.shape,
        )

    def labels(self, labels: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Normalised labels; classes stay what they are."""
        return ((labels - self.label_mean) / self.label_spread).astype(np.float32)


def _moments(features: Any) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    if isinstance(features, np.ndarray):
        return features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    mean = np.asarray(features.mean(axis=0, dtype=np.float64)).ravel()
    squares = np.asarray(features.multiply(features).mean(axis=0, dtype=np.float64)).ravel()
    return mean, np.sqrt(np.maximum(squares - mean**2, 0))


@dataclass(frozen=True, slots=True)
class FinishedModel:
    """One linear model in the units of the data: ``scores = features @ weights + bias``, (columns, outputs)."""

    weights: "NDArray[np.float64]"
    bias: "NDArray[np.float64]"
    loss_name: str

    def scores(self, features: Any) -> "NDArray[np.float64]":
        """(rows, outputs)."""
        return np.asarray(features @ self.weights) + self.bias


class LinearModels:
    """``len(candidates)`` models of ``outputs`` outputs each."""

    def __init__(
        self, scaling: Scaling, loss: Loss, settings: list[Candidate], outputs: int, values: Values, seed: int
    ) -> None:
        self._scaling, self._loss, self._values = scaling, loss, values
        self._shape = (len(scaling.mean), len(settings), outputs)
        random = np.random.default_rng(seed)
        if values.text("init_method") == "uniform":
            scale = values.number("init_scale")
            first = random.uniform(-scale, scale, (self._shape[0], 1, outputs))
        else:
            first = random.normal(0, values.number("init_sigma"), (self._shape[0], 1, outputs))
        self.weights = np.repeat(first, len(settings), axis=1).astype(np.float32)
        self.bias = np.full(self._shape[1:], values.number("init_bias"), dtype=np.float32)
        if not values.flag("use_bias"):
            self.bias[:] = 0
        self._rates = np.array([one.learning_rate for one in settings], dtype=np.float32)
        self._wd = np.array([one.wd for one in settings], dtype=np.float32)[:, None]
        self._l1 = np.array([one.l1 for one in settings], dtype=np.float32)[:, None]
        self._steps = 0
        arguments: dict[str, Any] = {
            "beta_1": _or(values.number_or_none("beta_1"), 0.9),
            "beta_2": _or(values.number_or_none("beta_2"), 0.999),
            "momentum": _or(values.number_or_none("momentum"), 0.0),
        }
        kind = optimizer_name(values)
        self._weight_steps = Optimizer(kind, self.weights.shape, **arguments)
        self._bias_steps = Optimizer(kind, self.bias.shape, **arguments)

    def learn(
        self, features: Any, labels: "NDArray[np.float32]", row_weights: "NDArray[np.float32]"
    ) -> "NDArray[np.float64]":
        """One step on one mini-batch, ``row_weights`` (rows, models). The mean loss of each model before the step."""
        rows = len(labels)
        batch, wanted = self._scaling.batch(features), self._scaling.labels(labels)
        scores = self._normalised_scores(batch)
        losses, gradient = self._loss.value_and_gradient(self._as_loss_sees(scores), wanted)
        gradient = gradient.reshape(rows, *self._shape[1:]) * row_weights[:, :, None] / rows
        flat = gradient.reshape(rows, -1).astype(np.float32)
        slope = np.asarray(batch.T @ flat).reshape(self._shape)
        slope += self._wd * self.weights
        rate = self._rate()[:, None]
        moved_by = self._weight_steps.step(self.weights, slope, rate)
        if self._l1.any():
            # The proximal step: towards zero by as much as the optimizer moves for a slope of l1, and no further.
            shrunk = np.maximum(np.abs(self.weights) - (moved_by * self._l1).astype(np.float32), 0)
            self.weights = np.sign(self.weights) * shrunk
        if self._values.flag("use_bias"):
            bias_slope = gradient.sum(axis=0)
            bias_slope = (
                bias_slope + _or(self._values.number_or_none("bias_wd_mult"), 0.0) * self._wd * self.bias
            )
            mult = _or(self._values.number_or_none("bias_lr_mult"), 1.0)
            self._bias_steps.step(self.bias, bias_slope, rate * np.float32(mult))
        return (losses * row_weights).mean(axis=0, dtype=np.float64)

    def losses(self, features: Any, labels: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """The summed loss of each model on some rows."""
        scores = self._normalised_scores(self._scaling.batch(features))
        return self._loss.value(self._as_loss_sees(scores), self._scaling.labels(labels)).sum(
            axis=0, dtype=np.float64
        )

    def finished(self, number: int) -> FinishedModel:
        """One of the models, without the normalisation."""
        spread = self._scaling.label_spread
        weights = self.weights[:, number].astype(np.float64) / self._scaling.spread[:, None]
        bias = self.bias[number] - self._scaling.mean @ weights
        return FinishedModel(weights * spread, bias * spread + self._scaling.label_mean, self._loss.name)

    def _normalised_scores(self, batch: Any) -> "NDArray[Any]":
        flat = np.asarray(batch @ self.weights.reshape(self._shape[0], -1))
        return flat.reshape(-1, *self._shape[1:]) + self.bias

    def _as_loss_sees(self, scores: "NDArray[Any]") -> "NDArray[Any]":
        return scores if self._loss.name == "softmax_loss" else scores[:, :, 0]

    def _rate(self) -> "NDArray[np.float32]":
        self._steps += 1
        values = self._values
        if not values.flag("use_lr_scheduler"):
            return self._rates
        every, factor, smallest = _DEFAULT_SCHEDULE
        every = values.integer_or_none("lr_scheduler_step") or every
        factor = _or(values.number_or_none("lr_scheduler_factor"), factor)
        smallest = _or(values.number_or_none("lr_scheduler_minimum_lr"), smallest)
        return np.maximum(self._rates * factor ** (self._steps // every), np.minimum(self._rates, smallest))


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
