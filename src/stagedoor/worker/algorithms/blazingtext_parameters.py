"""From SageMaker's hyperparameters of BlazingText to fastText's arguments.

Place in the flow: ``blazingtext_training`` begins with it. Each mode has hyperparameters of its own, and others are refused.
"""

from typing import Any

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Values

_BOTH = {"mode", "buckets", "epochs", "learning_rate", "min_count", "vector_dim", "_tuning_objective_metric"}
_SUPERVISED = {"early_stopping", "min_epochs", "patience", "word_ngrams"}
_WORD_VECTORS = {
    "batch_size",
    "evaluation",
    "max_char",
    "min_char",
    "negative_samples",
    "sampling_threshold",
    "subwords",
    "window_size",
}


def check_mode(values: Values) -> None:
    """ClientError for a hyperparameter of another mode."""
    mode = values.text("mode")
    wanted = _BOTH | (_SUPERVISED if mode == "supervised" else _WORD_VECTORS)
    for name in sorted(values.given - wanted):
        raise ClientError(f"Hyperparameter {name} cannot be used with mode {mode}")
    if values.integer("min_char") > values.integer("max_char"):
        raise ClientError("Hyperparameter min_char must not be greater than max_char")


def supervised_arguments(values: Values, threads: int, epochs: int) -> dict[str, Any]:
    """For ``fasttext.train_supervised``."""
    return _common(values, threads, epochs) | {"wordNgrams": values.integer("word_ngrams")}


def word_vector_arguments(values: Values, threads: int) -> dict[str, Any]:
    """For ``fasttext.train_unsupervised``."""
    subwords = values.flag("subwords")
    return _common(values, threads, values.integer("epochs")) | {
        "model": "cbow" if values.text("mode") == "cbow" else "skipgram",
        "ws": values.integer("window_size"),
        "neg": values.integer("negative_samples"),
        "t": values.number("sampling_threshold"),
        "minn": values.integer("min_char") if subwords else 0,
        "maxn": values.integer("max_char") if subwords else 0,
    }


def _common(values: Values, threads: int, epochs: int) -> dict[str, Any]:
    return {
        "lr": values.number("learning_rate"),
        "dim": values.integer("vector_dim"),
        "epoch": epochs,
        "minCount": values.integer("min_count"),
        "bucket": values.integer("buckets"),
        "thread": max(1, threads),
        "verbose": 0,
    }
