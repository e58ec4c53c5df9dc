"""The isolation ladder: what takes rights away from a workload's process before the user's code runs, rung by rung.

Place in the flow: ``process.become`` calls ``confine`` once, after files and sockets are in place and before the entry.
Each rung is a function that takes the assignment and says whether it is in force; a rung that the system cannot give
is left out, and the names of those in force go to the server in the HELLO. Rungs are applied in the order of ``_RUNGS``:
what needs rights (namespaces, another user) goes before what gives them up.
"""

import contextlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from stagedoor.worker.assignment import Assignment

_THREAD_STACKS_BYTES = 512 * 1024 * 1024

Rung = Callable[[Assignment], bool]


def confine(assignment: Assignment) -> list[str]:
    """Climb the ladder; the names of the rungs in force."""
    return [name for name, rung in _RUNGS if rung(assignment)]


def _no_core_dumps(_: Assignment) -> bool:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return True


def _killed_first(_: Assignment) -> bool:
    """When the machine runs out of memory, the kernel ends workers before the server."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
        return True
    return False


def _memory(assignment: Assignment) -> bool:
    """Bound what the process may allocate itself, on top of what it shares with its warm parent.

    RLIMIT_DATA and not RLIMIT_AS: numeric libraries reserve much more address space than they use. The stacks of threads
    count, too (8 MiB each, hardly used), so there is room for them; the engine watches what is really in use.
    """
    if assignment.memory_limit_bytes is None or sys.platform != "linux":
        return False
    limit = _data_bytes() + assignment.memory_limit_bytes + _THREAD_STACKS_BYTES
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        return True
    return False


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _no_new_privileges(_: Assignment) -> bool:
    if sys.platform != "linux":
        return False
    from stagedoor.worker import linux

    with contextlib.suppress(OSError):
        linux.gain_no_privileges()
        return True
    return False


_RUNGS: tuple[tuple[str, Rung], ...] = (
    ("no-core-dumps", _no_core_dumps),
    ("killed-first", _killed_first),
    ("memory-limit", _memory),
    ("no-new-privileges", _no_new_privileges),
)
