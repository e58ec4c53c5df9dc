"""A training script of the user, run as AWS's framework containers run it.

Place in the flow: the entry of training jobs in script mode (``sagemaker_program`` among the hyperparameters). The source comes as
``source.tar.gz`` from S3 or lies in a channel; it is put to ``/opt/ml/code`` and run with SM_* variables and the hyperparameters
as arguments. What the script prints is the log, how it ends is how the job ends.
"""

import os
import shlex
import sys
from pathlib import Path

from stagedoor.worker import (
    script_launch,
    script_packages,
    script_requirements,
    script_source,
    script_variables,
    user_program,
)
from stagedoor.worker.archives import ArchiveError
from stagedoor.worker.job import Job, JobFailed

SOURCE_FILE = "source.tar.gz"
STOP_GRACE_S = 110.0
"""Less than what the server gives: the model is packed afterwards."""


def train(job: Job) -> None:
    """Run the script to its end. JobFailed as AWS words it when it fails."""
    container = script_variables.split(script_variables.decoded(job.config("hyperparameters") or {}))[1]
    program = str(container.get("sagemaker_program") or "")
    if not program:
        raise JobFailed(
            "ClientError: the image is a framework, which trains with a script of yours: the hyperparameters "
            "sagemaker_program (its name) and sagemaker_submit_directory (s3://…/sourcedir.tar.gz) are missing"
        )
    code = job.root / "code"
    submitted = str(container.get("sagemaker_submit_directory") or job.place / "code")
    _bring_source(job, submitted, code)
    options = job.options
    packages = script_packages.ready(
        script_requirements.read(script_requirements.in_folder(code)),
        code,
        job.root.parent.parent / script_packages.FOLDER,
        options.get("prepared_for"),
    )
    print(
        script_source.version_line(str(options.get("framework", "python")), str(options.get("version", "")))
    )
    if not (code / program).is_file():
        there = ", ".join(sorted(path.name for path in code.iterdir())) or "nothing"
        raise JobFailed(
            f"ClientError: ImportModuleError: the source has no {program} (sagemaker_program); it has: {there}"
        )
    told, given = script_variables.of_training(job, program, submitted)
    is_package = (code / "setup.py").is_file()
    command = script_launch.command(job, program, given, container, is_package=is_package)
    _run(job, command, told, packages)


def _bring_source(job: Job, submitted: str, code: Path) -> None:
    archive = job.root.parent.parent / SOURCE_FILE
    if not submitted.startswith("s3://"):
        path = Path(submitted)
        # A path in the container: a folder or an archive of a channel, when the job has no network.
        inside = job.root / path.relative_to("/opt/ml") if path.is_relative_to("/opt/ml") else path
        if inside.is_dir():
            script_source.copy_links([inside])
            if inside != code:
                for each in inside.iterdir():
                    (code / each.name).symlink_to(each)
            return
        archive = inside
    if not archive.is_file():
        raise JobFailed(f"ClientError: there is no source at sagemaker_submit_directory {submitted}")
    try:
        script_source.unpack(archive, code)
    except ArchiveError as error:
        raise JobFailed(f"ClientError: the source {submitted} cannot be unpacked: {error}") from error


def _run(job: Job, command: list[str], told: dict[str, str], packages: list[Path]) -> None:
    code = job.place / "code"
    scratch = job.root.parent.parent
    environment = script_launch.meeting(job) | os.environ | told
    environment |= {
        "PYTHONPATH": script_variables.python_path(code, *packages, *script_source.pip_wheel()),
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join(
            [
                str(script_source.command_folder(scratch)),
                *(f"{folder}/bin" for folder in packages),
                environment.get("PATH", os.defpath),
            ]
        ),
    }
    shown = shlex.join(["python", *command[1:]] if command[0] == sys.executable else command)
    print(f"Invoking script with the following command:\n\n{shown}\n")
    try:
        ended = user_program.run(
            command,
            folder=code,
            environment=environment,
            is_stopping=job.is_stopping,
            stop_grace_s=float(job.options.get("stop_grace_s", STOP_GRACE_S)),
        )
    except user_program.StartFailed as error:
        raise JobFailed(f"ClientError: {error}") from error
    if ended.exit_code != 0:
        raise JobFailed(
            f'ExecuteUserScriptError:\nExitCode {ended.shell_code}\nErrorMessage "{ended.error}"\nCommand "{shown}"',
            ended.shell_code,
            log_text=f'ExecuteUserScriptError: exit code {ended.shell_code}, command "{shown}"',
        )
