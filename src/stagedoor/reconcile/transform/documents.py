"""A transform job's record from one step to the next: pure functions from document to document."""

from typing import Literal

from stagedoor.store.records import Document

Ending = Literal["Completed", "Failed", "Stopped"]

_REASON_CHARACTERS = 1024


def started(document: Document, now: float) -> Document:
    """The job has a slot, for the first time or again after a crash."""
    return document | {"TransformStartTime": now, "lastModifiedTime": now}


def ended(document: Document, now: float, ending: Ending, reason: str = "") -> Document:
    """The job's last state."""
    result: Document = document | {
        "TransformJobStatus": ending,
        "TransformEndTime": now,
        "lastModifiedTime": now,
    }
    if reason:
        result["FailureReason"] = reason[:_REASON_CHARACTERS]
    return result
