"""A processing job's record from one step to the next: pure functions from document to document."""

from typing import Any

from stagedoor.store.records import Document

_REASON_CHARACTERS = 1024
_EXIT_MESSAGE_CHARACTERS = 1024


def started(document: Document, now: float) -> Document:
    """The job has a slot and begins, or begins anew after an earlier server lost it half-way."""
    return document | {"ProcessingStartTime": now, "LastModifiedTime": now}


def ended(
    document: Document, now: float, ending: str, *, reason: str = "", exit_message: str = ""
) -> Document:
    """The job's last state: ``Completed``, ``Failed`` or ``Stopped``."""
    result: dict[str, Any] = document | {
        "ProcessingJobStatus": ending,
        "ProcessingEndTime": now,
        "LastModifiedTime": now,
    }
    if reason:
        result["FailureReason"] = reason[:_REASON_CHARACTERS]
    if exit_message:
        result["ExitMessage"] = exit_message[:_EXIT_MESSAGE_CHARACTERS]
    return result
