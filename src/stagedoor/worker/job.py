"""What a job's entry function is given: its configuration, its folders, and whether it is asked to stop.

Place in the flow: ``worker.job_runner`` prepares it in the job's process and calls ``entry(job)``. The folders are those
of a SageMaker training container, below ``root`` (``SCRATCH/opt/ml``) instead of ``/opt/ml``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagedoor.worker.specs import JobSpec

CONTAINER_ROOT = Path("/opt/ml")
"""Where a SageMaker container finds everything; a workload with a file system of its own finds it there, too."""


class JobFailed(Exception):
    """Raised by an entry for a failure that the user caused: its text alone becomes the failure, with no traceback.

    ``exit_code`` is how the job's process ends then: that of the user's program, if it was one that failed. ``log_text`` is what the log
    needs to say of it: a program has printed its traceback there itself.
    """

    def __init__(self, reason: str, exit_code: int = 1, *, log_text: str | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.log_text = reason if log_text is None else log_text


class EnvironmentWanted(Exception):
    """Raised by an entry that has found a requirements.txt and runs in an environment without it: ``requirements`` is its
    text. The server makes the environment, and the job begins anew in it.
    """

    def __init__(self, requirements: str) -> None:
        super().__init__("an environment with requirements is wanted")
        self.requirements = requirements


@dataclass(frozen=True, slots=True)
class Job:
    """One job. ``threads`` is how many threads it may use."""

    spec: JobSpec
    root: Path
    threads: int
    is_stopping: Callable[[], bool]
    """True after SIGTERM: finish soon (save the model, return); SIGKILL follows after the grace time."""

    def config(self, name: str) -> Any:
        """One of the spec's configurations: ``hyperparameters``, ``inputdataconfig``, ``resourceconfig``; None if absent."""
        return self.spec.get("config", {}).get(name)

    @property
    def place(self) -> Path:
        """``/opt/ml`` where this job has it, else where it really is: what programs of the user are told."""
        try:
            return CONTAINER_ROOT if CONTAINER_ROOT.samefile(self.root) else self.root
        except OSError:
            return self.root

    @property
    def options(self) -> dict[str, Any]:
        """The entry's own options from the spec."""
        return self.spec.get("options", {})

    def channel(self, name: str) -> Path:
        """The folder of a channel's files."""
        return self.root / "input" / "data" / name

    @property
    def channels(self) -> list[str]:
        """Names of the channels."""
        return list(self.spec.get("channels", []))

    @property
    def model_dir(self) -> Path:
        """What is written here becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output_dir(self) -> Path:
        """``failure`` and the packed archives are here."""
        return self.root / "output"

    @property
    def output_data_dir(self) -> Path:
        """What is written here becomes ``output.tar.gz`` if the spec says ``pack_output``."""
        return self.root / "output" / "data"
