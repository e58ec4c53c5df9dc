"""Errors of functions in the shape AWS's Python runtime gives them: error payloads and their lines in the log.

Place in the flow: ``function_worker`` answers with them; the server passes them on unread.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from stagedoor.worker.specs import FunctionError, one_event

# Where a package lies on AWS; tracebacks name it instead of a scratch directory that nobody else ever sees.
TASK_ROOT_ON_AWS = "/var/task"
_WORKER_DIR = str(Path(__file__).parent) + os.sep


class FunctionFailure(Exception):
    """A failure that AWS's runtime itself names (``Runtime.…``)."""

    def __init__(self, error_type: str, message: str, stack_trace: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = list(stack_trace)


def payload(error: BaseException, request_id: str) -> FunctionError:
    """AWS's error payload of an exception."""
    if isinstance(error, FunctionFailure):
        kind, message, stack = error.error_type, error.message, error.stack_trace
    else:
        kind, message, stack = type(error).__name__, _text(error), stack_of(error)
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack}


def log(error: FunctionError) -> None:
    """Write an error to the function's log as AWS's runtime does: one event, with its traceback."""
    lines = [
        f"[ERROR] {error['errorType']}: {error['errorMessage']}"
        if error["errorMessage"]
        else f"[ERROR] {error['errorType']}"
    ]
    if error["stackTrace"]:
        lines.append("Traceback (most recent call last):")
        lines.extend(entry.rstrip("\n") for entry in error["stackTrace"])
    sys.stdout.write(one_event("\n".join(lines)))


def stack_of(error: BaseException) -> list[str]:
    """The user's part of an exception's traceback, one text per frame: without the runtime and Python's import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_import(frame.filename)]
    while frames and frames[0].filename.startswith(_WORKER_DIR):
        del frames[0]
    return _texts(frames)


def _is_import(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename == importlib.__file__


def _texts(frames: Iterable[traceback.FrameSummary]) -> list[str]:
    # Without columns, as AWS's runtime does: no lines of carets below the source.
    plain = [(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in frames]
    return [on_aws(text) for text in traceback.format_list(plain)]


def on_aws(text: str) -> str:
    """Paths of the package as they are on AWS."""
    root = os.environ.get("LAMBDA_TASK_ROOT")
    return text.replace(root, TASK_ROOT_ON_AWS) if root else text


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose own __str__ raises
        return f"<{type(error).__name__} without a text>"
