"""What a job's process left: its archives, and why it failed if it did.

Place in the flow: ``act`` looks here when the engine told the process's exit, before the engine clears its directory.
The process is not trusted: only plain files in the directory itself count.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stagedoor.engine.interface import ENDED_FOR, HOUSE, LOST_EXIT
from stagedoor.worker.specs import MAX_REQUIREMENTS_BYTES, REQUIREMENTS_FILE, WANTS_ENVIRONMENT_EXIT

_FAILURE_CHARACTERS = 1024
_FAILURE_BYTES = 64 * 1024
_OUTPUT = "opt/ml/output"
INTERNAL = "InternalServerError:"
_LOST = f"{INTERNAL} the process that the job ran in was lost. Please try again."
_KINDS = ("ClientError:", "AlgorithmError:", INTERNAL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``reason`` is empty for success. The archives are None where there are none.

    ``requirements`` has the text of a requirements.txt when the program has not run for want of it.
    """

    reason: str
    model_archive: Path | None
    output_archive: Path | None
    requirements: str = ""


def outcome(scratch: Path, exit_code: int, last_lines: Sequence[str]) -> Outcome:
    """Read what the job left in ``scratch``. Blocks."""
    if exit_code == WANTS_ENVIRONMENT_EXIT:
        wanted = left_text(scratch, REQUIREMENTS_FILE, MAX_REQUIREMENTS_BYTES)
        if wanted is not None:
            return Outcome("", None, None, wanted)
    reason = _LOST if exit_code == LOST_EXIT else ""
    if exit_code not in (0, LOST_EXIT):
        failure = left_text(scratch, f"{_OUTPUT}/failure", _FAILURE_BYTES) or ""
        reason = failure_reason(exit_code, failure.strip(), last_lines)
    return Outcome(
        reason,
        _plain_file(scratch, f"{_OUTPUT}/model.tar.gz"),
        _plain_file(scratch, f"{_OUTPUT}/output.tar.gz"),
    )


def left_text(scratch: Path, name: str, most: int) -> str | None:
    """The beginning of a text file that the job left; None when there is none. Blocks."""
    path = _plain_file(scratch, name)
    if path is None:
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(most)


def _plain_file(scratch: Path, name: str) -> Path | None:
    """Its path, when it is a regular file and no part of the way to it is a link to elsewhere."""
    path = scratch / name
    for part in (path, *path.parents):
        if part == scratch:
            break
        if part.is_symlink():
            return None
    return path if path.is_file() else None


def failure_reason(exit_code: int, failure: str, last_lines: Sequence[str]) -> str:
    """AWS's FailureReason: whose mistake, what it was, and the end of the traceback or of the log."""
    if failure.startswith(_KINDS):
        return failure[:_FAILURE_CHARACTERS]
    if exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else str(-exit_code)
        hint = " (often: out of memory)" if name == "SIGKILL" else ""
        if last_lines and last_lines[-1].startswith(ENDED_FOR):
            hint = last_lines[-1].removeprefix(f"{HOUSE}ended")
            last_lines = []
        failure = f"the algorithm was ended by {name}{hint}" + (f"\n{failure}" if failure else "")
    if not failure:
        failure = "the algorithm exited without saying why"
    if last_lines and "Traceback" not in failure and last_lines[-1] not in failure:
        failure += "\n" + "\n".join(last_lines[-5:])
    end = f", exit code: {exit_code if exit_code >= 0 else 128 - exit_code}"
    return _shortened(f"AlgorithmError: {failure}", _FAILURE_CHARACTERS - len(end)) + end


def deciding_reason(reasons: Sequence[str]) -> str:
    """Of the reasons of hosts that failed, the earliest first, the one that is not an echo of another host's failure."""
    clients = (reason for reason in reasons if reason.startswith("ClientError:"))
    return next(clients, next(iter(reasons), ""))


def _shortened(text: str, length: int) -> str:
    """The beginning (what) and the end (where) of a text that is too long."""
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head]} … {text[-(length - head - 3) :]}"
