"""What a workload's own file system holds besides what it is granted: other names for its folders, small files of its own.

Place in the flow: ``confine`` enters it by ``private_root``, ``bubblewrap`` has it made by ``bwrap``; ``landlock`` grants the same names.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from stagedoor.worker import grants, private_root
from stagedoor.worker.assignment import Assignment

_HOSTS = "/etc/hosts"


@dataclass(frozen=True, slots=True)
class OwnRoot:
    """``steps`` make it, then ``texts`` (path -> content) are written."""

    steps: list[private_root.Step]
    texts: dict[str, str]


def of(assignment: Assignment) -> OwnRoot:
    """The file system of a workload in this process's runtime. Makes the folders in its scratch directory that it needs."""
    granted = grants.of(assignment)
    _make_folders(assignment)
    others = _fellow_hosts(assignment)
    if others:
        granted = replace(granted, readable=tuple(path for path in granted.readable if path != _HOSTS))
    user, group = assignment.uid or os.getuid(), assignment.uid or os.getgid()
    texts = {
        "/etc/passwd": f"root:x:0:0:root:/:/bin/false\nworker:x:{user}:{group}::{assignment.scratch}:/bin/sh\n",
        "/etc/group": f"root:x:0:\nworker:x:{group}:\n",
    }
    if others:
        texts[_HOSTS] = (Path(_HOSTS).read_text() if Path(_HOSTS).exists() else "") + others
    return OwnRoot(private_root.plan(granted, aliases(assignment)), texts)


def aliases(assignment: Assignment) -> dict[str, str]:
    """Names that lead into the scratch directory: where AWS has things, and what else must be writable."""
    scratch = Path(assignment.scratch)
    names = {"/tmp": scratch / "tmp", "/dev/shm": scratch / ".shm"}  # noqa: S108 - the workload's own
    if assignment.kind == "function":
        names["/var/task"] = scratch / "task"
    elif assignment.kind == "job":
        names["/opt/ml"] = scratch / "opt" / "ml"
    else:
        names["/opt/ml/model"] = scratch / "model"
        names["/opt/ml/code"] = scratch / "code"
    return {name: str(place) for name, place in names.items()}


def _fellow_hosts(assignment: Assignment) -> str:
    """Lines for a job's file of hosts: all of its hosts are on this machine, and one that is alone knows its name, too."""
    names: list[str] = assignment.spec.get("config", {}).get("resourceconfig", {}).get("hosts", [])
    return f"\n127.0.0.1 {' '.join(names)}\n" if names else ""


def _make_folders(assignment: Assignment) -> None:
    for folder in map(Path, aliases(assignment).values()):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        inside = folder.relative_to(assignment.scratch)
        if os.geteuid() == 0:
            owner = assignment.uid or 0
            for part in (inside, *inside.parents[:-1]):
                os.chown(Path(assignment.scratch, part), owner, owner)
