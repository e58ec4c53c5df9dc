"""What isolation workloads get on this machine, and what the engine does for it: users, readable files, the probe.

Place in the flow: ``local`` asks once per Python, before it starts the first workload there, and tells ``app``, which names the
rungs at start, in ``stagedoor status`` and in the health answer. The ladder itself is ``worker.confine``.
"""

import asyncio
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import stagedoor.worker
from stagedoor.engine.runtimes import Runtime
from stagedoor.worker import division
from stagedoor.worker.assignment import Assignment

Mode = Literal["auto", "strict", "none"]

_START_PROGRAM = Path(stagedoor.worker.__file__).with_name("start.py")
_PROBE_TIMEOUT_S = 30.0
_MANY_FILES = 16
# The rungs that bubblewrap gives, too.
_NAMESPACES = ("own-process-numbers", "private-root", "no-network")

# Above what distributions, containers and systemd hand out, below the last number that a signed 32-bit id can have.
_FIRST_UID, _UIDS_PER_SERVER, _SERVERS = 1_900_000_000, 100_000, 2_400


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is in force: the names of the rungs, and why others are not (rung -> reason). ``launcher``: the bwrap that starts workloads."""

    mode: Mode
    rungs: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    launcher: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"mode": self.mode, "rungs": list(self.rungs), "missing": dict(self.missing)}


class Users:
    """User ids that nobody else on this machine has, for workloads of a server that is root."""

    def __init__(self) -> None:
        self._first = _FIRST_UID + secrets.randbelow(_SERVERS) * _UIDS_PER_SERVER

    def uid(self, number: int) -> int:
        """The id for the workload with this number; another one for each of 100,000 that follow each other."""
        return self._first + number % _UIDS_PER_SERVER


async def probe(
    mode: Mode,
    runtime: Runtime,
    scratch: Path,
    private: Iterable[Path],
    environment: Mapping[str, str],
    uid: int,
) -> Isolation:
    """Try it: a process climbs the whole ladder as a model would, in the empty directory ``scratch``.

    With ``strict`` the answer is the same as with ``auto``: what is missing will end the workloads, not the probe. Where the process
    itself may not make the namespaces, it is tried once more under bubblewrap.
    """
    assignment = Assignment(
        id="probe",
        kind="model",
        spec={},
        environment={},
        scratch=str(scratch),
        address="",
        read_only=[],
        memory_limit_bytes=1024**3,
        threads=1,
        tag=0,
        isolation="none" if mode == "none" else "auto",
        connect_ports=[],
        private=[str(folder) for folder in private],
        uid=uid if os.geteuid() == 0 and mode != "none" else None,
        namespaces=division.namespaces(),
    )
    try:
        found = await _climb(mode, runtime, assignment, environment)
        lacking = [name for name in _NAMESPACES if name in found.missing]
        if not lacking or sys.platform != "linux":
            return found
        launcher = shutil.which("bwrap")
        if launcher is None:
            why = "bwrap is not installed"
        else:
            try:
                under = await _climb(mode, runtime, replace(assignment, launcher=launcher), environment)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                why = str(error)
            else:
                if "bubblewrap" in under.rungs and not any(name in under.missing for name in _NAMESPACES):
                    return replace(under, launcher=launcher)
                why = next(
                    (under.missing[name] for name in _NAMESPACES if name in under.missing), "it does not work"
                )
        refused = f"{lacking[0]}: {found.missing[lacking[0]]}; bubblewrap: {why}"
        return replace(found, missing={"bubblewrap": refused, **found.missing})
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        return Isolation(mode, (), {"all": f"the probe on {runtime.python} failed: {error}"})


async def _climb(
    mode: Mode, runtime: Runtime, assignment: Assignment, environment: Mapping[str, str]
) -> Isolation:
    """What one way gives. A rung that breaks half-way is left out in another try, as nothing can be said of what comes after it."""
    while True:
        order = {"path": [str(folder) for folder in runtime.path], "assignment": assignment.as_json()}
        answer = await asyncio.to_thread(_ask, runtime.python, json.dumps(order).encode(), dict(environment))
        if answer["broken"] is None or answer["broken"] in assignment.known_missing:
            return Isolation(mode, tuple(answer["rungs"]), answer["missing"])
        missing = {**assignment.known_missing, **answer["missing"]}
        # Who stays root is given no folders of another user's: without capabilities root has no way into them.
        owner = None if "separate-user" in missing else assignment.uid
        assignment = replace(assignment, known_missing=missing, uid=owner)


def _ask(python: Path, order: bytes, environment: dict[str, str]) -> dict[str, Any]:
    reading, writing = os.pipe()
    try:
        command = [str(python), "-I", str(_START_PROGRAM), "probe", str(reading)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[reading],
            env=environment,
            start_new_session=True,
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(order + b"\n")
    try:
        output, errors = process.communicate(timeout=_PROBE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0 or not output:
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or [
            f"exit code {process.returncode}"
        ]
        raise ValueError(last[0])
    return json.loads(output)


def readable(files: Mapping[str, Path], *, to_others: bool) -> list[str]:
    """What a workload with these files is granted: each file, or a folder that holds many of them and nothing else.

    ``to_others``: the workload is another user. Its files lie in folders of mode 0700, so making the files themselves readable
    shows them to nobody who is not given their place. Blocks.
    """
    by_folder: dict[Path, set[str]] = {}
    for target in files.values():
        by_folder.setdefault(target.parent, set()).add(target.name)
    granted: list[str] = []
    for folder, names in by_folder.items():
        whole = len(names) >= _MANY_FILES and {entry.name for entry in os.scandir(folder)} == names
        granted += [str(folder)] if whole else [str(folder / name) for name in sorted(names)]
        if to_others:
            for name in names:
                _open_to_others(folder / name, 0o044)
            if whole:
                _open_to_others(folder, 0o055)
    return granted


def _open_to_others(path: Path, bits: int) -> None:
    status = path.stat()
    if status.st_uid == os.geteuid() and status.st_mode & bits != bits:
        path.chmod(stat.S_IMODE(status.st_mode) | bits)
