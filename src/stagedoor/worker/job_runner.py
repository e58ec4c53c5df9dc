"""Runs one job: makes the container layout, calls the entry, packs what it wrote, says why it failed.

Place in the flow: the entry of workloads of kind ``job`` (training). The server reads ``opt/ml/output`` of the scratch
directory when the process has ended: exit code 0 and the packed archives, or exit code 1 and ``failure``.
"""

import errno
import gzip
import json
import shutil
import signal
import tarfile
import traceback
from pathlib import Path
from typing import cast

from stagedoor.worker.job import EnvironmentWanted, Job, JobFailed
from stagedoor.worker.model_server import algorithm_module, describe
from stagedoor.worker.process import Process
from stagedoor.worker.specs import REQUIREMENTS_FILE, WANTS_ENVIRONMENT_EXIT, JobSpec

# AWS shows the first 1,024 characters of this file as part of the FailureReason.
_MAX_FAILURE_CHARACTERS = 64 * 1024
_COMPRESSION_LEVEL = 6


class _StopFlag:
    """Set by SIGTERM: the entry asks, so that it can finish the round it is in and save."""

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGTERM, self._set)

    def _set(self, *_: object) -> None:
        self.is_set = True


def run(process: Process) -> int:
    """The exit code: 0 when the entry returned, 1 when it raised."""
    spec = cast(JobSpec, process.assignment.spec)
    stop = _StopFlag()
    job = Job(spec, process.scratch / "opt" / "ml", process.assignment.threads, lambda: stop.is_set)
    try:
        _lay_out(job)
        _call_entry(job)
        _pack(job)
        return 0
    except SystemExit as ending:
        if ending.code in (None, 0):
            _pack(job)
            return 0
        write_failure(job.output_dir, f"the job ended itself with exit code {ending.code}")
        raise
    except EnvironmentWanted as wanted:
        (process.scratch / REQUIREMENTS_FILE).write_text(wanted.requirements)
        return WANTS_ENVIRONMENT_EXIT
    except JobFailed as failure:
        print("stagedoor: the job was told to stop" if stop.is_set else failure.log_text)
        if not _has_failure(job.output_dir):  # what the user's own program wrote says more
            write_failure(job.output_dir, str(failure))
        if stop.is_set and any(job.model_dir.iterdir()):
            _pack(job)  # what was saved until the end that somebody asked for
        return failure.exit_code
    except Exception as error:  # noqa: BLE001 - whatever the entry raises is the job's failure
        text = traceback.format_exc()
        print(text, end="")
        is_machines = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_machines:
            reason = f"InternalServerError: {describe(error)}: the disk has no room for what the job writes"
        else:
            reason = f"{describe(error)}\n\n{text}"
        write_failure(job.output_dir, reason)
        return 1


def _has_failure(output_dir: Path) -> bool:
    failure = output_dir / "failure"
    return failure.is_file() and failure.stat().st_size > 0


def _lay_out(job: Job) -> None:
    """The folders and configuration files that a training container finds."""
    for folder in (job.root / "input" / "config", job.model_dir, job.output_data_dir, job.root / "code"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, document in job.spec.get("config", {}).items():
        (job.root / "input" / "config" / f"{name}.json").write_text(json.dumps(document))
    for name in job.channels:
        job.channel(name).mkdir(parents=True, exist_ok=True)
    job.output_dir.mkdir(parents=True, exist_ok=True)
    _reserve(job.output_dir).write_bytes(bytes(_MAX_FAILURE_CHARACTERS))


def _call_entry(job: Job) -> None:
    module_name, colon, function_name = job.spec["entry"].partition(":")
    if not colon:
        raise ValueError(f"the entry must be module:function, not {job.spec['entry']!r}")
    getattr(algorithm_module(module_name), function_name)(job)


def write_failure(output_dir: Path, text: str) -> None:
    """Leave the reason of a failure where the server looks for it."""
    output_dir.mkdir(parents=True, exist_ok=True)
    _reserve(output_dir).unlink(missing_ok=True)
    (output_dir / "failure").write_text(text[:_MAX_FAILURE_CHARACTERS], errors="backslashreplace")


def _reserve(output_dir: Path) -> Path:
    """Room for the reason of a failure on a disk that the job itself has filled."""
    return output_dir / ".reserve"


def _pack(job: Job) -> None:
    if job.spec.get("pack_model", False):
        pack(job.model_dir, job.output_dir / "model.tar.gz")
    if job.spec.get("pack_output", False) and any(job.output_data_dir.iterdir()):
        pack(job.output_data_dir, job.output_dir / "output.tar.gz")


def pack(folder: Path, archive: Path) -> None:
    """All that is in ``folder``, as a gzipped tar with the same bytes for the same files."""
    partial = archive.with_name(archive.name + ".partial")
    try:
        with (
            partial.open("wb") as file,
            gzip.GzipFile(
                filename="", mode="wb", compresslevel=_COMPRESSION_LEVEL, fileobj=file, mtime=0
            ) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as target,
        ):
            for entry in sorted(folder.iterdir()):
                target.add(entry, arcname=entry.name, filter=_anonymous)
    except BaseException:
        partial.unlink(missing_ok=True)  # on a full disk it would take what room there is
        raise
    shutil.move(partial, archive)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without whose machine it was; sockets and pipes are left out."""
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
