"""The endpoints' reconciler: looks at records and workers, plans, and carries the plans out.

Place in the flow: run by ``reconcile.loop``; woken by commits to endpoints, by workers that became ready and by workers that
are gone. It publishes routes (``traffic.endpoint_routes``), writes statuses, and starts and stops workers through
``workers``. All it knows besides the records is in memory: a server that starts again begins with no workers and every
endpoint's record, and the same plans bring them back.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from stagedoor.domain.clock import Clock
from stagedoor.engine.interface import Engine
from stagedoor.reconcile.endpoints import fleets
from stagedoor.reconcile.endpoints.plan import Failure, Outcome, Route, Slot, View, Worker, plan
from stagedoor.reconcile.endpoints.workers import ModelWorker, StartError, Workshop, exit_reason, log_place
from stagedoor.reconcile.loop import Underway
from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.records import ConflictError, Document, Key, Record, Records
from stagedoor.traffic.channel import CallTimeoutError, Channel, ChannelError
from stagedoor.traffic.endpoint_routes import EndpointKey, EndpointRoutes, VariantRoute, WorkerChannel

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_STABLE_S = 60.0
_IDLE_TICK_S = 30.0
_DELETE_DRAIN_S = 3.0
_PING_EVERY_S = 10.0
_PING_TIMEOUT_S = 10.0


@dataclass(slots=True)
class _Endpoint:
    """What is in memory about one endpoint."""

    route_key: EndpointKey
    workers: dict[str, ModelWorker] = field(default_factory=dict[str, ModelWorker])
    failures: dict[Slot, Failure] = field(default_factory=dict[Slot, Failure])
    attempts: dict[Slot, int] = field(default_factory=dict[Slot, int])
    lost: list[ModelWorker] = field(default_factory=list[ModelWorker])
    routes: tuple[Route, ...] | None = None
    due: float | None = None


class EndpointReconciler:
    """Makes endpoints true. ``wake`` must be set to the loop's before it starts."""

    name = "endpoints"
    watches = (fleets.KIND,)

    def __init__(
        self,
        records: Records,
        engine: Engine,
        routes: EndpointRoutes,
        logs: WorkerLogs,
        model_files: ModelFiles,
        clock: Clock,
        *,
        start_timeout_s: float = 120.0,
        invoke_timeout_s: float = 60.0,
        access: RoleAccess | None = None,
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._records = records
        self._routes = routes
        self._clock = clock
        self._workshop = Workshop(engine, model_files, logs, clock, start_timeout_s, invoke_timeout_s, access)
        self._endpoints: dict[Key, _Endpoint] = {}
        self._workers: dict[str, ModelWorker] = {}
        self._numbers = itertools.count(1)
        self._first_pass = True
        self._closing = False
        self._ping_at = clock.monotonic() + _PING_EVERY_S
        routes.on_unresponsive(self._unresponsive)

    @property
    def tick_s(self) -> float:
        """Until the next attempt to start a worker that failed, or the next look at those that idle."""
        due = [endpoint.due for endpoint in self._endpoints.values() if endpoint.due is not None]
        if self._workers:
            due.append(self._ping_at)
        if not due:
            return _IDLE_TICK_S
        return min(_IDLE_TICK_S, max(0.0, min(due) - self._clock.monotonic()))

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """An ``engine.interface.ExitListener``; workloads that are no model workers are somebody else's."""
        worker = self._workers.get(workload_id)
        if worker is not None and not worker.exited.done():
            worker.exited.set_result(exit_code)

    async def reconcile(self, underway: Underway) -> None:
        """One step for every endpoint."""
        records = {record.key: record for record in await asyncio.to_thread(self._records.list, fleets.KIND)}
        for key in [*records, *(key for key in self._endpoints if key not in records)]:
            try:
                await self._step(key, records.get(key), underway)
            except ConflictError:
                self.wake()  # an operation was faster: plan again with what it wrote
        if self._clock.monotonic() >= self._ping_at:
            self._ping_at = self._clock.monotonic() + _PING_EVERY_S
            self._ping_idle_workers(underway)
        if self._first_pass:
            self._first_pass = False
            self._routes.loaded()
            needed = [each for record in records.values() for each in fleets.artifacts(record.document)]
            await asyncio.to_thread(self._workshop.model_files.sweep, needed)

    async def close(self) -> None:
        """Hang up; the engine stops the workers."""
        self._closing = True
        for worker in self._workers.values():
            if worker.channel is not None:
                worker.channel.close()
            self._workshop.logs.detach(worker.id)
        await self._workshop.logs.drained()

    # One endpoint -----------------------------------------------------------------------------------------------------

    async def _step(self, key: Key, record: Record | None, underway: Underway) -> None:
        document: Document = record.document if record else {}
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            route_key = EndpointKey(key.account_id, key.region, document["EndpointName"])
            endpoint = self._endpoints[key] = _Endpoint(route_key)
        for worker in endpoint.lost:
            underway.start((worker.id, "stop"), self._clear_away(endpoint, worker))
        endpoint.lost = []
        deleting = record is None or document["EndpointStatus"] == "Deleting"
        found = plan(self._view(endpoint, document, deleting))
        endpoint.due = found.due
        self._publish(endpoint, found.routes)
        if found.outcome is not None:
            await self._write(key, record, endpoint, found.outcome)
            # What follows from the new record is planned at once.
            self.wake()
        for worker_id in found.stop:
            self._stop(endpoint, endpoint.workers[worker_id], underway, deleting)
        for slot in found.start:
            self._start(key, endpoint, document, slot, underway)

    def _view(self, endpoint: _Endpoint, document: Document, deleting: bool) -> View:
        serving, coming = fleets.read(document.get("serving")), fleets.read(document.get("coming"))
        wanted = {slot for fleet in (serving, coming) if fleet for slot in fleet.slots()}
        for slot in [slot for slot in endpoint.attempts if slot not in wanted]:
            endpoint.failures.pop(slot, None)
            del endpoint.attempts[slot]
        return View(
            serving,
            coming,
            deleting,
            [Worker(worker.id, worker.slot, worker.phase) for worker in endpoint.workers.values()],
            endpoint.failures,
            self._clock.monotonic(),
        )

    def _publish(self, endpoint: _Endpoint, routes: tuple[Route, ...] | None) -> None:
        if routes == endpoint.routes:
            return
        endpoint.routes = routes
        if routes is None:
            self._routes.withdraw(endpoint.route_key)
            return
        self._routes.publish(
            endpoint.route_key,
            [
                VariantRoute(route.variant, route.weight, self._channels(endpoint, route.worker_ids))
                for route in routes
            ],
        )

    def _channels(self, endpoint: _Endpoint, worker_ids: tuple[str, ...]) -> tuple[WorkerChannel, ...]:
        channels = [endpoint.workers[worker_id].channel for worker_id in worker_ids]
        return tuple(channel for channel in channels if channel is not None)

    async def _write(self, key: Key, record: Record | None, endpoint: _Endpoint, outcome: Outcome) -> None:
        if outcome.kind == "gone":
            del self._endpoints[key]
            if record is not None:
                await asyncio.to_thread(self._remove_record, record)
                log.info("endpoint deleted", extra={"endpoint": key.name})
            return
        assert record is not None
        document = fleets.after(record.document, outcome, self._clock.now())
        await asyncio.to_thread(self._replace_record, record, document)
        if outcome.kind == "failure":
            # The next attempt is a new one, also when it fills the same slots.
            endpoint.failures.clear()
            endpoint.attempts.clear()
            log.warning("endpoint failed", extra={"endpoint": key.name, "reason": outcome.reason})
        else:
            log.info("endpoint in service", extra={"endpoint": key.name})

    def _replace_record(self, record: Record, document: Document) -> None:
        with self._records.transaction() as transaction:
            transaction.put(record.key, document, expect=record.revision)

    def _remove_record(self, record: Record) -> None:
        with self._records.transaction() as transaction:
            transaction.delete(record.key)
            transaction.delete(fleets.tags_key(record.key))

    # Workers ----------------------------------------------------------------------------------------------------------

    def _start(
        self, key: Key, endpoint: _Endpoint, document: Document, slot: Slot, underway: Underway
    ) -> None:
        variant = fleets.variant_of(document, slot.generation, slot.variant)
        assert variant is not None
        place = log_place(key, document, slot)
        worker_id = f"endpoint-{place.stream.rpartition('/')[2]}-{next(self._numbers)}"
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        worker = ModelWorker(worker_id, slot, key, place, exited)
        endpoint.workers[worker_id] = self._workers[worker_id] = worker
        underway.start(worker_id, self._bring_up(endpoint, worker, variant))

    async def _bring_up(self, endpoint: _Endpoint, worker: ModelWorker, variant: Document) -> None:
        try:
            await self._workshop.bring_up(worker, variant)
        except StartError as error:
            if worker.phase == "starting":
                self._failed(endpoint, worker, str(error))
                self._forget(endpoint, worker)
            return
        if worker.phase == "starting":
            worker.phase = "ready"
            assert worker.channel is not None
            worker.channel.on_closed(lambda: self._lost(endpoint, worker))

    def _stop(self, endpoint: _Endpoint, worker: ModelWorker, underway: Underway, deleting: bool) -> None:
        drain_timeout_s = _DELETE_DRAIN_S if deleting else self._workshop.drain_timeout_s
        worker.phase = "draining"
        underway.cancel(worker.id)
        underway.start((worker.id, "stop"), self._wind_down(endpoint, worker, drain_timeout_s))

    async def _wind_down(self, endpoint: _Endpoint, worker: ModelWorker, drain_timeout_s: float) -> None:
        await self._workshop.wind_down(worker, drain_timeout_s)
        self._forget(endpoint, worker)

    async def _clear_away(self, endpoint: _Endpoint, worker: ModelWorker) -> None:
        await self._workshop.clear_away(worker)
        self._forget(endpoint, worker)

    def _forget(self, endpoint: _Endpoint, worker: ModelWorker) -> None:
        endpoint.workers.pop(worker.id, None)
        self._workers.pop(worker.id, None)

    def _lost(self, endpoint: _Endpoint, worker: ModelWorker) -> None:
        """A worker that was ready is gone: take it out of the routes at once, clear it away, have it replaced."""
        if worker.phase != "ready" or self._closing:
            return
        self._failed(endpoint, worker, exit_reason(worker))
        worker.phase = "draining"
        endpoint.lost.append(worker)
        if endpoint.routes is not None:
            self._publish(
                endpoint,
                tuple(
                    Route(
                        route.variant,
                        route.weight,
                        tuple(other for other in route.worker_ids if other != worker.id),
                    )
                    for route in endpoint.routes
                ),
            )
        self.wake()

    def _failed(self, endpoint: _Endpoint, worker: ModelWorker, reason: str) -> None:
        """Note a slot's failure, and when to try again: the pause doubles until a worker has lived for a minute."""
        now = self._clock.monotonic()
        stable = worker.ready_at is not None and now - worker.ready_at >= _STABLE_S
        attempts = endpoint.attempts[worker.slot] = 1 if stable else endpoint.attempts.get(worker.slot, 0) + 1
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempts - 1))
        endpoint.failures[worker.slot] = Failure(reason, now + pause_s)
        log.warning("model worker failed", extra={"endpoint": worker.endpoint.name, "reason": reason})

    def _ping_idle_workers(self, underway: Underway) -> None:
        """Workers that are asked something show by their answers how they are; the others are asked for it."""
        for worker in self._workers.values():
            channel, key = worker.channel, (worker.id, "ping")
            if (
                worker.phase == "ready"
                and channel is not None
                and not channel.in_flight
                and key not in underway
            ):
                underway.start(key, self._ping(channel))

    async def _ping(self, channel: Channel) -> None:
        try:
            await channel.ping(_PING_TIMEOUT_S)
        except CallTimeoutError:
            self._unresponsive(channel)
        except ChannelError:
            pass  # gone: the channel tells that by itself

    def _unresponsive(self, channel: WorkerChannel) -> None:
        for worker in self._workers.values():
            if worker.channel is not None and worker.channel is channel and worker.phase == "ready":
                worker.unresponsive = True
                self._lost(self._endpoints[worker.endpoint], worker)
                worker.channel.close()
