"""The metrics of the XGBoost algorithm: their names and directions, and those computed here.

Place in the flow: ``xgboost_parameters`` checks names against ``METRICS``; ``xgboost_training`` hands ``own_metrics`` to the
library and prints all values; ``reconcile.training`` finds them in the log again (``metrics``).
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagedoor.worker.algorithms.metrics import read_metrics

if TYPE_CHECKING:
    import numpy as np
    import xgboost
    from numpy.typing import NDArray

_DATA = Path(__file__).with_name("xgboost_metrics.toml")


@dataclass(frozen=True, slots=True)
class Metrics:
    """What ``xgboost_metrics.toml`` says."""

    maximize: frozenset[str]
    minimize: frozenset[str]
    own: frozenset[str]
    thresholds: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> "Metrics":
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        [group] = read_metrics(path)
        return cls(
            group.maximize, group.minimize, frozenset(document["own"]), frozenset(document["thresholds"])
        )

    @property
    def names(self) -> frozenset[str]:
        return self.maximize | self.minimize

    def rises(self, name: str) -> bool:
        """True when larger values of the metric (``auc``, ``map@5``) are better."""
        return name.partition("@")[0].rstrip("-") in self.maximize


METRICS = Metrics.read(_DATA)


Evaluate = Callable[["NDArray[Any]", "xgboost.DMatrix"], list[tuple[str, float]]]


def own_metrics(names: Sequence[str]) -> Evaluate | None:
    """The function that computes the metrics ``names`` after each round; None for none."""
    if not names:
        return None

    def evaluate(predictions: "NDArray[Any]", matrix: "xgboost.DMatrix") -> list[tuple[str, float]]:
        labels = matrix.get_label()
        return [(name, _FUNCTIONS[name](labels, predictions)) for name in names]

    return evaluate


@dataclass(frozen=True, slots=True)
class _Confusion:
    """Counts per class that occurs in labels or predictions, in the order of the classes."""

    classes: "NDArray[np.int64]"
    hits: "NDArray[np.int64]"
    predicted: "NDArray[np.int64]"
    actual: "NDArray[np.int64]"

    def ratio(self, of: "NDArray[np.int64]") -> "NDArray[np.float64]":
        import numpy as np

        return np.divide(self.hits, of, out=np.zeros(len(of), dtype=np.float64), where=of > 0)

    def f1(self) -> "NDArray[np.float64]":
        import numpy as np

        both = self.predicted + self.actual
        return np.divide(2.0 * self.hits, both, out=np.zeros(len(both), dtype=np.float64), where=both > 0)

    def positive(self) -> int:
        """The index of class 1; the metrics of two classes ask for it."""
        if len(self.classes) > 2 or not set(self.classes.tolist()) <= {0, 1}:
            raise ValueError(
                "Target is multiclass but average='binary'. Please choose another average setting."
            )
        return int((self.classes == 1).argmax()) if 1 in self.classes else -1


def _confusion(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> _Confusion:
    import numpy as np

    # Probabilities of one class, a probability for each class, or the classes themselves (multi:softmax).
    if predictions.ndim == 2:
        chosen = predictions.argmax(axis=1)
    elif len(predictions) and predictions.max() <= 1:
        chosen = predictions > 0.5
    else:
        chosen = predictions
    actual, predicted = labels.astype(np.int64), chosen.astype(np.int64)
    classes = np.union1d(actual, predicted)
    size = int(classes.max(initial=0)) + 1
    return _Confusion(
        classes,
        np.bincount(actual[actual == predicted], minlength=size)[classes],
        np.bincount(predicted, minlength=size)[classes],
        np.bincount(actual, minlength=size)[classes],
    )


def _of_positive(values: "NDArray[np.float64]", confusion: _Confusion) -> float:
    index = confusion.positive()
    return float(values[index]) if index >= 0 else 0.0


def _accuracy(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    return float(_confusion(labels, predictions).hits.sum() / max(len(labels), 1))


def _balanced_accuracy(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    confusion = _confusion(labels, predictions)
    return float(confusion.ratio(confusion.actual)[confusion.actual > 0].mean())


def _f1_macro(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    return float(_confusion(labels, predictions).f1().mean())


def _f1_binary(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    confusion = _confusion(labels, predictions)
    return _of_positive(confusion.f1(), confusion)


def _precision(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    confusion = _confusion(labels, predictions)
    return _of_positive(confusion.ratio(confusion.predicted), confusion)


def _precision_macro(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    confusion = _confusion(labels, predictions)
    return float(confusion.ratio(confusion.predicted).mean())


def _recall(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    confusion = _confusion(labels, predictions)
    return _of_positive(confusion.ratio(confusion.actual), confusion)


def _recall_macro(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    confusion = _confusion(labels, predictions)
    return float(confusion.ratio(confusion.actual).mean())


def _mse(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    return float(((labels - predictions) ** 2).mean())


def _r2(labels: "NDArray[Any]", predictions: "NDArray[Any]") -> float:
    rest = float(((labels - predictions) ** 2).sum())
    spread = float(((labels - labels.mean()) ** 2).sum())
    if spread == 0:
        return 1.0 if rest == 0 else 0.0
    return 1 - rest / spread


_FUNCTIONS: dict[str, Callable[["NDArray[Any]", "NDArray[Any]"], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1_macro,
    "f1_binary": _f1_binary,
    "f1_macro": _f1_macro,
    "mse": _mse,
    "precision": _precision,
    "precision_macro": _precision_macro,
    "precision_micro": _accuracy,  # with one class for each row, both micro averages are the accuracy
    "r2": _r2,
    "recall": _recall,
    "recall_macro": _recall_macro,
    "recall_micro": _accuracy,
}
