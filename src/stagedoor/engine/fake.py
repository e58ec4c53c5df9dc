"""The shipped fake engine: the same contract without processes, for tests of what drives an engine.

Place in the flow: stands where ``local`` stands. Its workers are asyncio servers in this process which speak real frames on real
sockets, so everything above (channels, routes, reconcilers) is the real thing. A ``Behaviour`` says what each workload does;
``crash`` and ``finish`` let a test decide when something happens, without waiting for a clock.
"""

import asyncio
import contextlib
import hashlib
import inspect
import shutil
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagedoor.engine import scratch
from stagedoor.engine.interface import (
    Condition,
    EngineError,
    ExitListener,
    OutputListener,
    Placement,
    Workload,
)
from stagedoor.worker import frames

Answer = tuple[Mapping[str, Any], bytes]


def echo(_meta: Mapping[str, Any], body: bytes) -> Answer:
    """Answers with what it was sent."""
    return {"content_type": "application/octet-stream"}, body


class CallFault(Exception):
    """Raised by ``Behaviour.answer``: the call is answered with a FAULT of this meta."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        super().__init__(str(meta))
        self.meta = meta


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a fake workload does.

    ``refused``: ``start`` raises EngineError with this text. ``ready_after_s``: time to its HELLO. ``fails_at_load``: the
    reason of the FAULT it gives instead, after which it exits with code 1. ``answer``: result of a call; it may be a coroutine
    function. ``crashes_on_call``: it dies of SIGSEGV. ``hangs_on_call``: it never answers. ``output``: written at the start.
    ``exits_after_s``: it exits by itself, with ``exit_code``; None: it runs until it is stopped. ``work``: called with the
    scratch directory just before it exits that way (a job's results). ``ignores_sigterm``: only SIGKILL ends it.
    """

    refused: str | None = None
    ready_after_s: float = 0.0
    fails_at_load: str | None = None
    answer: Callable[[Mapping[str, Any], bytes], Answer | Awaitable[Answer]] = echo
    crashes_on_call: bool = False
    hangs_on_call: bool = False
    output: bytes = b""
    exits_after_s: float | None = None
    exit_code: int = 0
    work: Callable[[Path], None] | None = None
    ignores_sigterm: bool = False


class FakeEngine:
    """Runs fake workloads. ``behave`` says what each does, by default serve and echo. ``started`` is all it ever ran."""

    def __init__(self, root: Path, behave: Callable[[Workload], Behaviour] = lambda _: Behaviour()) -> None:
        self.started: list[Workload] = []
        self._root = root
        self._behave = behave
        self._runs: dict[str, _FakeRun] = {}
        self._sockets: Path | None = None
        self._on_output: OutputListener = lambda _id, _data: None
        self._on_exit: ExitListener = lambda _id, _code: None

    async def open(self, on_output: OutputListener, on_exit: ExitListener) -> None:
        """See ``Engine.open``."""
        self._on_output, self._on_exit = on_output, on_exit
        self._sockets = scratch.settle(self._root)

    async def start(self, workload: Workload) -> Placement:
        """See ``Engine.start``."""
        run = self._runs.get(workload.id)
        if run is not None:
            return run.placement
        if self._sockets is None:
            raise EngineError("the engine is not open")
        behaviour = self._behave(workload)
        if behaviour.refused is not None:
            raise EngineError(behaviour.refused)
        number = len(self.started) + 1
        directory = scratch.make(
            self._root,
            number,
            workload.id,
            scratch.Contents(workload.files, workload.copies, workload.pipes),
        )
        address = "" if workload.kind == "job" else f"unix:{self._sockets / f'{number}.sock'}"
        placement = Placement(workload.id, address, str(directory), None)
        run = self._runs[workload.id] = _FakeRun(
            workload, behaviour, placement, self._tell_output, self._tell_exit
        )
        self.started.append(workload)
        await run.begin()
        return placement

    async def prepare(self, runtime: str, requirements: str) -> str:
        """See ``Engine.prepare``. Nothing is installed."""
        return f"{runtime}@{hashlib.sha256(requirements.encode()).hexdigest()[:8]}"

    async def inspect(self, workload_id: str) -> Condition:
        """See ``Engine.inspect``."""
        run = self._runs.get(workload_id)
        if run is None:
            return Condition("unknown")
        return Condition("running") if run.exit_code is None else Condition("exited", run.exit_code)

    async def terminate(self, workload_id: str, *, kill: bool = False) -> None:
        """See ``Engine.terminate``. A job that has ``work`` does it and exits with its ``exit_code``."""
        run = self._runs.get(workload_id)
        if run is not None and kill:
            await run.end(-signal.SIGKILL)
        if run is None or run.behaviour.ignores_sigterm:
            return
        if run.behaviour.work is not None and run.exit_code is None:
            await self.finish(workload_id, run.behaviour.exit_code)
        await run.end(-signal.SIGTERM)

    async def stop(self, workload_id: str, grace_s: float) -> None:
        """See ``Engine.stop``. What ignores SIGTERM is killed at once: nobody wants to wait in a test."""
        run = self._runs.get(workload_id)
        if run is None:
            return
        del grace_s
        await run.end(-signal.SIGKILL if run.behaviour.ignores_sigterm else -signal.SIGTERM)
        if self._runs.get(workload_id) is run:
            scratch.remove(Path(run.placement.scratch))
            del self._runs[workload_id]

    async def list(self) -> list[Placement]:
        """See ``Engine.list``."""
        return [run.placement for run in self._runs.values()]

    async def close(self) -> None:
        """See ``Engine.close``."""
        for workload_id in list(self._runs):
            await self.stop(workload_id, 0)
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    # For tests

    async def crash(self, workload_id: str, exit_code: int = -signal.SIGKILL) -> None:
        """Have a workload die now."""
        await self._runs[workload_id].end(exit_code)

    async def finish(self, workload_id: str, exit_code: int = 0) -> None:
        """Have a job do its ``work`` and exit now."""
        run = self._runs[workload_id]
        run.do_work()
        await run.end(exit_code)

    async def print(self, workload_id: str, data: bytes) -> None:
        """Have a workload write to its output."""
        await self._runs[workload_id].write(data)

    async def _tell_output(self, workload_id: str, data: bytes) -> None:
        taken = self._on_output(workload_id, data)
        if taken is not None:
            await taken

    def _tell_exit(self, workload_id: str, exit_code: int) -> None:
        self._on_exit(workload_id, exit_code)


