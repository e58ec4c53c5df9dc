"""The reconciler of one kind of job: looks at the records, plans, starts runs and tells them to end.

Place in the flow: run by ``reconcile.loop``. What a run does is its kind's own (``training.act``, ``transform.act``): it takes
one job from its beginning to an end that stands in the record. All else about runs is in memory, so a server that starts
again finds jobs in progress that do not run, and starts them anew.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stagedoor.domain.clock import Clock
from stagedoor.reconcile.jobs import demand
from stagedoor.reconcile.jobs.plan import Job, Run, View, plan
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.stop_signal import StopSignal
from stagedoor.reconcile.loop import Underway
from stagedoor.store.record_mirror import RecordMirror
from stagedoor.store.records import Document, Key, Record, Records

log = logging.getLogger(__name__)

_IDLE_TICK_S = 30.0
_AFTER_FAILURE_S = 1.0


class JobKind(Protocol):
    """What is particular about a kind of job."""

    name: str
    record_kind: str
    status_member: str

    def max_runtime_s(self, document: Document) -> float | None:
        """The job's time limit, if it has one."""
        ...

    async def run(self, key: Key, stop: StopSignal) -> None:
        """Take the job from its beginning to its end; when this returns, the record says how it ended.

        Cancelled at shutdown: then nothing runs any more, and the record still says InProgress or Stopping.
        """
        ...

    async def end_unstarted(self, key: Key) -> None:
        """Record the end of a job that was asked to stop before it ran."""
        ...

    async def tidy(self) -> None:
        """Remove what runs of an earlier server left on disk. Called once, before the first run."""
        ...

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """An ``engine.interface.ExitListener``; other workloads are somebody else's."""
        ...


@dataclass(slots=True)
class _Running:
    started_at: float
    stop: StopSignal = field(default_factory=StopSignal)


class JobReconciler:
    """Makes all jobs of one kind run to their end. ``wake`` must be set to the loop's before it starts."""

    def __init__(self, kind: JobKind, records: Records, slots: JobSlots, clock: Clock) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._kind = kind
        self._jobs = RecordMirror(records, kind.record_kind, self._job)
        self._slots = slots
        self._clock = clock
        self._running: dict[Key, _Running] = {}
        self._tidy = False
        self._tick_s = _IDLE_TICK_S
        slots.on_free(self._may_start)

    @property
    def name(self) -> str:
        return self._kind.name

    @property
    def watches(self) -> tuple[str, ...]:
        return (self._kind.record_kind,)

    @property
    def tick_s(self) -> float:
        """Until the next run reaches its time limit."""
        return self._tick_s

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """An ``engine.interface.ExitListener``."""
        self._kind.worker_exited(workload_id, exit_code)

    async def reconcile(self, underway: Underway) -> None:
        """One step for all jobs."""
        if not self._tidy:
            await self._kind.tidy()
            self._tidy = True
        # A run that ends while the records are looked at was in progress in what is seen: it is not begun again.
        ran_before = set(self._running)
        jobs = await asyncio.to_thread(self._unended)
        monotonic, now = self._clock.monotonic(), self._clock.now()
        runs = {
            key: Run(monotonic - running.started_at, running.stop.cause)
            for key, running in self._running.items()
        }
        others = self._slots.others_wait_since(self.name)
        found = plan(View(jobs, runs, self._slots.free, now, others))
        self._tick_s = _IDLE_TICK_S if found.due_s is None else min(_IDLE_TICK_S, found.due_s)
        for key, cause in found.stop:
            log.info("stopping job", extra={"job": key.name, "kind": self.name, "cause": cause})
            self._running[key].stop.set(cause)
        for key in found.end:
            if key not in underway and key not in ran_before:
                underway.start(key, self._kind.end_unstarted(key))
        cores = {job.key: job.cores for job in jobs}
        for key in found.start:
            if key not in underway and key not in ran_before:
                self._slots.take(key, cores[key])
                self._running[key] = _Running(self._clock.monotonic())
                underway.start(key, self._run(key, self._running[key]))
        for key in found.give_up:
            if key not in underway and key not in ran_before:
                self._running[key] = _Running(self._clock.monotonic())
                self._running[key].stop.set("MaxWaitTimeExceeded")  # it ends with its first step
                underway.start(key, self._run(key, self._running[key]))
        self._slots.wait(self.name, found.waiting_since)

    async def close(self) -> None:
        """Runs were cancelled and have ended what they started."""

    def _may_start(self) -> None:
        self.wake()  # which is set after this object is made

    def _unended(self) -> list[Job]:
        self._jobs.catch_up()
        return [job for _, job in sorted(self._jobs.found.items())]

    def _job(self, record: Record) -> Job | None:
        """What the plan must know of a job; None when it has ended."""
        document = record.document
        if document[self._kind.status_member] not in ("InProgress", "Stopping"):
            return None
        return Job(
            record.key,
            document[self._kind.status_member] == "Stopping",
            document["CreationTime"],
            self._kind.max_runtime_s(document),
            demand.cores(document, self._slots.cores),
            demand.max_wait_s(document),
        )

    async def _run(self, key: Key, running: _Running) -> None:
        log.info("job runs", extra={"job": key.name, "kind": self.name})
        try:
            await self._kind.run(key, running.stop)
        except Exception:
            # A run that cannot even record its end (a full disk) is tried again, and must not spin.
            await asyncio.sleep(_AFTER_FAILURE_S)
            raise
        finally:
            self._running.pop(key, None)
            self._slots.release(key)
