"""The processes of one job, one for each of its hosts, from their start to their end.

Place in the flow: ``act`` of training and processing hands over a workload for each host; what they leave is in their scratch directories
until ``clear``.
All hosts share a fate: when one fails, the others have no use and are killed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from stagedoor.engine.interface import Engine, EngineError, Workload
from stagedoor.reconcile.jobs.outcome import Outcome, deciding_reason, outcome
from stagedoor.reconcile.jobs.stop_signal import StopSignal
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.traffic.log_writer import LogPlace

_KILL_GRACE_S = 5.0
_ECHO_S = 1.0

Beside = Callable[[Sequence[Path]], AbstractAsyncContextManager[None]]
"""What goes on while the hosts run, given their scratch directories."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One host's process after its end."""

    scratch: Path
    exit_code: int
    last_lines: list[str]


@dataclass(frozen=True, slots=True)
class Left:
    """What the hosts left, in their order. ``failed``: the indices of those that failed by themselves, the earliest first."""

    ends: Sequence[Ended]
    outcomes: Sequence[Outcome]
    failed: Sequence[int]

    @property
    def scratches(self) -> list[Path]:
        """The hosts' directories."""
        return [end.scratch for end in self.ends]

    @property
    def requirements(self) -> str:
        """What a program wants installed before it runs; empty when it ran."""
        return next((each.requirements for each in self.outcomes if each.requirements), "")

    @property
    def reason(self) -> str:
        """Why the job failed; empty when no host failed by itself."""
        return deciding_reason([self.outcomes[number].reason for number in self.failed])


class Hosts:
    """Runs the processes of jobs. Used on one event loop."""

    def __init__(self, engine: Engine, logs: WorkerLogs, stop_grace_s: float) -> None:
        self._engine = engine
        self._logs = logs
        self._stop_grace_s = stop_grace_s
        self._exits: dict[str, asyncio.Future[int]] = {}

    def exited(self, workload_id: str, exit_code: int) -> None:
        """An ``engine.interface.ExitListener``; other workloads are somebody else's."""
        exited = self._exits.get(workload_id)
        if exited is not None and not exited.done():
            exited.set_result(exit_code)

    async def run(
        self, workloads: Sequence[tuple[Workload, LogPlace]], stop: StopSignal, beside: Beside
    ) -> Left:
        """Start them all, and wait for their ends. EngineError when one cannot be started or ended."""
        loop = asyncio.get_running_loop()
        scratches: list[Path] = []
        for workload, place in workloads:
            self._exits[workload.id] = loop.create_future()
            self._logs.attach(workload.id, place)
            scratches.append(Path((await self._engine.start(workload)).scratch))
        ids = [workload.id for workload, _ in workloads]
        async with beside(scratches):
            failed = await self._until_exit(ids, stop)
        ends: list[Ended] = []
        for workload_id, scratch in zip(ids, scratches, strict=True):
            last_lines = self._logs.last_lines(workload_id)
            self._logs.detach(workload_id)
            ends.append(Ended(scratch, self._exits[workload_id].result(), last_lines))
        await self._logs.drained()
        outcomes = [
            await asyncio.to_thread(outcome, end.scratch, end.exit_code, end.last_lines) for end in ends
        ]
        return Left(ends, outcomes, failed)

    async def clear(self, workload_ids: Sequence[str]) -> None:
        """Nothing is left running or on disk."""
        await asyncio.gather(*(self._engine.stop(workload_id, _KILL_GRACE_S) for workload_id in workload_ids))
        for workload_id in workload_ids:
            self._exits.pop(workload_id, None)
            self._logs.detach(workload_id)

    async def _until_exit(self, ids: Sequence[str], stop: StopSignal) -> list[int]:
        stopped = asyncio.ensure_future(stop.wait())
        exits = {self._exits[workload_id]: index for index, workload_id in enumerate(ids)}
        waiting: set[asyncio.Future[int]] = set(exits)
        failed: list[int] = []
        try:
            while waiting and not stop.cause and not failed:
                await asyncio.wait((*waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
                failed += _failed(waiting, exits)
                waiting = {each for each in waiting if not each.done()}
            if failed and waiting and not stop.cause:
                # Who misses it fails, too, and may even be told first: its reason is the worse one.
                await asyncio.wait(waiting, timeout=_ECHO_S)
                failed += _failed(waiting, exits)
                waiting = {each for each in waiting if not each.done()}
            if waiting and stop.cause:
                await self._signal(ids, waiting, exits)
                _, waiting = await asyncio.wait(waiting, timeout=self._stop_grace_s)
            if waiting:
                await self._signal(ids, waiting, exits, kill=True)
                _, waiting = await asyncio.wait(waiting, timeout=_KILL_GRACE_S)
        finally:
            stopped.cancel()
        if waiting:
            raise EngineError("the process does not end")
        return failed

    async def _signal(
        self,
        ids: Sequence[str],
        waiting: set[asyncio.Future[int]],
        exits: dict[asyncio.Future[int], int],
        *,
        kill: bool = False,
    ) -> None:
        await asyncio.gather(*(self._engine.terminate(ids[exits[each]], kill=kill) for each in waiting))


def _failed(waiting: set[asyncio.Future[int]], exits: dict[asyncio.Future[int], int]) -> list[int]:
    return sorted(exits[each] for each in waiting if each.done() and each.result() != 0)
