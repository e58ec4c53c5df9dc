"""A training job's record from one step to the next: pure functions from document to document.

Place in the flow: ``act`` commits what these give. The secondary statuses and their messages are AWS's; SDKs print them while
they wait. A job that was asked to stop keeps its status Stopping until it ends.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from stagedoor.store.records import Document

Ending = Literal["Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"]

_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Restarting": "Restarting the training job",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
_REASON_CHARACTERS = 1024


def starting(document: Document, now: float) -> Document:
    """The job has a slot. When an earlier server lost it half-way, it begins anew: times and results of then are gone."""
    if document["SecondaryStatus"] != "Starting":
        return _entered(
            {name: document[name] for name in document if name != "TrainingStartTime"}, "Starting", now
        )
    *earlier, last = document["SecondaryStatusTransitions"]
    return document | {
        "SecondaryStatusTransitions": [*earlier, last | {"StatusMessage": _MESSAGES["Starting"]}],
        "LastModifiedTime": now,
    }


def downloading(document: Document, now: float) -> Document:
    """Inputs are being fetched: AWS's clock of training time starts."""
    return _entered(document, "Downloading", now) | {"TrainingStartTime": now}


def training(document: Document, now: float) -> Document:
    """The algorithm runs."""
    return _entered(document, "Training", now)


def restarting(document: Document, now: float) -> Document:
    """Something went wrong on this side, and RetryStrategy wants another attempt."""
    return starting(_entered(document, "Restarting", now), now)


def uploading(document: Document, now: float) -> Document:
    """The algorithm has ended; what it made goes to S3."""
    return _entered(document, "Uploading", now)


def ended(
    document: Document,
    now: float,
    ending: Ending,
    *,
    reason: str = "",
    model_artifacts: str = "",
    metrics: Sequence[Mapping[str, Any]] = (),
    metric_statistics: Mapping[str, Mapping[str, Any]] | None = None,
) -> Document:
    """The job's last state. ``model_artifacts`` is the S3 URI of the archive, where one was stored."""
    result: Document = _entered(document, ending, now) | {
        "TrainingJobStatus": ending if ending in ("Completed", "Failed") else "Stopped",
        "SecondaryStatus": ending,
        "TrainingEndTime": now,
    }
    result["SecondaryStatusTransitions"][-1]["EndTime"] = now
    if reason:
        result["FailureReason"] = reason[:_REASON_CHARACTERS]
    if model_artifacts:
        result["ModelArtifacts"] = {"S3ModelArtifacts": model_artifacts}
    if metrics:
        result["FinalMetricDataList"] = [dict(metric) for metric in metrics]
        result["metricStatistics"] = dict(metric_statistics or {})
    if (started := document.get("TrainingStartTime")) is not None:
        seconds = max(1, math.ceil(now - started))
        result |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    return result


def _entered(document: Document, status: str, now: float) -> Document:
    transitions = [dict(transition) for transition in document["SecondaryStatusTransitions"]]
    transitions[-1].setdefault("EndTime", now)
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": _MESSAGES[status]})
    result: Document = document | {"SecondaryStatusTransitions": transitions, "LastModifiedTime": now}
    if document["TrainingJobStatus"] == "InProgress":
        result["SecondaryStatus"] = status
    return result
