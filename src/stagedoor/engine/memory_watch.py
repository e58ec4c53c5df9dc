"""Ends workloads that use more memory than they may, as AWS ends a function: by SIGKILL.

Place in the flow: ``local`` runs it while workloads with a limit run. The limit in the process itself (``worker.confine``) must leave
room for the stacks of threads, which are reserved and hardly used; here is counted what is really in use. Linux only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Limited:
    """A running workload with a limit. What it shares with ``parent_pid`` is not counted."""

    workload_id: str
    pid: int
    parent_pid: int
    limit_bytes: int


class MemoryWatch:
    """Looks at what ``limited`` gives, again and again, and has ``kill`` end what is beyond its limit."""

    def __init__(
        self, limited: Callable[[], Iterable[Limited]], kill: Callable[[str], Awaitable[None]]
    ) -> None:
        self._limited = limited
        self._kill = kill

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            candidates = list(self._limited())
            if candidates:
                for each, used_bytes in await asyncio.to_thread(beyond_limit, candidates):
                    log.warning(
                        "a workload is ended: it uses %d bytes of memory of its own and may use %d",
                        used_bytes,
                        each.limit_bytes,
                        extra={"workload": each.workload_id},
                    )
                    await self._kill(each.workload_id)


def beyond_limit(candidates: Iterable[Limited]) -> list[tuple[Limited, int]]:
    """Those that use more than they may, and how much. Blocks."""
    shared: dict[int, int] = {}
    found: list[tuple[Limited, int]] = []
    for each in candidates:
        if each.parent_pid not in shared:
            shared[each.parent_pid] = _anonymous_bytes(each.parent_pid)
        used_bytes = _anonymous_bytes(each.pid) - shared[each.parent_pid]
        if used_bytes > each.limit_bytes:
            found.append((each, used_bytes))
    return found


def _anonymous_bytes(pid: int) -> int:
    """Memory that is no file's, resident now; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
