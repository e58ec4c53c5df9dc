"""The endpoints' reconciler: looks at records and workers, plans, and carries the plans out.

Place in the flow: run by ``reconcile.loop``; woken by commits to endpoints, by workers that became ready and by workers that
are gone. It publishes routes (``traffic.endpoint_routes``), writes statuses, and starts and stops workers through
``workers``. All it knows besides the records is in memory: a server that starts again begins with no workers and every
endpoint's record, and the same plans bring them back.

A pass looks at the endpoints of which something changed, and now and then at all. An invocation that finds no worker of an endpoint
does not wait for a pass: ``_asked_for`` plans for that endpoint at once.
"""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from stagedoor.domain.clock import Clock
from stagedoor.engine.interface import Engine
from stagedoor.reconcile.endpoints import fleets
from stagedoor.reconcile.endpoints.plan import Failure, Outcome, Plan, Route, Slot, View, Worker, plan
from stagedoor.reconcile.endpoints.workers import ModelWorker, StartError, Workshop, exit_reason, log_place
from stagedoor.reconcile.loop import Underway
from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.record_mirror import RecordMirror
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
_STEPS_AT_ONCE = 20


@dataclass(slots=True)
class _Endpoint:
    """What is in memory about one endpoint.

    ``used_at``: when it was last seen to be used (monotonic), or came into service. ``start_failure``: why its workers did not come up
    when they were last started, empty when they did; None when nobody has tried in the life of this server.
    """

    route_key: EndpointKey
    used_at: float = -math.inf
    start_failure: str | None = None
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
        idle_s: float = 0.0,
        access: RoleAccess | None = None,
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._records = records
        self._known = RecordMirror(records, fleets.KIND, _itself)
        self._routes = routes
        self._clock = clock
        self._workshop = Workshop(engine, model_files, logs, clock, start_timeout_s, invoke_timeout_s, access)
        self._idle_s = idle_s
        self._endpoints: dict[Key, _Endpoint] = {}
        self._keys: dict[EndpointKey, Key] = {}
        # Endpoints of which something changed since they were last planned for.
        self._changed: set[Key] = set()
        self._look_at_all_at = -math.inf
        self._underway: Underway | None = None
        self._workers: dict[str, ModelWorker] = {}
        self._numbers = itertools.count(1)
        self._first_pass = True
        self._closing = False
        self._ping_every_s = min(_PING_EVERY_S, idle_s / 4) if idle_s else _PING_EVERY_S
        self._ping_at = clock.monotonic() + self._ping_every_s
        routes.on_unresponsive(self._unresponsive)
        routes.on_wanted(self._asked_for)

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
        """One step for every endpoint of which something changed, or whose time has come; now and then for all."""
        self._underway = underway
        if not self._known.is_current:
            self._changed |= await asyncio.to_thread(self._known.catch_up)
        now = self._clock.monotonic()
        keys, self._changed = self._changed, set()
        keys |= {key for key, each in self._endpoints.items() if each.due is not None and each.due <= now}
        if now >= self._look_at_all_at:
            self._look_at_all_at = now + _IDLE_TICK_S
            keys |= self._known.found.keys() | self._endpoints.keys()
        for count, key in enumerate(keys, 1):
            try:
                await self._step(key, underway)
            except ConflictError:
                self._note(key)  # an operation was faster: plan again with what it wrote
            except BaseException:
                self._changed |= keys
                raise
            if count % _STEPS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if self._clock.monotonic() >= self._ping_at:
            self._ping_at = self._clock.monotonic() + self._ping_every_s
            self._note_uses()
            self._ping_idle_workers(underway)
        if self._first_pass:
            self._first_pass = False
            self._routes.loaded()
            needed = [
                each for record in self._known.found.values() for each in fleets.artifacts(record.document)
            ]
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

    async def _step(self, key: Key, underway: Underway) -> None:
        record = self._known.found.get(key)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            if record is None:
                return
            route_key = EndpointKey(key.account_id, key.region, record.document["EndpointName"])
            endpoint = self._endpoints[key] = _Endpoint(route_key)
            self._keys[route_key] = key
        for worker in endpoint.lost:
            underway.start((worker.id, "stop"), self._clear_away(endpoint, worker))
        endpoint.lost = []
        found = plan(self._view(endpoint, record))
        self._publish(endpoint, found.routes)
        if found.outcome is not None:
            await self._write(key, record, endpoint, found.outcome)
            # What follows from the new record is planned at once.
            self._note(key)
        self._carry_out(endpoint, record, found, underway)
        if record is not None and found.outcome is None:
            await self._say_how_it_started(record, endpoint)

    def _carry_out(self, endpoint: _Endpoint, record: Record | None, found: Plan, underway: Underway) -> None:
        endpoint.due = found.due
        for worker_id in found.stop:
            worker = endpoint.workers.get(worker_id)
            if worker is not None and worker.phase != "draining":
                self._stop(endpoint, worker, underway, _is_deleting(record))
        for slot in found.start:
            assert record is not None
            self._start(record, endpoint, slot, underway)

    def _note(self, key: Key) -> None:
        """Something about an endpoint changed: the next pass looks at it."""
        self._changed.add(key)
        self.wake()

    def _asked_for(self, route_key: EndpointKey) -> None:
        """An invocation found no worker. If the endpoint rests, its workers are started now, and not after a pass."""
        key = self._keys.get(route_key)
        endpoint = self._endpoints.get(key) if key is not None else None
        if key is None or endpoint is None or self._underway is None or self._closing:
            return  # the first pass has not come to it; the invocation asks again when it has
        rested = self._is_resting(endpoint)
        endpoint.used_at = self._clock.monotonic()
        if not rested:
            return
        record = self._known.found.get(key)
        found = plan(self._view(endpoint, record))
        if found.outcome is not None or record is None:
            self._note(key)  # what has to be written, a pass writes
            return
        self._carry_out(endpoint, record, found, self._underway)
        if found.due is not None:
            self.wake()

    def _is_resting(self, endpoint: _Endpoint) -> bool:
        return bool(self._idle_s) and endpoint.used_at + self._idle_s <= self._clock.monotonic()

    def _view(self, endpoint: _Endpoint, record: Record | None) -> View:
        document: Document = record.document if record else {}
        serving, coming = fleets.read(document.get("serving")), fleets.read(document.get("coming"))
        wanted = {slot for fleet in (serving, coming) if fleet for slot in fleet.slots()}
        for slot in [slot for slot in endpoint.attempts if slot not in wanted]:
            endpoint.failures.pop(slot, None)
            del endpoint.attempts[slot]
        now = self._clock.monotonic()
        if self._is_used(endpoint):
            endpoint.used_at = now
        return View(
            serving,
            coming,
            _is_deleting(record),
            [Worker(worker.id, worker.slot, worker.phase) for worker in endpoint.workers.values()],
            endpoint.failures,
            now,
            endpoint.used_at + self._idle_s if self._idle_s else None,
        )

    def _note_uses(self) -> None:
        now = self._clock.monotonic()
        for endpoint in self._endpoints.values():
            if endpoint.workers and self._is_used(endpoint):
                endpoint.used_at = now

    def _is_used(self, endpoint: _Endpoint) -> bool:
        """Whether anybody has asked since the last look, waits, or is being answered.

        What is stopped already finishes its calls; until front processes have hung up it even seems to have some.
        """
        used = self._routes.waiting(endpoint.route_key) > 0
        for worker in endpoint.workers.values():
            channel = worker.channel
            if channel is not None and worker.phase != "draining":
                used |= channel.calls > worker.calls_seen or channel.in_flight > 0
                worker.calls_seen = channel.calls
        return used

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
            self._keys.pop(endpoint.route_key, None)
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
            endpoint.used_at = self._clock.monotonic()
            endpoint.start_failure = None
            log.info("endpoint in service", extra={"endpoint": key.name})

    async def _say_how_it_started(self, record: Record, endpoint: _Endpoint) -> None:
        """An endpoint in service whose workers do not come up stays in service, and says why they do not."""
        document = fleets.with_start_failure(record.document, endpoint.start_failure)
        if document is not record.document:
            await asyncio.to_thread(self._replace_record, record, document)

    def _replace_record(self, record: Record, document: Document) -> None:
        with self._records.transaction() as transaction:
            transaction.put(record.key, document, expect=record.revision)

    def _remove_record(self, record: Record) -> None:
        with self._records.transaction() as transaction:
            transaction.delete(record.key)
            transaction.delete(fleets.tags_key(record.key))

    # Workers ----------------------------------------------------------------------------------------------------------

    def _start(self, record: Record, endpoint: _Endpoint, slot: Slot, underway: Underway) -> None:
        key = record.key
        variant = fleets.variant_of(record.document, slot.generation, slot.variant)
        assert variant is not None
        place = log_place(key, record.document, slot)
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
                if all(other.phase == "draining" for other in endpoint.workers.values()):
                    endpoint.start_failure = str(error)
                    self._routes.start_failed(endpoint.route_key, str(error))
            return
        if worker.phase == "starting":
            worker.phase = "ready"
            endpoint.start_failure = ""
            assert worker.channel is not None
            worker.channel.on_closed(lambda: self._lost(endpoint, worker))
            self._note(worker.endpoint)

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
        self._note(worker.endpoint)

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
        self._note(worker.endpoint)

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
                underway.start(key, self._ping(worker, channel))

    async def _ping(self, worker: ModelWorker, channel: Channel) -> None:
        try:
            counters = await channel.ping(_PING_TIMEOUT_S)
        except CallTimeoutError:
            # What a front process asked of it meanwhile may take long; that has a time-out of its own.
            if not channel.calls_elsewhere:
                self._unresponsive(channel)
        except ChannelError:
            pass  # gone: the channel tells that by itself
        else:
            # Who reaches the worker by another connection is seen by the worker alone.
            elsewhere = counters.get("calls", 0) - channel.calls
            endpoint = self._endpoints.get(worker.endpoint)
            if elsewhere > worker.calls_by_others and endpoint is not None:
                worker.calls_by_others = elsewhere
                endpoint.used_at = self._clock.monotonic()

    def _unresponsive(self, channel: WorkerChannel) -> None:
        for worker in self._workers.values():
            if worker.channel is not None and worker.channel is channel and worker.phase == "ready":
                worker.unresponsive = True
                self._lost(self._endpoints[worker.endpoint], worker)
                worker.channel.close()


def _is_deleting(record: Record | None) -> bool:
    return record is None or record.document["EndpointStatus"] == "Deleting"


def _itself(record: Record) -> Record:
    return record
