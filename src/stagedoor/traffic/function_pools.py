"""The workers of all functions: who is idle, who is busy, who waits, and when to say no.

Place in the flow: ``traffic.function_runs`` leases a worker for each event; ``reconcile.functions`` is woken by demand,
starts and stops workers and tells here what became of them. One event at a time per worker; the worker that was used
last is used first, so that the others become idle long enough to be stopped. No database. All on the event loop.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from stagedoor.domain.clock import Clock
from stagedoor.domain.errors import AwsError
from stagedoor.store.records import Records
from stagedoor.traffic.channel import Channel
from stagedoor.traffic.function_output import FunctionOutput
from stagedoor.traffic.function_routes import FunctionRoutes, FunctionVersion, VersionKey
from stagedoor.traffic.log_writer import LogPlace, LogWriter

_WAITING_PER_WORKER = 8
"""So many events of a function may wait per possible worker; more are refused at once instead of waiting for ever."""

State = Literal["starting", "idle", "busy", "condemned"]


class StartFailedError(Exception):
    """The worker that an event waited for never became ready.

    ``error`` is the function's own error payload when its module failed to load; ``exit_code`` is there when the process
    ended; ``timed_out`` when it took too long. ``output`` is where its lines went.
    """

    def __init__(
        self,
        reason: str,
        output: FunctionOutput,
        *,
        error: dict[str, Any] | None = None,
        exit_code: int | None = None,
        timed_out: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output
        self.error = error
        self.exit_code = exit_code
        self.timed_out = timed_out


@dataclass(slots=True, eq=False)
class FunctionWorker:
    """One worker of one revision of one version. ``since`` and ``expires`` are on the monotonic clock.

    ``init_s`` is how long the module took to load, until the first event has reported it. ``exit`` gets the exit code.
    """

    id: str
    key: VersionKey
    revision: str
    output: FunctionOutput
    expires: float
    since: float
    exit: asyncio.Future[int]
    state: State = "starting"
    channel: Channel | None = None
    pid: int | None = None
    init_s: float | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    key: VersionKey
    revision: str
    worker: asyncio.Future[FunctionWorker]


class Demand(NamedTuple):
    """Events that wait for a worker of this revision."""

    key: VersionKey
    revision: str
    waiting: int


def _throttled(reason: str) -> AwsError:
    return AwsError(
        "TooManyRequestsException", "Rate Exceeded.", status=429, members={"Reason": reason, "Type": "User"}
    )


def _ignore() -> None:
    pass


class FunctionPools:
    """All function workers of the server."""

    def __init__(self, records: Records, log_writer: LogWriter, clock: Clock, concurrency: int) -> None:
        """``concurrency`` is the most workers over all functions; ``records`` only tells what changed."""
        self.routes = FunctionRoutes(records)
        self.log_writer = log_writer
        self.clock = clock
        self.concurrency = concurrency
        self._workers: dict[str, FunctionWorker] = {}
        # Most recently used last.
        self._idle: dict[VersionKey, list[FunctionWorker]] = {}
        self._waiting: deque[_Waiter] = deque()
        self._in_flight: Counter[tuple[str, str, str]] = Counter()
        self._runs: set[asyncio.Task[Any]] = set()
        self._wake: Callable[[], None] = _ignore

    def on_change(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when there is something to start or to stop."""
        self._wake = wake

    # For function_runs -------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def lease(self, version: FunctionVersion) -> AsyncGenerator[FunctionWorker]:
        """A ready worker for one event, waited for where there is none yet.

        TooManyRequestsException when the function's reserved concurrency is in use or too many events wait already;
        StartFailedError when the worker that was to serve it did not become ready.
        """
        function = version.key[:3]
        if version.reserved is not None and self._in_flight[function] >= version.reserved:
            raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        self._in_flight[function] += 1
        try:
            worker = self._take_idle(version) or await self._wait(version)
            try:
                yield worker
            finally:
                self._put_back(worker)
        finally:
            self._in_flight[function] -= 1
            if not self._in_flight[function]:
                del self._in_flight[function]

    def _take_idle(self, version: FunctionVersion) -> FunctionWorker | None:
        idle = self._idle.get(version.key, [])
        for index in range(len(idle) - 1, -1, -1):
            worker = idle[index]
            if (
                worker.revision == version.revision
                and worker.channel is not None
                and not worker.channel.is_closed
            ):
                del idle[index]
                self._turn(worker, "busy")
                return worker
        return None

    async def _wait(self, version: FunctionVersion) -> FunctionWorker:
        function = version.key[:3]
        ahead = sum(waiter.key[:3] == function for waiter in self._waiting)
        if ahead >= self.concurrency * _WAITING_PER_WORKER:
            raise _throttled("ConcurrentInvocationLimitExceeded")
        waiter = _Waiter(version.key, version.revision, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._wake()
        try:
            return await waiter.worker
        except asyncio.CancelledError:
            if waiter.worker.done() and not waiter.worker.cancelled() and waiter.worker.exception() is None:
                self._put_back(waiter.worker.result())
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)

    def _put_back(self, worker: FunctionWorker) -> None:
        """Give a worker that is free to whoever waits longest for its revision, or let it be idle."""
        if worker.state == "condemned" or worker.id not in self._workers:
            return
        if worker.channel is None or worker.channel.is_closed:
            self.condemn(worker)
            return
        for waiter in self._waiting:
            if (waiter.key, waiter.revision) == (worker.key, worker.revision) and not waiter.worker.done():
                self._waiting.remove(waiter)
                self._turn(worker, "busy")
                waiter.worker.set_result(worker)
                return
        self._turn(worker, "idle")
        self._idle.setdefault(worker.key, []).append(worker)
        if self._waiting:
            # Somebody else waits, perhaps for this worker's place.
            self._wake()

    def _turn(self, worker: FunctionWorker, state: State) -> None:
        worker.state = state
        worker.since = self.clock.monotonic()

    def condemn(self, worker: FunctionWorker) -> None:
        """Never use this worker again; the reconciler kills it."""
        if worker.state == "idle":
            self._forget_idle(worker)
        self._turn(worker, "condemned")
        self._wake()

    def _forget_idle(self, worker: FunctionWorker) -> None:
        idle = self._idle.get(worker.key, [])
        with contextlib.suppress(ValueError):
            idle.remove(worker)
        if not idle:
            self._idle.pop(worker.key, None)

    def keep_running(self, run: "Coroutine[Any, Any, Any]") -> "asyncio.Task[Any]":
        """A task for an invocation that goes on when its caller goes away, as on AWS."""
        task = asyncio.ensure_future(run)
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return task

    # For the reconciler ------------------------------------------------------------------------------------------

    @property
    def workers(self) -> list[FunctionWorker]:
        """All workers that were started and are not gone."""
        return list(self._workers.values())

    @property
    def demand(self) -> list[Demand]:
        """What waits, the longest waiting first."""
        counts = Counter((waiter.key, waiter.revision) for waiter in self._waiting)
        return [Demand(key, revision, waiting) for (key, revision), waiting in counts.items()]

    def starting(
        self, worker_id: str, key: VersionKey, revision: str, place: LogPlace, expires: float
    ) -> FunctionWorker:
        """Note a worker that is about to be started."""
        worker = FunctionWorker(
            worker_id,
            key,
            revision,
            FunctionOutput(self.log_writer, self.clock, place),
            expires,
            self.clock.monotonic(),
            asyncio.get_running_loop().create_future(),
        )
        self._workers[worker_id] = worker
        return worker

    def ready(self, worker: FunctionWorker, channel: Channel, init_s: float) -> None:
        """The worker has loaded its function: it serves from now on, until its channel is lost."""
        worker.channel, worker.init_s = channel, init_s
        channel.on_closed(lambda: self._lost(worker))
        self._put_back(worker)

    def _lost(self, worker: FunctionWorker) -> None:
        # A busy one is condemned by the invocation that sees its call fail.
        if worker.state == "idle":
            self.condemn(worker)

    def gone(self, worker: FunctionWorker) -> None:
        """The worker's process is gone."""
        self._workers.pop(worker.id, None)
        self._forget_idle(worker)
        worker.state = "condemned"
        worker.output.flush()
        if worker.channel is not None:
            worker.channel.close()
        self._wake()

    def reject(
        self, key: VersionKey, error: Exception, *, revision: str | None = None, count: int | None = None
    ) -> None:
        """Fail those who wait for a version (of one revision; the first ``count`` of them)."""
        concerned = [
            waiter for waiter in self._waiting if waiter.key == key and revision in (None, waiter.revision)
        ]
        for waiter in concerned[:count]:
            self._waiting.remove(waiter)
            if not waiter.worker.done():
                waiter.worker.set_exception(error)

    def renew(self, key: VersionKey, revision: str) -> None:
        """Let those who wait for an older revision of a version have a worker of this one."""
        for waiter in self._waiting:
            if waiter.key == key:
                waiter.revision = revision

    # For the engine's listeners ----------------------------------------------------------------------------------

    def on_output(self, workload_id: str, data: bytes) -> Awaitable[None] | None:
        """Something was printed; not ours when the id is unknown."""
        worker = self._workers.get(workload_id)
        return worker.output.feed(data) if worker is not None else None

    def on_exit(self, workload_id: str, exit_code: int) -> None:
        """A process ended; not ours when the id is unknown."""
        worker = self._workers.get(workload_id)
        if worker is not None:
            if not worker.exit.done():
                worker.exit.set_result(exit_code)
            if worker.state == "idle":
                self.condemn(worker)
            self._wake()

    async def close(self) -> None:
        """Refuse who waits, end what runs, store the last lines."""
        for waiter in list(self._waiting):
            self.reject(waiter.key, AwsError("ServiceException", "The server is shutting down.", status=500))
        for task in list(self._runs):
            task.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        for worker in self._workers.values():
            worker.output.flush()
        await self.log_writer.drained()
