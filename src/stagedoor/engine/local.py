"""The engine of local processes: warm parents fork one process per workload on this machine.

Place in the flow: the default implementation of ``engine.interface``. Here are the workloads and what is known of them;
``warm_parent`` makes and signals processes, ``output_pipe`` reads what they write, ``scratch`` keeps their directories. Nothing
outlives the server: parents go when their socket ends, and take their children with them.
"""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from stagedoor.engine import isolation, processors, scratch
from stagedoor.engine.environments import Environments
from stagedoor.engine.interface import (
    ENDED_FOR,
    LOST_EXIT,
    Condition,
    EngineError,
    ExitListener,
    OutputListener,
    Placement,
    RuntimeUnavailableError,
    Workload,
)
from stagedoor.engine.isolation import Isolation, Users
from stagedoor.engine.output_pipe import OutputPipe
from stagedoor.engine.runtimes import Runtime, default_runtimes
from stagedoor.engine.usage_watch import Excess, Limited, UsageWatch, machine_memory_bytes
from stagedoor.engine.warm_parent import WarmParent, inherited_environment
from stagedoor.worker import division
from stagedoor.worker.assignment import Assignment
from stagedoor.worker.confine import MAX_PROCESSES
from stagedoor.worker.threads import VARIABLES as THREAD_VARIABLES

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_CLOSE_GRACE_S: Final = 2.0
_KILL_WAIT_S: Final = 5.0
_PARENTS_LOOK_S: Final = 30.0


class _Run:
    """One workload from ``start`` to ``stop``."""

    def __init__(self, workload: Workload, parent: WarmParent, packages: Path | None) -> None:
        self.workload = workload
        self.parent = parent
        self.packages = packages
        self.starting: asyncio.Task[Placement] | None = None
        self.placement: Placement | None = None
        self.scratch: Path | None = None
        self.tag = 0
        self.output: OutputPipe | None = None
        self.exit_code: int | None = None
        self.is_excessive = False
        self.gone = asyncio.Event()


