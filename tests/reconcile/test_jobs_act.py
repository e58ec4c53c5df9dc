"""The reconciler of jobs, whatever their kind: a job runs once, however the looks at the records and the ends of runs interleave."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from stagedoor.domain.clock import SystemClock
from stagedoor.reconcile.jobs.act import JobReconciler
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.stop_signal import StopSignal
from stagedoor.reconcile.loop import Underway
from stagedoor.store.records import Document, Key, Record, SqliteRecords

KEY = Key("sagemaker.transform_job", "000000000000", "us-east-1", "job")


class SlowRecords(SqliteRecords):
    """Records that are read late: what they tell was true when they were asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def get(self, key: Key) -> Record | None:
        found = super().get(key)
        self.asked.set()
        assert self.may_answer.wait(20)
        return found

    def put(self, **members: Any) -> None:
        with self.transaction() as transaction:
            transaction.put(KEY, {"CreationTime": 1.0, **members})


class Kind:
    """Jobs that end when the test says so."""

    name = "jobs"
    record_kind = KEY.kind
    status_member = "Status"

    def __init__(self, records: SlowRecords) -> None:
        self._records = records
        self.may_end = asyncio.Event()
        self.runs = 0
        self.ended_unstarted = 0

    def max_runtime_s(self, document: Document) -> float | None:
        return None

    async def run(self, key: Key, stop: StopSignal) -> None:
        self.runs += 1
        await self.may_end.wait()
        self._records.put(Status="Completed")

    async def end_unstarted(self, key: Key) -> None:
        self.ended_unstarted += 1

    async def tidy(self) -> None:
        pass

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        pass


def test_a_run_that_ends_while_the_records_are_looked_at_is_not_begun_again(tmp_path: Path) -> None:
    for status in ("InProgress", "Stopping"):
        records = SlowRecords(tmp_path / f"{status}.sqlite")
        records.put(Status="InProgress")

        async def story(records: SlowRecords = records, status: str = status) -> None:
            kind, underway = Kind(records), Underway(asyncio.Event())
            reconciler = JobReconciler(kind, records, JobSlots(2), SystemClock())
            await reconciler.reconcile(underway)
            await asyncio.sleep(0)
            assert kind.runs == 1
            records.put(Status=status)
            records.asked.clear()
            records.may_answer.clear()
            look = asyncio.ensure_future(reconciler.reconcile(underway))
            assert await asyncio.to_thread(records.asked.wait, 20)
            kind.may_end.set()
            while KEY in underway:  # noqa: ASYNC110 - the end of another task
                await asyncio.sleep(0)
            records.may_answer.set()
            await look
            await underway.drain()
            assert (kind.runs, kind.ended_unstarted) == (1, 0)
            record = records.get(KEY)
            assert record is not None
            assert record.document["Status"] == "Completed"

        asyncio.run(story())
        records.close()
