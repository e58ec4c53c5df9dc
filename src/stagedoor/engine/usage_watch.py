"""Ends workloads that use more memory or more processes than they may, as AWS ends a function: by SIGKILL.

Place in the flow: ``local`` runs it while workloads run. The limits in the processes themselves (``worker.confine``) hold for each process
alone, must leave room for the stacks of threads, and count no processes of root; here everything that a workload has started is
counted together, daemons too: they all wear its number (``worker.descendants``). Linux only.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stagedoor.worker import descendants

log = logging.getLogger(__name__)

_INTERVAL_S = 0.5
_MB = 1024 * 1024
# Control groups, version 2 and 1. Without a limit they say `max`, or a number beyond every machine.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True, slots=True)
class Limited:
    """A running workload, its number, and its limits. What it shares with ``parent_pid`` is not counted.

    ``memory_setting`` is where a person finds the limit of its memory.
    """

    workload_id: str
    tag: int
    parent_pid: int
    limit_bytes: int | None
    limit_processes: int | None
    memory_setting: str


@dataclass(frozen=True, slots=True)
class Excess:
    """Why a workload has to go; ``text`` goes on after "it uses"."""

    workload_id: str
    text: str


class UsageWatch:
    """Looks at what ``limited`` gives, again and again, and has ``kill`` end what is beyond its limits."""

    def __init__(
        self, limited: Callable[[], Iterable[Limited]], kill: Callable[[Excess], Awaitable[None]]
    ) -> None:
        self._limited = limited
        self._kill = kill

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            candidates = list(self._limited())
            if candidates:
                for each in await asyncio.to_thread(beyond_limits, candidates):
                    log.warning(
                        "a workload is ended: it uses %s", each.text, extra={"workload": each.workload_id}
                    )
                    await self._kill(each)


@dataclass(frozen=True, slots=True)
class _Process:
    """One process: who started it, its threads, and its resident memory that is no file's."""

    parent_pid: int
    threads: int
    anonymous_bytes: int


def machine_memory_bytes() -> int | None:
    """What this machine has, or the container that this process runs in; None where neither says."""
    found: list[int] = []
    with contextlib.suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(ValueError, OSError):
            found.append(int(path.read_text()))
    return min((size for size in found if size > 0), default=None)


def beyond_limits(candidates: Iterable[Limited]) -> list[Excess]:
    """Those that use more than they may. Blocks."""
    by_tag = descendants.tagged()
    shared: dict[int, int] = {}
    found: list[Excess] = []
    for each in candidates:
        processes = {pid: seen for pid in by_tag.get(each.tag, ()) if (seen := _look(pid)) is not None}
        if each.limit_processes is not None:
            # The main thread of each process, and the others.
            count = sum(process.threads for process in processes.values())
            if count > each.limit_processes:
                text = f"{count} processes and threads and may use {each.limit_processes}"
                found.append(Excess(each.workload_id, text))
                continue
        if each.limit_bytes is not None:
            if each.parent_pid not in shared:
                parent = _look(each.parent_pid)
                shared[each.parent_pid] = parent.anonymous_bytes if parent else 0
            used_bytes = own_bytes(processes, shared[each.parent_pid])
            if used_bytes > each.limit_bytes:
                used, limit = f"{used_bytes // _MB} MB", f"{each.limit_bytes // _MB} MB"
                text = f"{used} of memory and may use {limit} ({each.memory_setting})"
                found.append(Excess(each.workload_id, text))
    return found


def own_bytes(processes: dict[int, _Process], shared_bytes: int) -> int:
    """What the processes of one workload use together.

    A fork shares its memory with who forked it until one of them writes: of each process counts what it has beyond the
    one that started it, or beyond the warm parent.
    """
    total = 0
    for process in processes.values():
        starter = processes.get(process.parent_pid)
        total += max(0, process.anonymous_bytes - (starter.anonymous_bytes if starter else shared_bytes))
    return total


def _look(pid: int) -> _Process | None:
    """None for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_bytes().splitlines()
    except OSError:
        return None
    fields = {name: value for name, _, value in (line.partition(b":") for line in lines)}
    anonymous_kb = sum(int(fields[name].split()[0]) for name in (b"RssAnon", b"RssShmem") if name in fields)
    return _Process(int(fields.get(b"PPid", b"0")), int(fields.get(b"Threads", b"1")), anonymous_kb * 1024)
