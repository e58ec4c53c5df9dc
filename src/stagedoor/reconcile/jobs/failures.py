"""Why a job failed that could not run to its end: the FailureReason of what went wrong on the way, and whether it may be tried again.

Place in the flow: ``act`` of training and processing jobs catches ``FAILURES``; what a job's own process says is ``outcome``'s.
"""

from dataclasses import dataclass

from stagedoor.engine.interface import EngineError, RuntimeUnavailableError
from stagedoor.reconcile.jobs.downloads import DownloadError
from stagedoor.reconcile.programs import SourceError
from stagedoor.store.contents import ContentDamagedError
from stagedoor.store.object_rows import NoSuchBucketError
from stagedoor.store.objects_io import ObjectChangedError

FAILURES = (
    DownloadError,
    SourceError,
    NoSuchBucketError,
    EngineError,
    OSError,
    ObjectChangedError,
    ContentDamagedError,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """``may_retry``: it is this side's failure, not the user's."""

    reason: str
    may_retry: bool


def failure(error: Exception, what: str) -> Failure:
    """For one of ``FAILURES``. ``what`` was to be started: ``training process``."""
    if isinstance(error, NoSuchBucketError):
        return Failure(
            f"ClientError: The bucket of an output does not exist any more: {error}", may_retry=False
        )
    if isinstance(error, DownloadError | SourceError | RuntimeUnavailableError):
        return Failure(f"ClientError: {error}", may_retry=False)
    if isinstance(error, EngineError):
        return Failure(f"InternalServerError: The {what} could not be started: {error}", may_retry=True)
    return Failure(internal_reason(error), may_retry=True)


def internal_reason(error: Exception) -> str:
    """The FailureReason for what went wrong on this side; the server's log has the traceback and the paths."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"InternalServerError: {text}. Please try again."
