"""Finding every process that a workload has left behind, also daemons that made a session of their own.

Place in the flow: ``process.become`` tags the workload's process, ``parent`` kills what still has the tag when that
process is gone. Linux: the tag is the limit on real-time CPU time, which means nothing to a process without real-time
scheduling, passes through fork, exec and setsid, and cannot be raised again without privilege; orphans become children of
the parent (it is their subreaper), so only its own children need a look. Elsewhere only the process group is killed.
"""

import contextlib
import os
import resource
import signal
import sys
import time
from pathlib import Path

_TAG_BASE_US = 1_000_000_000_000  # eleven days of CPU time: far beyond every real use of this limit
_TRIES = 500
_PAUSE_S = 0.002


def wear_tag(tag: int) -> None:
    """Tag the calling process and all its future descendants."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_RTTIME, (_TAG_BASE_US + tag, _TAG_BASE_US + tag))


def tagged() -> dict[int, list[int]]:
    """All living processes that wear a tag, by tag. Tags of other servers on the machine are among them. Linux only."""
    found: dict[int, list[int]] = {}
    if sys.platform != "linux":
        return found
    for pid in (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()):
        limit_us = _limit_us(pid)
        if limit_us is not None and limit_us >= _TAG_BASE_US:
            found.setdefault(limit_us - _TAG_BASE_US, []).append(pid)
    return found


def adopt_orphans() -> None:
    """Make orphaned descendants children of the calling process, where the system can (Linux)."""
    if sys.platform == "linux":
        from stagedoor.worker import linux

        linux.become_subreaper()


def kill_orphans(tag: int | None, known: frozenset[int]) -> None:
    """Kill the adopted children that wear ``tag`` (None: all), and theirs, until none is left. Reaps them, too."""
    if sys.platform != "linux":
        return
    for _ in range(_TRIES):
        alive = False
        for pid in _children():
            if pid in known or (tag is not None and not _wears(pid, tag)):
                continue
            alive = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not alive:
            return
        time.sleep(_PAUSE_S)


def _wears(pid: int, tag: int) -> bool:
    return _limit_us(pid) == _TAG_BASE_US + tag


def _limit_us(pid: int) -> int | None:
    """The hard limit that holds tags; None for a process that is gone."""
    if sys.platform != "linux":
        return None
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except PermissionError:
        # Another user's. Without privilege no workload can become one, and most processes of a machine are; where root lacks
        # capabilities they can, and /proc is asked, which takes twenty times as long.
        if os.geteuid() != 0:
            return None
    except OSError:
        return None
    try:
        lines = Path(f"/proc/{pid}/limits").read_bytes().splitlines()
        line = next((line for line in lines if line.startswith(b"Max realtime timeout")), b"")
        hard = line.split()[4]
        return int(hard) if hard.isdigit() else None
    except (OSError, IndexError):
        return None


def _children() -> list[int]:
    """Children of this process, zombies included."""
    me = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{me}/children").read_text().split()]
    except OSError:
        return [
            pid
            for pid in map(int, filter(str.isdigit, (entry.name for entry in Path("/proc").iterdir())))
            if parent_of(pid) == me
        ]


def parent_of(pid: int) -> int | None:
    """The process that a process has for its parent; None for one that is gone. Linux only."""
    try:
        # The command in brackets may hold spaces and brackets itself: count from its last one.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
