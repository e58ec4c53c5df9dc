"""The training jobs of a hyperparameter tuning job, as AWS summarises them: states, objectives, counters, the best one.

Place in the flow: the tuning job's record keeps one document a trial (``trials``). While a trial runs, its training job's record says
how it is; when it has ended, ``reconcile.tuning`` writes that down here, so that it stays although the training job may be
deleted. Describe and List operations read the same. Pure functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stagedoor.domain.training_states import TERMINAL

Summary = dict[str, Any]

_FROM_JOB = ("TrainingJobStatus", "TrainingStartTime", "TrainingEndTime", "FailureReason")


def objective_of(job: Mapping[str, Any], metric_name: str) -> float | None:
    """The last value of the objective that a training job has reported when it ended."""
    for metric in job.get("FinalMetricDataList", []):
        if metric["MetricName"] == metric_name:
            return float(metric["Value"])
    return None


def summary(trial: Mapping[str, Any], job: Mapping[str, Any] | None, objective: Mapping[str, str]) -> Summary:
    """A HyperParameterTrainingJobSummary with the trial's own members. ``job`` is None when there is no record of it."""
    if is_over(trial):
        return dict(trial)
    result = dict(trial)
    if job is None:
        return result | {"TrainingJobStatus": "Stopped", "ObjectiveStatus": "Failed"}
    result |= {name: job[name] for name in _FROM_JOB if name in job}
    if job["TrainingJobStatus"] not in TERMINAL:
        return result | {"ObjectiveStatus": "Pending"}
    value = objective_of(job, objective["MetricName"])
    if value is None or job["TrainingJobStatus"] == "Failed":
        return result | {"ObjectiveStatus": "Failed"}
    return result | {
        "FinalHyperParameterTuningJobObjectiveMetric": dict(objective) | {"Value": value},
        "ObjectiveStatus": "Succeeded",
    }


def is_over(trial: Mapping[str, Any]) -> bool:
    """Whether the trial's end stands in its document."""
    return trial.get("TrainingJobStatus") in TERMINAL


def value_of(trial: Mapping[str, Any]) -> float | None:
    """The objective of a trial that has succeeded."""
    metric = trial.get("FinalHyperParameterTuningJobObjectiveMetric")
    return None if metric is None else float(metric["Value"])


def best(trials: Iterable[Summary], *, maximize: bool) -> Summary | None:
    """The trial with the best objective, the earliest of several."""
    found: Summary | None = None
    for trial in trials:
        value = value_of(trial)
        if value is not None and (found is None or better(value, value_of(found), maximize=maximize)):
            found = trial
    return found


def better(value: float, other: float | None, *, maximize: bool) -> bool:
    """Whether ``value`` is a strictly better objective."""
    if other is None:
        return True
    return value > other if maximize else value < other


def status_counters(trials: Sequence[Summary]) -> dict[str, int]:
    """TrainingJobStatusCounters. What failed on the server's side could be tried again."""
    counters: dict[str, int] = dict.fromkeys(
        ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0
    )
    for trial in trials:
        status = trial["TrainingJobStatus"]
        if status == "Failed":
            internal = trial.get("FailureReason", "").startswith("InternalServerError")
            counters["RetryableError" if internal else "NonRetryableError"] += 1
        else:
            counters[status if status in counters else "InProgress"] += 1
    return counters


def objective_counters(trials: Sequence[Summary]) -> dict[str, int]:
    """ObjectiveStatusCounters."""
    counters: dict[str, int] = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for trial in trials:
        counters[trial["ObjectiveStatus"]] += 1
    return counters
