"""The states of a training job that more than its reconciler sets: how a job begins, and that it was asked to stop.

Place in the flow: CreateTrainingJob and a tuning job's trials begin alike; StopTrainingJob and early stopping ask alike. From there
on it is ``reconcile.training``. Pure functions from document to document; statuses and messages are AWS's.
"""

from typing import Any

Document = dict[str, Any]

TERMINAL = ("Completed", "Failed", "Stopped")


def begun(document: Document, now: float) -> Document:
    """A job that was just created."""
    return document | {
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": now, "StatusMessage": "Starting the training job"}
        ],
        "CreationTime": now,
        "LastModifiedTime": now,
    }


def stopping(document: Document, now: float) -> Document:
    """A job in progress that was asked to stop."""
    transitions = [dict(transition) for transition in document["SecondaryStatusTransitions"]]
    transitions[-1]["EndTime"] = now
    transitions.append({"Status": "Stopping", "StartTime": now, "StatusMessage": "Stopping the training job"})
    return document | {
        "SecondaryStatusTransitions": transitions,
        "TrainingJobStatus": "Stopping",
        "SecondaryStatus": "Stopping",
        "LastModifiedTime": now,
    }
