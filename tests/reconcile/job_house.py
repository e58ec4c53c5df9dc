"""What the reconcilers of jobs work in, with the fake engine: real stores, real logs, real loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stagedoor.domain.clock import SystemClock
from stagedoor.engine.fake import Behaviour, FakeEngine
from stagedoor.engine.interface import Workload
from stagedoor.reconcile.jobs.act import JobKind, JobReconciler
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.loop import Loop
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.object_rows import Bucket, ObjectRows
from stagedoor.store.records import Document, Key, SqliteRecords
from stagedoor.traffic.log_writer import LogWriter

ACCOUNT, REGION, BUCKET = "000000000000", "us-east-1", "data"
PATIENCE_S = 20.0


class Clock(SystemClock):
    """The machine's clock, which a test may put forward."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@dataclass
class House:
    """Stores on disk and an engine; a second one on the same directory is the server after a restart."""

    root: Path
    behaviour: Callable[[Workload], Behaviour]
    slots: JobSlots = field(default_factory=lambda: JobSlots(1))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.records = SqliteRecords(self.root / "state.sqlite")
        self.contents = Contents(self.root / "contents")
        self.objects = ObjectRows(self.root / "state.sqlite", self.contents)
        self.log_events = LogEvents(self.root / "logs.sqlite")
        self.metric_points = MetricPoints(self.root / "metrics.sqlite")
        self.engine = FakeEngine(self.root / "scratch", self.behaviour)
        if self.objects.find_bucket(BUCKET) is None:
            self.objects.create_bucket(Bucket(BUCKET, ACCOUNT, REGION, self.clock.now()))

    @contextlib.asynccontextmanager
    async def running(self, make: Callable[["House", WorkerLogs], JobKind]) -> AsyncIterator[Loop]:
        """The reconciler of one kind of job, in its loop."""
        logs = WorkerLogs(LogWriter(self.log_events), self.clock)
        reconciler = JobReconciler(make(self, logs), self.records, self.slots, self.clock)
        loop = Loop(reconciler, self.records)
        reconciler.wake = loop.wake
        await self.engine.open(logs.output, reconciler.worker_exited)
        loop.start()
        try:
            yield loop
        finally:
            await loop.close()
            await self.engine.close()

    def put(self, key: str, data: bytes) -> None:
        objects_io.put_bytes(self.objects, self.contents, BUCKET, key, data, now=self.clock.now())

    def read(self, key: str) -> bytes | None:
        row = self.objects.get(BUCKET, key)
        return objects_io.read_bytes(self.objects, self.contents, row) if row else None

    def insert(self, kind: str, name: str, document: Document) -> Key:
        key = Key(kind, ACCOUNT, REGION, name)
        with self.records.transaction() as transaction:
            transaction.insert(key, document)
        return key

    def change(self, key: Key, **members: Any) -> None:
        with self.records.transaction() as transaction:
            record = transaction.get(key)
            assert record is not None
            transaction.put(key, record.document | members)

    def document(self, key: Key) -> Document:
        record = self.records.get(key)
        assert record is not None
        return record.document

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what changes is in a database
                await asyncio.sleep(0.005)

    def log_lines(self, group_name: str) -> dict[str, list[str]]:
        """All lines of a log group, by stream."""
        group = self.log_events.group(ACCOUNT, REGION, group_name)
        lines: dict[str, list[str]] = {}
        for event in self.log_events.read(group) if group else []:
            lines.setdefault(event.stream, []).append(event.message)
        return lines
