"""Carries the plan out: starts workers and tells the pools, stops workers, runs queued events.

Place in the flow: ``reconcile.loop`` runs ``FunctionReconciler``; demand in ``traffic.function_pools`` and commits of
``lambda.`` records wake it.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stagedoor.authz.session_tokens import Credentials
from stagedoor.domain.clock import Clock
from stagedoor.domain.errors import AwsError
from stagedoor.engine.interface import Engine, EngineError
from stagedoor.reconcile.functions.event_plan import after_throttle, next_attempt_at, plan_events
from stagedoor.reconcile.functions.event_queue import EventQueue
from stagedoor.reconcile.functions.plan import Limits, Reject, Renew, Start, Stop, next_idle_end, plan
from stagedoor.reconcile.functions.workloads import function_workload, log_place
from stagedoor.reconcile.loop import Underway
from stagedoor.store.function_packages import FunctionPackages
from stagedoor.store.records import Document, Key, Record, Records
from stagedoor.traffic.channel import Channel, ChannelError, ChannelOpenTimeoutError, WorkerFailedError
from stagedoor.traffic.function_output import INIT
from stagedoor.traffic.function_pools import FunctionPools, FunctionWorker, StartFailedError
from stagedoor.traffic.function_routes import FunctionRoute, RouteKey, VersionKey
from stagedoor.traffic.function_runs import FunctionEvent, run

log = logging.getLogger(__name__)

_CREDENTIALS_S = 12 * 3600
_INIT_TIMEOUT_S = 10.0
_EXIT_PATIENCE_S = 2.0
_SWEEP_S = 3600.0
_LONGEST_TICK_S = 5.0
_SHORTEST_TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """``retry_delays_s``: pauses before an event that failed is run again. ``endpoint_url``: what functions call.

    ``allow_network``: names of the functions that may call anybody else, with commas and ``*``.
    """

    idle_s: float
    retry_delays_s: Sequence[float]
    endpoint_url: str
    allow_network: str = ""


class FunctionReconciler:
    """Makes the function workers match the demand, and empties the queue of events.

    ``credentials`` gives a role's session (LookupError when the role is gone): ``role_arn, session_name, now,
    duration_s``. ``resolve`` finds where the calls for a function at a qualifier go (AwsError when nowhere).
    """

    name = "functions"
    watches = ("lambda.",)

    def __init__(
        self,
        records: Records,
        engine: Engine,
        pools: FunctionPools,
        packages: FunctionPackages,
        credentials: Callable[[str, str, float, int], Credentials],
        resolve: Callable[[RouteKey], Awaitable[FunctionRoute]],
        settings: FunctionSettings,
        clock: Clock,
    ) -> None:
        self._records = records
        self._engine = engine
        self._pools = pools
        self._packages = packages
        self._credentials = credentials
        self._resolve = resolve
        self._settings = settings
        self._clock = clock
        self._queue = EventQueue(records)
        self._running_events: set[Key] = set()
        self._next_due_at: float | None = None
        self._swept_at: float | None = None

    @property
    def tick_s(self) -> float:
        """Until the next event is due, or an idle worker has to go."""
        ticks = [_LONGEST_TICK_S]
        if self._next_due_at is not None:
            ticks.append(self._next_due_at - self._clock.now())
        idle_end = next_idle_end(self._pools.workers, self._settings.idle_s)
        if idle_end is not None:
            ticks.append(idle_end - self._clock.monotonic())
        return max(min(ticks), _SHORTEST_TICK_S)

    async def reconcile(self, underway: Underway) -> None:
        """One pass over workers and events."""
        workers, demand = self._pools.workers, self._pools.demand
        keys = {worker.key for worker in workers} | {key for key, _, _ in demand}
        configurations = await asyncio.to_thread(self._look, keys)
        current = {key: configuration["RevisionId"] for key, configuration in configurations.items()}
        limits = Limits(self._pools.concurrency, self._settings.idle_s)
        # The plan sees the newest state. Who came while the store was read has woken the loop for another pass.
        demand = [waiting for waiting in self._pools.demand if waiting.key in keys]
        for action in plan(self._pools.workers, demand, current, limits, self._clock.monotonic()):
            match action:
                case Reject(key):
                    self._pools.reject(key, _gone(key))
                case Renew(key, revision):
                    self._pools.renew(key, revision)
                case Start(key):
                    self._start(underway, key, configurations[key])
                case Stop(worker_id):
                    self._stop(underway, worker_id)
        self._run_events(underway)
        self._sweep(underway)

    def _look(self, keys: set[VersionKey]) -> dict[VersionKey, Document]:
        """The configurations of the versions that exist; the queue's changes are read along."""
        found: dict[VersionKey, Document] = {}
        for key in keys:
            latest = key.version == "$LATEST"
            kind, name = (
                ("lambda.function", key.name) if latest else ("lambda.version", f"{key.name}:{key.version}")
            )
            record = self._records.get(Key(kind, key.account_id, key.region, name))
            if record is not None:
                found[key] = record.document["Configuration"]
        self._queue.catch_up()
        return found

    # Workers -----------------------------------------------------------------------------------------------------

    def _start(self, underway: Underway, key: VersionKey, configuration: Document) -> None:
        worker_id = f"function-{secrets.token_hex(8)}"
        worker = self._pools.starting(
            worker_id,
            key,
            configuration["RevisionId"],
            log_place(key, configuration, self._clock.now()),
            self._clock.monotonic() + _CREDENTIALS_S,
        )
        underway.start(("start", worker_id), self._bring_up(worker, configuration))

    async def _bring_up(self, worker: FunctionWorker, configuration: Document) -> None:
        try:
            failure = await self._try_start(worker, configuration)
        except BaseException:
            # Cancelled at shutdown, or a mistake of ours: either way nobody must wait for this worker.
            self._pools.reject(worker.key, StartFailedError("the server failed to start it", worker.output))
            self._pools.gone(worker)
            raise
        if failure is not None:
            self._pools.reject(worker.key, failure, revision=worker.revision)
            await self._engine.stop(worker.id, 0)
            self._pools.gone(worker)

    async def _try_start(self, worker: FunctionWorker, configuration: Document) -> StartFailedError | None:
        """Start a worker and hand it to the pools; the reason when it does not get ready."""
        output = worker.output
        try:
            credentials = self._credentials(
                configuration["Role"], worker.key.name, self._clock.now(), _CREDENTIALS_S
            )
            workload = function_workload(
                worker.id,
                worker.key,
                configuration,
                output.place,
                self._packages,
                credentials,
                self._settings.endpoint_url,
                self._settings.allow_network,
            )
            placement = await self._engine.start(workload)
        except LookupError as error:
            reason = f"{error}. The role of {configuration['FunctionArn']} must exist: create it, or give another one."
            return StartFailedError(reason, output)
        except EngineError as error:
            return StartFailedError(str(error), output)
        worker.pid = placement.pid
        try:
            channel = await Channel.open(placement.address, max(_INIT_TIMEOUT_S, configuration["Timeout"]))
        except ChannelOpenTimeoutError as error:
            return StartFailedError(str(error), output, timed_out=True)
        except WorkerFailedError as error:
            await output.complete(INIT, _EXIT_PATIENCE_S)
            return StartFailedError(
                error.reason,
                output,
                error=error.meta.get("error"),
                exit_code=await self._exit_code(worker, error),
            )
        except ChannelError as error:
            return StartFailedError(str(error), output)
        await output.complete(INIT, _EXIT_PATIENCE_S)
        self._pools.ready(worker, channel, float(channel.hello.get("init_s", 0.0)))
        return None

    async def _exit_code(self, worker: FunctionWorker, error: WorkerFailedError) -> int | None:
        if error.meta.get("error") is not None:
            return None
        try:
            return await asyncio.wait_for(asyncio.shield(worker.exit), _EXIT_PATIENCE_S)
        except TimeoutError:
            return None

    def _stop(self, underway: Underway, worker_id: str) -> None:
        worker = next((worker for worker in self._pools.workers if worker.id == worker_id), None)
        if worker is None or ("stop", worker_id) in underway:
            return
        if worker.state == "idle":
            self._pools.condemn(worker)
        underway.start(("stop", worker_id), self._take_down(worker))

    async def _take_down(self, worker: FunctionWorker) -> None:
        await self._engine.stop(worker.id, 0)
        self._pools.gone(worker)

    # Events ------------------------------------------------------------------------------------------------------

    def _run_events(self, underway: Underway) -> None:
        places = self._pools.concurrency
        planned = plan_events(
            self._queue.earliest(places + 1, except_for=self._running_events),
            len(self._running_events),
            self._clock.now(),
            retries=len(self._settings.retry_delays_s),
            places=places,
        )
        self._next_due_at = planned.next_due_at
        for event in planned.run:
            self._begin(underway, event.key, self._attempt)
        for event in planned.give_up:
            self._begin(underway, event.key, self._drop)

    def _begin(self, underway: Underway, key: Key, action: Callable[[Record], Awaitable[None]]) -> None:
        self._running_events.add(key)
        underway.start(("event", key), self._deliver(key, action))

    async def _deliver(self, key: Key, action: Callable[[Record], Awaitable[None]]) -> None:
        try:
            record = await asyncio.to_thread(self._records.get, key)
            if record is not None:
                await action(record)
        finally:
            self._running_events.discard(key)

    async def _drop(self, record: Record) -> None:
        await self._give_up(record, "it is too old, or was begun too often")

    async def _attempt(self, record: Record) -> None:
        """Run an event once. The attempt is on record before it begins, so that a crash cannot repeat it for ever."""
        document = record.document
        begun = {**document, "attempts": document["attempts"] + 1}
        await asyncio.to_thread(self._put, record.key, begun)
        reference = RouteKey(
            record.key.account_id, record.key.region, document["function"], document["qualifier"]
        )
        try:
            route = await self._resolve(reference)
            payload = await asyncio.to_thread(self._payload, record.key)
            event = FunctionEvent(document["requestId"], route.arn, payload)
            result = await run(self._pools, route.pick(), event)
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                await self._give_up(record, error.message)
                return
            due_at = after_throttle(document["acceptedAt"], self._clock.now())
            await asyncio.to_thread(self._put, record.key, {**document, "dueAt": due_at})
            return
        if result.function_error is None:
            await asyncio.to_thread(self._delete, record.key)
            return
        due = next_attempt_at(begun["attempts"], self._settings.retry_delays_s, self._clock.now())
        if due is None:
            await self._give_up(record, f"the function failed {begun['attempts']} times")
        else:
            await asyncio.to_thread(self._put, record.key, {**begun, "dueAt": due})

    async def _give_up(self, record: Record, reason: str) -> None:
        log.warning(
            "an asynchronous event of function %s was dropped: %s",
            record.document["function"],
            reason,
            extra={"request_id": record.document["requestId"]},
        )
        await asyncio.to_thread(self._delete, record.key)

    def _put(self, key: Key, document: dict[str, Any]) -> None:
        with self._records.transaction() as transaction:
            transaction.put(key, document)

    def _payload(self, key: Key) -> bytes:
        """The event itself lies in a record of its own, so that looking at the queue does not read all of them."""
        record = self._records.get(key._replace(kind="lambda.payload"))
        return record.document["payload"].encode() if record is not None else b""

    def _delete(self, key: Key) -> None:
        with self._records.transaction() as transaction:
            transaction.delete(key)
            transaction.delete(key._replace(kind="lambda.payload"))

    # Packages ----------------------------------------------------------------------------------------------------

    def _sweep(self, underway: Underway) -> None:
        now = self._clock.monotonic()
        if (self._swept_at is None or now - self._swept_at >= _SWEEP_S) and "sweep" not in underway:
            self._swept_at = now
            underway.start("sweep", asyncio.to_thread(self._sweep_packages))

    def _sweep_packages(self) -> None:
        used = [
            record.document["Configuration"]["CodeSha256"]
            for kind in ("lambda.function", "lambda.version")
            for record in self._records.list(kind)
        ]
        self._packages.sweep(used)

    async def close(self) -> None:
        """Nothing of its own: the engine ends the workers, the pools refuse who waits."""


def _gone(key: VersionKey) -> AwsError:
    arn = f"arn:aws:lambda:{key.region}:{key.account_id}:function:{key.name}"
    qualifier = "" if key.version == "$LATEST" else f":{key.version}"
    return AwsError("ResourceNotFoundException", f"Function not found: {arn}{qualifier}", status=404)
