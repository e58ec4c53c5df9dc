"""The Linear Learner's training: several models on the same mini-batches, the best of them chosen on the validation data.

Place in the flow: ``worker.job_runner`` calls ``train``. Epochs end early when the best model stops getting better; classifiers
get the threshold that the selection criterion likes best.
"""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.data_set import DataSet
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.linear_candidates import Candidate, candidates, optimizer_name
from stagedoor.worker.algorithms.linear_estimators import estimator
from stagedoor.worker.algorithms.linear_losses import Loss, probabilities
from stagedoor.worker.algorithms.linear_metrics import (
    Threshold,
    best_threshold,
    binary_metrics,
    multiclass_metrics,
    regression_metrics,
)
from stagedoor.worker.algorithms.linear_models import FinishedModel, LinearModels, Scaling
from stagedoor.worker.algorithms.model_arrays import save_arrays, save_estimator
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 0
_WEIGHTS_AT_MOST = 4 * 1024 * 1024
_JUDGED_AT_MOST = 100_000  # rows of training data, where there are no validation data
_DIVERGED = 10.0
_LOSSES = ("mse", "absolute_loss", "rmse")


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "linear_learner")
        outputs = _outputs(run)
        data = run.train_data()
        others = {name: run.data(name) for name in ("validation", "test")}
        for name, rows in {"train": data, **others}.items():
            if rows is not None:
                _check(name, rows, data, run)
        model, threshold = _Learning(run, data, others["validation"], outputs).best()
        for name, rows in {"train": data, **others}.items():
            if rows is not None:
                _report(run, name, rows, model, threshold)
            elif name == "test":
                run.log.say("Test data is not provided.")
        save_arrays(
            job.model_dir,
            {
                "weights": model.weights.astype(np.float32),
                "bias": model.bias.astype(np.float32),
                "threshold": np.array(threshold.value, dtype=np.float32),
                "predictor_type": np.array(run.values.text("predictor_type")),
                "loss": np.array(model.loss_name),
            },
        )
        save_estimator(job.model_dir, estimator(model, run.values.text("predictor_type")))


def _outputs(run: TrainingRun) -> int:
    classes = run.values.integer_or_none("num_classes")
    if run.values.text("predictor_type") != "multiclass_classifier":
        return 1
    if classes is None:
        raise ClientError(
            "Missing required hyperparameter: num_classes (predictor_type is multiclass_classifier)"
        )
    if classes < 3:
        raise ClientError(f"Hyperparameter num_classes: {classes} is not in [3, 1000000]")
    return classes


def _check(name: str, rows: DataSet, train_rows: DataSet, run: TrainingRun) -> None:
    if rows.columns != train_rows.columns:
        raise ClientError(
            f"The {name} channel has {rows.columns} features, the train channel has {train_rows.columns}"
        )
    labels, kind = rows.labels, run.values.text("predictor_type")
    if kind == "binary_classifier" and not np.isin(labels, (0, 1)).all():
        bad = labels[~np.isin(labels, (0, 1))][0]
        raise ClientError(f"Labels of a binary classifier must be 0 or 1; the {name} channel has {bad:g}")
    if kind == "multiclass_classifier":
        classes = run.values.integer("num_classes")
        wrong = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
        if wrong.any():
            raise ClientError(
                f"Labels must be whole numbers from 0 to num_classes - 1, {classes - 1}; the {name} channel has "
                f"{labels[wrong][0]:g}"
            )


@dataclass(slots=True)
class _Best:
    """The weights of all models at the epoch in which each was best."""

    losses: "NDArray[np.float64]"
    weights: "NDArray[np.float32]"
    bias: "NDArray[np.float32]"

    def keep(self, models: LinearModels, losses: "NDArray[np.float64]") -> None:
        better = losses < self.losses
        self.losses = np.where(better, losses, self.losses)
        self.weights[:, better] = models.weights[:, better]
        self.bias[better] = models.bias[better]