class _FakeRun:
    """One fake workload."""

    def __init__(
        self,
        workload: Workload,
        behaviour: Behaviour,
        placement: Placement,
        tell_output: Callable[[str, bytes], Awaitable[None]],
        tell_exit: Callable[[str, int], None],
    ) -> None:
        self.workload = workload
        self.behaviour = behaviour
        self.placement = placement
        self.exit_code: int | None = None
        self._tell_output = tell_output
        self._tell_exit = tell_exit
        self._server: asyncio.Server | None = None
        self._calls = 0
        self._ready = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Listen, then live in the background."""
        if self.placement.address:
            path = self.placement.address.removeprefix("unix:")
            self._server = await asyncio.start_unix_server(self._converse, path)
        self._keep(self._live())

    async def end(self, exit_code: int) -> None:
        """Exit: connections break, the exit is told once."""
        if self.exit_code is not None:
            return
        self.exit_code = exit_code
        for writer in list(self._writers):
            writer.transport.abort()
        if self._server is not None:
            self._server.close()
            scratch.remove(Path(self.placement.address.removeprefix("unix:")))
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
        self._tell_exit(self.workload.id, exit_code)
        if self.workload.kind != "job":
            scratch.remove(Path(self.placement.scratch))

    def do_work(self) -> None:
        """Leave a job's results."""
        if self.behaviour.work is not None:
            self.behaviour.work(Path(self.placement.scratch))

    async def write(self, data: bytes) -> None:
        """Print."""
        if data and self.exit_code is None:
            await self._tell_output(self.workload.id, data)

    async def _live(self) -> None:
        behaviour = self.behaviour
        await self.write(behaviour.output)
        if behaviour.ready_after_s:
            await asyncio.sleep(behaviour.ready_after_s)
        self._ready.set()
        if behaviour.fails_at_load is not None and self.workload.kind == "job":
            await self.end(1)
        elif behaviour.exits_after_s is not None:
            await asyncio.sleep(behaviour.exits_after_s)
            self.do_work()
            await self.end(behaviour.exit_code)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._ready.wait()
            if self.behaviour.fails_at_load is not None:
                fault = {"reason": self.behaviour.fails_at_load, "traceback": ""}
                writer.write(frames.encode(frames.FAULT, 0, fault))
                await writer.drain()
                writer.close()
                self._writers.discard(writer)
                await self.end(1)
                return
            hello: dict[str, Any] = {
                "ready": True,
                "load_s": 0.0,
                "rungs": [],
                "details": {},
            }
            writer.write(frames.encode(frames.HELLO, 0, hello))
            decoder = frames.Decoder()
            while data := await reader.read(65536):
                for frame in decoder.feed(data):
                    self._keep(self._answer(writer, frame))
        except (ConnectionError, frames.FrameError):
            pass
        finally:
            self._writers.discard(writer)
            with contextlib.suppress(ConnectionError, RuntimeError):
                writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, frame: frames.Frame) -> None:
        behaviour = self.behaviour
        if behaviour.crashes_on_call:
            await self.end(-signal.SIGSEGV)
        elif behaviour.hangs_on_call:
            await asyncio.Event().wait()
        elif frame.kind == frames.PING:
            writer.write(frames.encode(frames.RESULT, frame.id, {"calls": self._calls}))
        else:
            self._calls += 1
            try:
                answer = behaviour.answer(frame.meta, frame.body)
                meta, body = await answer if inspect.isawaitable(answer) else answer
                writer.write(frames.encode(frames.RESULT, frame.id, meta, body))
            except CallFault as fault:
                writer.write(frames.encode(frames.FAULT, frame.id, fault.meta))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
