"""How good predictions are: the metrics of the Linear Learner, and the threshold that makes classes of scores.

Place in the flow: ``linear_learner_training`` chooses a model and its threshold with these, and logs them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.hyperparameters import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores from ``value`` on are class 1; ``merit`` is how good that is by the chosen criterion (larger is better)."""

    value: float
    merit: float


def best_threshold(
    scores: "NDArray[Any]", labels: "NDArray[Any]", values: Values, natural: float
) -> Threshold:
    """The threshold that the criterion likes best; of equally good ones, the one nearest to ``natural``."""
    criterion = values.text("binary_classifier_model_selection_criteria")
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order].astype(np.float64), labels[order] > 0
    # A cut after row i: i + 1 rows are called positive. Only between different scores, before the first or after the last.
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(ranked)) + 1, [len(ranked)]])
    hits = np.concatenate([[0], np.cumsum(truth)])[cuts].astype(np.float64)
    positives = float(truth.sum())
    precision = np.divide(hits, cuts, out=np.zeros(len(cuts)), where=cuts > 0)
    recall = hits / positives if positives else np.zeros(len(cuts))
    match criterion:
        case "precision_at_target_recall":
            merits = np.where(recall >= values.number("target_recall"), precision, recall - 1)
        case "recall_at_target_precision":
            merits = np.where(precision >= values.number("target_precision"), recall, precision - 1)
        case "f1" | "f_beta":
            merits = f_score(precision, recall, 1.0 if criterion == "f1" else values.number("f_beta"))
        case _:
            merits = (hits + (len(ranked) - cuts) - (positives - hits)) / len(ranked)
    above = np.concatenate([[np.inf], ranked])[cuts]
    below = np.concatenate([ranked, [-np.inf]])[cuts]
    places = np.clip(natural, np.nextafter(below, np.inf), above)  # within the gap, as near as possible
    middle = (above + below) / 2
    elsewhere = (natural <= below) | (natural > above)
    places = np.where(np.isfinite(middle) & elsewhere, middle, places)
    best = np.flatnonzero(merits >= merits.max() - 1e-12)
    chosen = best[np.abs(places[best] - natural).argmin()]
    return Threshold(float(places[chosen]), float(merits[chosen]))


def f_score(precision: Any, recall: Any, beta: float) -> Any:
    """The weighted harmonic mean; 0 where both are 0."""
    below = beta**2 * precision + recall
    return np.divide((1 + beta**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)


def binary_metrics(
    scores: "NDArray[Any]", labels: "NDArray[Any]", threshold: float, beta: float
) -> dict[str, float]:
    """By their names in the log."""
    said, truth = scores >= threshold, labels > 0
    hits = float((said & truth).sum())
    precision = hits / float(said.sum()) if said.any() else 0.0
    recall = hits / float(truth.sum()) if truth.any() else 0.0
    return {
        "binary_classification_accuracy": float((said == truth).mean()),
        f"binary_f_{beta:.3f}": float(f_score(np.array(precision), np.array(recall), beta)),
        "precision": precision,
        "recall": recall,
        "roc_auc_score": roc_auc(scores, truth),
    }


def roc_auc(scores: "NDArray[Any]", truth: "NDArray[Any]") -> float:
    """The area under the ROC curve: how often a positive row has a higher score than a negative one. NaN without both."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def multiclass_metrics(
    probabilities: "NDArray[Any]", labels: "NDArray[Any]", top_k: int, beta: float
) -> dict[str, float]:
    """By their names in the log; macro averages are over the classes that occur."""
    classes = labels.astype(np.intp)
    of_truth = probabilities[np.arange(len(classes)), classes]
    rank = (probabilities > of_truth[:, None]).sum(axis=1)
    said: NDArray[np.intp] = probabilities.argmax(axis=1)
    count = int(probabilities.shape[1])
    hits = np.bincount(classes[said == classes], minlength=count).astype(np.float64)
    actual, predicted = np.bincount(classes, minlength=count), np.bincount(said, minlength=count)
    recall = np.divide(hits, actual, out=np.zeros(count), where=actual > 0)[actual > 0]
    precision = np.divide(hits, predicted, out=np.zeros(count), where=predicted > 0)[actual > 0]
    return {
        "multiclass_accuracy": float((said == classes).mean()),
        f"multiclass_top_k_accuracy_{top_k}": float((rank < top_k).mean()),
        "dcg": float((1 / np.log2(rank + 2)).mean()),
        "macro_recall": float(recall.mean()),
        "macro_precision": float(precision.mean()),
        f"macro_f_{beta:.3f}": float(f_score(precision, recall, beta).mean()),
        "multiclass_balanced_accuracy": float(recall.mean()),
        "multiclass_log_loss": float(-np.log(np.maximum(of_truth, 1e-15)).mean()),
    }


def regression_metrics(scores: "NDArray[Any]", labels: "NDArray[Any]") -> dict[str, float]:
    """By their names in the log."""
    error = scores.astype(np.float64) - labels
    squared = float((error**2).mean())
    return {"mse": squared, "absolute_loss": float(np.abs(error).mean()), "rmse": squared**0.5}
