"""The loss functions of the Linear Learner: values and gradients for several models at once.

Place in the flow: ``linear_models`` computes scores, asks here how wrong they are and in which direction, and learns from it.
Scores have the shape (rows, models) or, for several classes, (rows, models, classes). ``scale`` is the spread of the labels
that were normalised: values are in the units of the labels, gradients in those of the scores.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHOICES = {
    "binary_classifier": ("logistic", "hinge_loss"),
    "multiclass_classifier": ("softmax_loss",),
    "regressor": (
        "squared_loss",
        "absolute_loss",
        "eps_insensitive_squared_loss",
        "eps_insensitive_absolute_loss",
        "quantile_loss",
        "huber_loss",
    ),
}
_OBJECTIVES = {
    "logistic": "binary_classification_cross_entropy_objective",
    "hinge_loss": "hinge_loss_objective",
    "softmax_loss": "multiclass_cross_entropy_objective",
    "squared_loss": "mse_objective",
    "absolute_loss": "absolute_loss_objective",
    "eps_insensitive_squared_loss": "eps_insensitive_squared_loss_objective",
    "eps_insensitive_absolute_loss": "eps_insensitive_absolute_loss_objective",
    "quantile_loss": "quantile_loss_objective",
    "huber_loss": "huber_loss_objective",
}
_SQUARED = ("squared_loss", "eps_insensitive_squared_loss", "huber_loss")


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss function with its parameters, which are in the units of the labels."""

    name: str
    margin: float
    insensitivity: float
    quantile: float
    delta: float
    scale: float = 1.0

    @classmethod
    def chosen(cls, values: Values, scale: float) -> "Loss":
        """What ``loss`` says for ``predictor_type``; ClientError when the two do not fit."""
        kind, name = values.text("predictor_type"), values.text("loss")
        possible = _CHOICES[kind]
        if name == "auto":
            name = possible[0]
        if name not in possible:
            raise ClientError(
                f"Hyperparameter loss: {name} cannot be used with predictor_type {kind}, which has {list(possible)}"
            )
        return cls(
            name=name,
            margin=values.number("margin"),
            insensitivity=values.number("loss_insensitivity") / scale,
            quantile=values.number("quantile"),
            delta=values.number("huber_delta") / scale,
            scale=scale,
        )

    @property
    def objective(self) -> str:
        """Its name in the log."""
        return _OBJECTIVES[self.name]

    def value(self, scores: "NDArray[Any]", labels: "NDArray[Any]") -> "NDArray[Any]":
        """The loss of each row and model: (rows, models)."""
        losses, _ = self.value_and_gradient(scores, labels)
        return losses

    def value_and_gradient(
        self, scores: "NDArray[Any]", labels: "NDArray[Any]"
    ) -> "tuple[NDArray[Any], NDArray[Any]]":
        """The loss (rows, models) and its derivative by the scores (their shape)."""
        if self.name == "softmax_loss":
            return _softmax(scores, labels)
        if self.name == "logistic":
            return np.logaddexp(0, scores) - labels[:, None] * scores, _sigmoid(scores) - labels[:, None]
        if self.name == "hinge_loss":
            signs = (2 * labels - 1)[:, None]
            losses = np.maximum(0, self.margin - signs * scores)
            return losses, np.where(losses > 0, -signs, 0)
        losses, gradient = self._regression(scores - labels[:, None])
        return losses * (self.scale**2 if self.name in _SQUARED else self.scale), gradient

    def _regression(self, error: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
        size, sign = np.abs(error), np.sign(error)
        match self.name:
            case "squared_loss":
                return error**2, 2 * error
            case "absolute_loss":
                return size, sign
            case "eps_insensitive_squared_loss":
                beyond = np.maximum(0, size - self.insensitivity)
                return beyond**2, 2 * beyond * sign
            case "eps_insensitive_absolute_loss":
                return np.maximum(0, size - self.insensitivity), np.where(size > self.insensitivity, sign, 0)
            case "quantile_loss":
                below = error < 0  # the prediction is too small
                return (
                    np.where(below, -self.quantile * error, (1 - self.quantile) * error),
                    np.where(below, -self.quantile, 1 - self.quantile),
                )
            case _:
                near = size <= self.delta
                return (
                    np.where(near, 0.5 * error**2, self.delta * (size - 0.5 * self.delta)),
                    np.where(near, error, self.delta * sign),
                )


def _sigmoid(scores: "NDArray[Any]") -> "NDArray[Any]":
    return 0.5 * (1 + np.tanh(0.5 * scores))


def _softmax(scores: "NDArray[Any]", labels: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
    raised = scores - scores.max(axis=2, keepdims=True)
    logs = np.log(np.exp(raised).sum(axis=2))
    rows = np.arange(len(labels))
    classes = labels.astype(np.intp)
    losses = logs - raised[rows, :, classes]
    gradient = np.exp(raised - logs[:, :, None])
    gradient[rows, :, classes] -= 1
    return losses, gradient


def probabilities(scores: "NDArray[Any]", loss_name: str) -> "NDArray[Any]":
    """What is answered for scores (rows,) or (rows, classes): probabilities where the loss has them."""
    if loss_name == "logistic":
        return _sigmoid(scores)
    if loss_name == "softmax_loss":
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
    return scores