class _Learning:
    """One run over the epochs."""

    def __init__(self, run: TrainingRun, data: DataSet, validation: DataSet | None, outputs: int) -> None:
        self._run, self._data, self._validation = run, data, validation
        self._judges = data if validation is None else validation
        values = run.values
        scaling = Scaling.of(data, values)
        self._loss = Loss.chosen(values, scaling.label_spread)
        most = max(1, _WEIGHTS_AT_MOST // (data.columns * outputs))
        self._candidates = candidates(values, most)
        run.log.say(f"Training {len(self._candidates)} models with {optimizer_name(values)}")
        self._models = LinearModels(scaling, self._loss, self._candidates, outputs, values, _SEED)
        self._class_weights = self._weights_of_classes(outputs)
        self._best = _Best(
            np.full(len(self._candidates), np.inf), self._models.weights.copy(), self._models.bias.copy()
        )

    def best(self) -> tuple[FinishedModel, Threshold]:
        """The chosen model and the threshold of a binary classifier."""
        values, log = self._run.values, self._run.log
        random = np.random.default_rng(_SEED)
        epochs, patience = values.integer("epochs"), values.integer("early_stopping_patience")
        best_metric, waited = np.inf, 0
        untrained = float(self._mean_losses(self._judges).min())
        for epoch in range(epochs):
            began = time.monotonic()
            log.loss("train", self._loss.objective, float(self._epoch(random).min()), epoch)
            seen = self._mean_losses(self._judges)
            if self._validation is not None:
                log.loss("validation", self._loss.objective, float(seen.min()), epoch)
            self._best.keep(self._models, seen)
            log.progress(epoch + 1, epochs)
            log.throughput(len(self._data), time.monotonic() - began)
            criterion, metric = self._stopping_metric(seen)
            log.say(
                f"#early_stopping_criteria_metric: host=algo-1, epoch={epoch}, criteria={criterion}, value={metric!r}"
            )
            if (
                best_metric - metric > values.number("early_stopping_tolerance") * abs(best_metric)
                or epoch == 0
            ):
                best_metric, waited = metric, 0
            else:
                waited += 1
            if waited >= patience:
                log.say(f"Early stop: no improvement in {patience} epochs")
                break
        if self._best.losses.min() > _DIVERGED * max(untrained, 1.0):
            raise ClientError(
                "Training diverged: models got far worse than untrained ones. Use a smaller learning_rate."
            )
        return self._chosen()

    def _epoch(self, random: np.random.Generator) -> "NDArray[np.float64]":
        """One pass over the data; the mean loss of each model while it learned."""
        total = np.zeros(len(self._candidates))
        for rows in self._data.batches(self._run.values.integer("mini_batch_size"), random):
            self._run.check_stop()
            labels = self._data.labels[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                total += len(rows) * self._models.learn(
                    self._data.features[rows], labels, self._row_weights(labels)
                )
        return np.where(np.isfinite(total), total / len(self._data), np.inf)

    def _mean_losses(self, rows: DataSet) -> "NDArray[np.float64]":
        """How wrong each model is on (the first of) these rows; infinite when it cannot be said."""
        total, count = np.zeros(len(self._candidates)), 0
        with np.errstate(over="ignore", invalid="ignore"):
            for part in rows.batches(self._run.values.integer("mini_batch_size")):
                total += self._models.losses(rows.features[part], rows.labels[part])
                count += len(part)
                if rows is self._data and count >= _JUDGED_AT_MOST:
                    break
        return np.where(np.isfinite(total), total / count, np.inf)

    def _stopping_metric(self, losses: "NDArray[np.float64]") -> tuple[str, float]:
        """What early stopping watches (smaller is better): the criterion if one was given, on the validation data, else the loss."""
        values = self._run.values
        name = "binary_classifier_model_selection_criteria"
        number = int(losses.argmin())
        wanted = name in values.given and values.text(name) not in ("loss_function", "cross_entropy_loss")
        if not wanted or self._validation is None or values.text("predictor_type") != "binary_classifier":
            return "loss_function", float(losses[number])
        threshold = self._threshold(self._models.finished(number), self._validation)
        return values.text(name), -threshold.merit

    def _threshold(self, model: FinishedModel, rows: DataSet) -> Threshold:
        values = self._run.values
        natural = 0.5 if self._loss.name == "logistic" else 0.0
        if values.text("binary_classifier_model_selection_criteria") in (
            "loss_function",
            "cross_entropy_loss",
        ):
            return Threshold(natural, 0.0)
        count = values.integer_or_none("num_calibration_samples") or len(rows)
        scores = _scores(model, rows, slice(0, count))
        return best_threshold(scores, rows.labels[:count], values, natural)

    def _chosen(self) -> tuple[FinishedModel, Threshold]:
        """Of the models at their best epochs, the one that the selection criterion likes best; then the smaller loss decides."""
        self._models.weights, self._models.bias = self._best.weights, self._best.bias
        rows = self._judges
        order = [
            int(number) for number in np.argsort(self._best.losses) if np.isfinite(self._best.losses[number])
        ]
        if self._run.values.text("predictor_type") != "binary_classifier":
            chosen, threshold = order[0], Threshold(0.0, 0.0)
        else:
            thresholds = {number: self._threshold(self._models.finished(number), rows) for number in order}
            chosen = max(order, key=lambda number: thresholds[number].merit)  # the first of equals
            threshold = thresholds[chosen]
        settings: Candidate = self._candidates[chosen]
        described = {"optimizer": optimizer_name(self._run.values), **settings.as_json()}
        self._run.log.say(f"Best model found for hyperparameters: {json.dumps(described)}")
        return self._models.finished(chosen), threshold

    def _weights_of_classes(self, outputs: int) -> "NDArray[np.float32]":
        """(classes, models): what a row of a class counts in each model's loss."""
        values, labels = self._run.values, self._data.labels
        kind = values.text("predictor_type")
        if kind == "binary_classifier":
            positives = float((labels == 1).sum())
            balanced = (len(labels) - positives) / positives if positives else 1.0
            weights = [
                [1.0, balanced if one.positive_weight is None else one.positive_weight]
                for one in self._candidates
            ]
            return np.array(weights, dtype=np.float32).T
        classes = np.ones((max(outputs, 1), len(self._candidates)), dtype=np.float32)
        if kind == "multiclass_classifier" and values.flag("balance_multiclass_weights"):
            counts = np.bincount(labels.astype(np.intp), minlength=outputs)
            shares = np.divide(len(labels), outputs * counts, out=np.ones(outputs), where=counts > 0)
            classes *= shares[:, None].astype(np.float32)
        return classes

    def _row_weights(self, labels: "NDArray[np.float32]") -> "NDArray[np.float32]":
        if self._run.values.text("predictor_type") == "regressor":
            return np.ones((len(labels), len(self._candidates)), dtype=np.float32)
        return self._class_weights[labels.astype(np.intp)]


def _scores(model: FinishedModel, rows: DataSet, part: slice) -> "NDArray[Any]":
    """What the model answers: (rows,), or (rows, classes)."""
    scores = model.scores(rows.features[part])
    return probabilities(scores if scores.shape[1] > 1 else scores[:, 0], model.loss_name)


def _report(
    run: TrainingRun, channel: str, rows: DataSet, model: FinishedModel, threshold: Threshold
) -> None:
    values = run.values
    answers = np.concatenate([_scores(model, rows, part) for part in rows.chunks()])
    plain = np.concatenate([model.scores(rows.features[part]) for part in rows.chunks()])
    loss = Loss.chosen(values, 1.0)
    seen = plain[:, None, :] if plain.shape[1] > 1 else plain
    found = {loss.objective: float(loss.value(seen, rows.labels).mean())}
    match values.text("predictor_type"):
        case "binary_classifier":
            found |= binary_metrics(answers, rows.labels, threshold.value, values.number("f_beta"))
        case "multiclass_classifier":
            found |= multiclass_metrics(
                answers, rows.labels, values.integer("accuracy_top_k"), values.number("f_beta")
            )
        case _:
            found |= regression_metrics(answers, rows.labels)
    for name, value in found.items():
        run.log.say(f"#{channel}_score (algo-1) : ('{name}', {value!r})")
    for name, value in found.items():
        is_loss = name.endswith("_objective") or name in _LOSSES
        (run.log.loss if is_loss else run.log.score)(channel, name, value)