class LocalEngine:
    """Runs workloads as processes of this machine. ``root`` is where scratch directories are made.

    ``mode`` is how isolated they are (``worker.confine``); ``private`` are folders that they must never see.
    ``memory_max_bytes`` is for workloads that name no limit; None or 0: most of what the machine has.
    ``environments`` makes those that ``prepare`` is asked for. ``runtime_idle_s``: a parent that was started when it was needed is ended
    after so long without a workload; 0: never.
    """

    def __init__(
        self,
        root: Path,
        runtimes: Mapping[str, Runtime] | None = None,
        *,
        mode: isolation.Mode = "auto",
        private: Iterable[Path] = (),
        memory_max_bytes: int | None = None,
        environments: Environments | None = None,
        runtime_idle_s: float = 0.0,
    ) -> None:
        self._root = root.absolute()
        self._mode: isolation.Mode = mode
        self._private = tuple(private)
        self._memory_max_bytes = memory_max_bytes or _most_of_the_memory()
        self._users = Users()
        self._stays_awake = processors.may_be_kept_busy()
        # Numbers of several servers on one machine must differ: see ``worker.descendants``.
        self._first_tag = secrets.randbelow(2**20) * 2**20
        self._runtimes = default_runtimes() if runtimes is None else dict(runtimes)
        self._parents = self._parents_of(self._runtimes)
        self._environments = environments
        if environments is not None:
            environments.in_use = lambda: {run.packages for run in self._runs.values() if run.packages}
        self._probes: dict[tuple[Path, tuple[Path, ...]], asyncio.Task[Isolation]] = {}
        self._runs: dict[str, _Run] = {}
        self._count = 0
        self._sockets: Path | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_output: OutputListener = _ignore_output
        self._on_exit: ExitListener = _ignore_exit
        self._is_closing = False
        self._runtime_idle_s = runtime_idle_s
        self._watches: list[asyncio.Task[None]] = []

    # Engine

    async def open(self, on_output: OutputListener, on_exit: ExitListener) -> None:
        """See ``Engine.open``. The warm parents import in the background; ``start`` waits for the one it needs."""
        self._on_output, self._on_exit = on_output, on_exit
        self._sockets = await asyncio.to_thread(scratch.settle, self._root)
        for name, parent in self._parents.items():
            if self._runtimes[name].warm_up == "at once":
                self._keep(self._warm_up(name, parent))
        self._watches.append(asyncio.ensure_future(UsageWatch(self._limited, self._kill).run()))
        if self._runtime_idle_s:
            self._watches.append(asyncio.ensure_future(self._give_parents_back()))

    async def start(self, workload: Workload) -> Placement:
        """See ``Engine.start``."""
        run = self._runs.get(workload.id)
        if run is None:
            if self._sockets is None or self._is_closing:
                raise EngineError("the engine is not open")
            parent, packages = self._parent_for(workload.runtime)
            if parent is None:
                raise EngineError(
                    f"there is no runtime {workload.runtime!r} here; there are {sorted(self._parents)}"
                )
            run = self._runs[workload.id] = _Run(workload, parent, packages)
            run.starting = self._keep(self._start(run, self._sockets))
            run.starting.add_done_callback(_see_failure)  # its caller may have given up
        assert run.starting is not None
        # Whoever gives up waiting does not leave the start half done: it goes on, and ``stop`` ends it.
        return await asyncio.shield(run.starting)

    async def prepare(self, runtime: str, requirements: str) -> str:
        """See ``Engine.prepare``."""
        base = self._runtimes.get(runtime)
        if base is None or self._environments is None:
            raise RuntimeUnavailableError(
                f"there is nothing here that could install requirements for {runtime}"
            )
        return await self._environments.prepare(runtime, base, requirements)

    def _parent_for(self, name: str) -> tuple[WarmParent | None, Path | None]:
        """The parent of a runtime, and the folder of its environment if ``prepare`` made one (in whatever life of the server).

        All environments of one runtime share a parent that has imported nothing of the runtime: versions may differ.
        """
        if name in self._parents:
            return self._parents[name], None
        base = self._runtimes.get(name.partition("@")[0])
        folder = self._environments.folder(name) if self._environments is not None else None
        if base is None or folder is None:
            return None, None
        bare = f"{name.partition('@')[0]}@"
        if bare not in self._parents:
            self._runtimes[bare] = replace(base, modules=(), hidden_modules=(), warm_up="when needed")
            self._parents[bare] = WarmParent(bare, self._runtimes[bare], self)
        return self._parents[bare], folder

    async def inspect(self, workload_id: str) -> Condition:
        """See ``Engine.inspect``."""
        run = self._runs.get(workload_id)
        if run is None:
            return Condition("unknown")
        if run.exit_code is None:
            return Condition("running")
        return Condition("exited", run.exit_code)

    async def terminate(self, workload_id: str, *, kill: bool = False) -> None:
        """See ``Engine.terminate``."""
        run = self._runs.get(workload_id)
        if run is None or run.starting is None:
            return
        await asyncio.wait([run.starting])
        if run.placement is not None and run.exit_code is None:
            await run.parent.signal(workload_id, signal.SIGKILL if kill else signal.SIGTERM)

    async def stop(self, workload_id: str, grace_s: float) -> None:
        """See ``Engine.stop``."""
        run = self._runs.get(workload_id)
        if run is None or run.starting is None:
            return
        await asyncio.wait([run.starting])
        if run.placement is None:
            return  # it could not be started, and is forgotten
        if not await self._ended_after(run, signal.SIGTERM, grace_s):
            while not await self._ended_after(run, signal.SIGKILL, _KILL_WAIT_S):
                log.warning(
                    "a workload does not end", extra={"workload": workload_id, "pid": run.placement.pid}
                )
        if run.scratch is not None:
            await asyncio.to_thread(scratch.remove, run.scratch)
        if self._runs.get(workload_id) is run:
            del self._runs[workload_id]

    async def list(self) -> list[Placement]:
        """See ``Engine.list``."""
        return [run.placement for run in self._runs.values() if run.placement is not None]

    async def close(self) -> None:
        """See ``Engine.close``. Everything local ends with the server, so all of it is stopped."""
        self._is_closing = True
        for parent in set(self._parents.values()):
            parent.refuse_starts()
        stops = (self.stop(workload_id, _CLOSE_GRACE_S) for workload_id in list(self._runs))
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if failure is not None:
                log.error("a workload could not be stopped in order", exc_info=failure)
        await asyncio.gather(*(parent.close() for parent in set(self._parents.values())))
        for watch in self._watches:
            watch.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._sockets is not None:
            sockets, self._sockets = self._sockets, None
            await asyncio.to_thread(scratch.remove, sockets)

    # What only this engine tells

    async def isolation(self) -> Isolation:
        """What workloads of functions get here, tried once by a process that climbs the whole ladder."""
        return await self._isolation("python" if "python" in self._runtimes else next(iter(self._runtimes)))

    async def _isolation(self, name: str) -> Isolation:
        """For one runtime. Another Python may lie where other users cannot read; those of the same Python get the same."""
        runtime = self._runtimes[name]
        what_it_needs = (runtime.python, runtime.path)
        if what_it_needs not in self._probes:
            self._probes[what_it_needs] = self._keep(self._probe(runtime))
        return await asyncio.shield(self._probes[what_it_needs])

    async def _probe(self, runtime: Runtime) -> Isolation:
        number = self._next_number()
        place = await asyncio.to_thread(scratch.make, self._root, number, "probe")
        try:
            environment = inherited_environment()
            found = await isolation.probe(
                self._mode, runtime, place, self._private, environment, self._users.uid(number)
            )
            if found.launcher:
                alike = {
                    parent
                    for name, parent in self._parents.items()
                    if (self._runtimes[name].python, self._runtimes[name].path)
                    == (runtime.python, runtime.path)
                }
                for parent in alike:
                    self._keep(parent.spawn())
            return found
        finally:
            await asyncio.to_thread(scratch.remove, place)

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    def parent_pids(self) -> dict[str, int]:
        """The living warm parents, by runtime."""
        return {name: parent.pid for name, parent in self._parents.items() if parent.pid is not None}

    # Starting

    def _parents_of(self, runtimes: Mapping[str, Runtime]) -> dict[str, WarmParent]:
        """By name; names of the same Runtime share a parent, which is named after the first."""
        parents: dict[int, WarmParent] = {}
        for name, runtime in runtimes.items():
            parents.setdefault(id(runtime), WarmParent(name, runtime, self))
        return {name: parents[id(runtime)] for name, runtime in runtimes.items()}

    async def _warm_up(self, name: str, parent: WarmParent) -> None:
        # Somebody waits for the server to be ready, which it is when it knows its isolation; nobody waits for these imports yet.
        await self._isolation(name)
        try:
            await parent.warm_up()
        except EngineError as error:
            log.warning("runtime %s is not available: %s", name, error)

    async def _give_parents_back(self) -> None:
        while True:
            await asyncio.sleep(min(_PARENTS_LOOK_S, self._runtime_idle_s / 2))
            for parent in {parent for name, parent in self._parents.items() if self._is_seldom_needed(name)}:
                await parent.give_back(self._runtime_idle_s)

    def _is_seldom_needed(self, name: str) -> bool:
        return self._runtimes[name].warm_up == "when needed"

    async def _start(self, run: _Run, sockets: Path) -> Placement:
        workload = run.workload
        number = self._next_number()
        run.tag = self._first_tag + number
        try:
            found = await self._isolation(workload.runtime.partition("@")[0])
            uid = self._users.uid(number) if "separate-user" in found.rungs else None
            run.scratch = await asyncio.to_thread(
                scratch.make,
                self._root,
                number,
                workload.id,
                scratch.Contents(workload.files, workload.copies, workload.pipes),
                uid,
            )
            granted = await asyncio.to_thread(isolation.readable, workload.files, to_others=uid is not None)
            if run.packages is not None:
                granted.append(str(run.packages))
            address = "" if workload.kind == "job" else f"unix:{sockets / f'{number}.sock'}"
            run.output = OutputPipe(lambda data: self._on_output(workload.id, data))
            assignment = _assignment(run, address, granted, found, self._private, uid, self._stays_awake)
            pid = await run.parent.start(assignment, run.output.writer)
        except (EngineError, OSError) as error:
            await self._forget(run)
            if isinstance(error, EngineError):
                raise
            raise EngineError(f"the workload cannot be started: {error}") from error
        except BaseException:
            await self._forget(run)
            raise
        run.placement = Placement(workload.id, address, str(run.scratch), pid)
        return run.placement

    async def _forget(self, run: _Run) -> None:
        self._runs.pop(run.workload.id, None)
        if run.output is not None:
            run.output.close()
        if run.scratch is not None:
            await asyncio.to_thread(scratch.remove, run.scratch)

    # Ending

    def exited(self, workload_id: str, exit_code: int) -> None:
        """A parent has reaped a workload's process, and killed what was left of its descendants."""
        run = self._runs.get(workload_id)
        if run is not None and run.exit_code is None:
            self._keep(self._finish(run, exit_code))

    def parent_died(self, workload_ids: dict[str, int]) -> None:
        """The kernel kills what a dead parent had forked."""
        for workload_id in workload_ids:
            run = self._runs.get(workload_id)
            is_job = run is not None and run.workload.kind == "job"
            self.exited(workload_id, LOST_EXIT if is_job else -signal.SIGKILL)

    async def _finish(self, run: _Run, exit_code: int) -> None:
        assert run.output is not None and run.starting is not None
        await asyncio.wait([run.starting])  # it may have ended before its start was told
        try:
            await run.output.drain()
            run.exit_code = exit_code
            self._on_exit(run.workload.id, exit_code)
            if run.workload.kind != "job" and run.scratch is not None:
                await asyncio.to_thread(scratch.remove, run.scratch)
        finally:
            run.exit_code = exit_code
            run.gone.set()  # whatever a listener did: who waits for the end must not wait for ever

    def _limited(self) -> Iterator[Limited]:
        for run in self._runs.values():
            if run.exit_code is not None or run.placement is None or run.parent.pid is None:
                continue
            workload = run.workload
            yield Limited(
                workload.id,
                run.tag,
                run.parent.pid,
                # Models and jobs reserve more than they use, so that theirs is watched and is no limit of the kernel's.
                workload.memory_limit_bytes or self._memory_max_bytes,
                MAX_PROCESSES[workload.kind] if self._mode != "none" else None,
                "MemorySize" if workload.memory_limit_bytes else "workload_memory_max_bytes",
            )

    async def _kill(self, excess: Excess) -> None:
        run = self._runs.get(excess.workload_id)
        if run is None:
            return
        if run.workload.kind != "function":  # whose callers are told what happened to them
            # Its log is where people look, and what explains its end takes the last lines of it.
            if not run.is_excessive:
                self._on_output(run.workload.id, f"\n{ENDED_FOR}{excess.text}\n".encode())
            run.is_excessive = True
        await run.parent.signal(excess.workload_id, signal.SIGKILL)

    async def _ended_after(self, run: _Run, number: signal.Signals, wait_s: float) -> bool:
        if run.gone.is_set():
            return True
        await run.parent.signal(run.workload.id, number)
        try:
            await asyncio.wait_for(run.gone.wait(), wait_s)
        except TimeoutError:
            return False
        return True

    def _keep(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _most_of_the_memory() -> int | None:
    size_bytes = machine_memory_bytes()
    return None if size_bytes is None else size_bytes * 9 // 10


def _see_failure(task: asyncio.Task[Placement]) -> None:
    if not task.cancelled():
        task.exception()


def _assignment(
    run: _Run,
    address: str,
    granted: list[str],
    found: Isolation,
    private: Iterable[Path],
    uid: int | None,
    stays_awake: bool,
) -> Assignment:
    workload = run.workload
    directory = str(run.scratch)
    return Assignment(
        id=workload.id,
        kind=workload.kind,
        spec=dict(workload.spec),
        environment={
            **inherited_environment(),
            "HOME": directory,
            "TMPDIR": str(Path(directory, "tmp")),
            **dict.fromkeys(THREAD_VARIABLES, str(workload.threads)),
            **workload.environment,
        },
        scratch=directory,
        address=address,
        read_only=granted,
        memory_limit_bytes=workload.memory_limit_bytes,
        threads=workload.threads,
        tag=run.tag,
        isolation=found.mode,
        connect_ports=None if workload.connect_ports is None else list(workload.connect_ports),
        private=[str(folder) for folder in private],
        uid=uid,
        known_missing=dict(found.missing),
        server_pid=os.getpid(),
        packages=str(run.packages or ""),
        launcher=found.launcher,
        own_port=workload.own_port,
        server_host=workload.server_host,
        namespaces=division.namespaces(),
        stays_awake=stays_awake,
    )


def _ignore_output(_workload_id: str, _data: bytes) -> Awaitable[None] | None:
    return None


def _ignore_exit(_workload_id: str, _exit_code: int) -> None:
    return None
