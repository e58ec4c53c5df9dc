"""A container's own command: ContainerEntrypoint and ContainerArguments of training and processing jobs.

Place in the flow: the entry of such jobs. Their programs speak to absolute paths (``/opt/ml/…``), so the job needs a file system of its
own. A requirements.txt where the SDKs put one is noticed before: the job then runs in an environment that has its packages,
and the ``pip install`` of the SDKs' scripts finds everything there.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from stagedoor.worker import (
    script_launch,
    script_packages,
    script_requirements,
    script_source,
    script_variables,
    user_program,
)
from stagedoor.worker.job import CONTAINER_ROOT, Job, JobFailed
from stagedoor.worker.script_requirements import REQUIREMENTS, Requirements
from stagedoor.worker.script_training import STOP_GRACE_S

_SOURCE_ARCHIVE = "sourcedir.tar.gz"


def run(job: Job) -> None:
    """Run the command to its end. JobFailed when it fails."""
    _require_place(job)
    for name, text in cast("dict[str, str]", job.options.get("documents", {})).items():
        path = job.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in cast("list[str]", job.options.get("folders", [])):
        (job.root / name).mkdir(parents=True, exist_ok=True)
    script_source.copy_links(
        job.root / name for name in ("input/data/code", "input/data/sm_drivers", "processing")
    )
    _want_environment(job)
    options = job.options
    print(
        script_source.version_line(str(options.get("framework", "python")), str(options.get("version", "")))
    )
    command = [str(part) for part in cast("list[object]", options["command"])]
    scratch = job.root.parent.parent
    environment = script_launch.meeting(job) | os.environ
    environment |= {
        "PYTHONPATH": script_variables.python_path(*script_source.pip_wheel()),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{script_source.command_folder(scratch)}{os.pathsep}{environment.get('PATH', os.defpath)}",
    }
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise JobFailed(f"ClientError: the container's command {command[0]!r} is not on this machine", 127)
    try:
        ended = user_program.run(
            [program, *command[1:]],
            folder=job.place / "code",
            environment=environment,
            is_stopping=job.is_stopping,
            stop_grace_s=float(options.get("stop_grace_s", STOP_GRACE_S)),
        )
    except user_program.StartFailed as error:
        raise JobFailed(f"ClientError: {error}") from error
    if ended.exit_code != 0:
        _tell_cause(job, ended)
        raise JobFailed(
            ended.error or "the container's command printed nothing",
            ended.shell_code,
            log_text=f"stagedoor: the container's command ended with exit code {ended.shell_code}",
        )


def _tell_cause(job: Job, ended: user_program.Ended) -> None:
    """SDK v3's driver leaves that its child has failed as the reason: put before it why."""
    failure = job.output_dir / "failure"
    if not failure.is_file() or failure.is_symlink():
        return
    told = failure.read_text(errors="replace")
    if user_program.CALLED_PROCESS_ERROR in told and ended.cause:
        failure.write_text(f"{ended.cause}\n\n{told}", errors="backslashreplace")


def _require_place(job: Job) -> None:
    if job.place == CONTAINER_ROOT:
        return
    why = (
        "this system has no mount namespaces" if sys.platform != "linux" else "this process could not get it"
    )
    raise JobFailed(
        f"ClientError: a container's command needs the folder /opt/ml of its own, and {why}. `stagedoor status` says what is "
        "missing (private-root); it takes Linux with user namespaces, or the server as root"
    )


def _want_environment(job: Job) -> None:
    wanted = Requirements()
    for source, name in _sources(job):
        wanted.add(script_requirements.read(source, name))
    script_packages.want(wanted, job.options.get("prepared_for"))


def _sources(job: Job) -> Iterator[tuple[script_requirements.Source, str]]:
    """Where the SDKs put a requirements file, and its name."""
    code = job.root / "input" / "data" / "code"
    yield script_requirements.in_folder(code), _named_requirements(job.root) or REQUIREMENTS
    for folder in cast("list[str]", job.options.get("folders", [])):
        yield script_requirements.in_folder(job.root / folder), REQUIREMENTS
        archive = job.root / folder / _SOURCE_ARCHIVE
        if archive.is_file():
            yield script_requirements.in_archive(archive), REQUIREMENTS


def _named_requirements(root: Path) -> str:
    """The requirements file that SDK v3 was told of, other than the usual one."""
    try:
        source: Any = json.loads((root / "input" / "data" / "sm_drivers" / "sourcecode.json").read_text())
        name = str(source.get("requirements") or "")
    except (OSError, ValueError, AttributeError):
        return ""
    return "" if name == "auto" else os.path.normpath(name) if name else ""
