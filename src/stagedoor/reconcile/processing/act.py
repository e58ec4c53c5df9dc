"""One processing job from its slot to its end: stage, run on each instance, upload, record.

Place in the flow: ``jobs.act`` runs ``ProcessingJobs.run`` for each job that the plan starts. A job that a crash interrupted is run again
from its beginning, into the same outputs.
"""

import asyncio
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.domain.ids import resource_suffix
from stagedoor.engine.interface import Engine, Workload
from stagedoor.reconcile import programs
from stagedoor.reconcile.jobs import cluster
from stagedoor.reconcile.jobs.failures import FAILURES, failure
from stagedoor.reconcile.jobs.hosts import Hosts, Left
from stagedoor.reconcile.jobs.outcome import left_text
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.steps import Change, Steps
from stagedoor.reconcile.jobs.stop_signal import StoppedError, StopSignal
from stagedoor.reconcile.processing import documents, instances
from stagedoor.reconcile.processing.outputs import Outputs
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.contents import Contents
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document, Key, Records
from stagedoor.traffic.log_writer import LogPlace

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
STOP_GRACE_S = 120.0
_MESSAGE = "opt/ml/output/message"
_MESSAGE_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class ProcessingStores:
    """Where records and objects are."""

    records: Records
    objects: ObjectRows
    contents: Contents


@dataclass(frozen=True, slots=True)
class _Run:
    """A job that runs: where its inputs are staged, and its hosts: names, workloads' ids and log streams in the same order."""

    key: Key
    directory: Path
    hosts: list[str]
    workload_ids: list[str]
    places: list[LogPlace]


class ProcessingJobs:
    """The ``JobKind`` of processing jobs. ``directory`` is for staged inputs; nothing in it outlives a run."""

    name = "processing jobs"
    record_kind = "sagemaker.processing_job"
    status_member = "ProcessingJobStatus"

    def __init__(
        self,
        stores: ProcessingStores,
        engine: Engine,
        logs: WorkerLogs,
        slots: JobSlots,
        clock: Clock,
        directory: Path,
        access: RoleAccess,
        *,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._stores = stores
        self._steps = Steps(stores.records, clock)
        self._engine = engine
        self._hosts = Hosts(engine, logs, stop_grace_s)
        self._slots = slots
        self._clock = clock
        self._directory = directory
        self._access = access

    def max_runtime_s(self, document: Document) -> float | None:
        """See ``JobKind``."""
        return float(document["StoppingCondition"]["MaxRuntimeInSeconds"])

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """See ``JobKind``."""
        self._hosts.exited(workload_id, exit_code)

    async def tidy(self) -> None:
        """See ``JobKind``."""
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def end_unstarted(self, key: Key) -> None:
        """See ``JobKind``."""
        await self._steps.commit(key, _ended("Stopped"))

    async def run(self, key: Key, stop: StopSignal) -> None:
        """See ``JobKind``."""
        document = await self._steps.commit(key, documents.started)
        run = self._planned(key, document)
        try:
            change = await self._run(run, document, stop)
        except asyncio.CancelledError:
            stop.set("Stopped")  # for a thread that still fetches inputs
            raise
        except StoppedError:
            change = _ended("Stopped")
        except FAILURES as error:
            found = failure(error, "processing job")
            if found.may_retry:
                log.exception("processing job failed", extra={"job": key.name})
            change = _ended("Failed", reason=found.reason)
        finally:
            await self._hosts.clear(run.workload_ids)
            await asyncio.to_thread(shutil.rmtree, run.directory, ignore_errors=True)
        await self._steps.commit(key, change)

    def _planned(self, key: Key, document: Document) -> _Run:
        run, names = f"processing-{key.name}-{resource_suffix()}", cluster.hosts(document)
        stream, now = document["ProcessingJobName"], int(self._clock.now())
        return _Run(
            key,
            self._directory / run,
            names,
            [f"{run}-{name}" for name in names],
            [LogPlace(key.account_id, key.region, LOG_GROUP, f"{stream}/{name}-{now}") for name in names],
        )

    async def _run(self, run: _Run, document: Document, stop: StopSignal) -> Change:
        """All steps but the last; gives the last one's change."""
        stop.check()
        stores = self._stores
        files = await asyncio.to_thread(
            instances.stage, document, run.directory, stores.objects, stores.contents, stop.check
        )
        outputs = Outputs(document, stores.objects, stores.contents, self._clock)
        left = await self._process(run, document, files, outputs, stop)
        while left.requirements and stop.cause is None:
            await self._hosts.clear(run.workload_ids)
            preparing = programs.prepared(document["program"], self._engine, left.requirements)
            document = document | {"program": await stop.unless_set(preparing)}
            left = await self._process(run, document, files, outputs, stop)
        # A program that failed has its outputs only where they were to be seen while it ran.
        succeeded = [
            end.scratch
            for end, its in zip(left.ends, left.outcomes, strict=True)
            if not its.reason or stop.cause
        ]
        await asyncio.to_thread(outputs.store, left.scratches, succeeded=succeeded)
        message = await asyncio.to_thread(_exit_message, left)
        if stop.cause is not None:
            return _ended("Stopped", exit_message=message)
        if left.failed:
            return _ended("Failed", reason=left.reason, exit_message=message)
        return _ended("Completed", exit_message=message)

    async def _process(
        self,
        run: _Run,
        document: Document,
        files: Sequence[dict[str, Path]],
        outputs: Outputs,
        stop: StopSignal,
    ) -> Left:
        """Run the instances' processes to their end."""
        parts = programs.job_parts(document, self._access, document["ProcessingJobName"], run.key.region)
        workloads = [
            self._workload(run, document, number, files[number], parts) for number in range(len(run.hosts))
        ]
        return await self._hosts.run(list(zip(workloads, run.places, strict=True)), stop, outputs.keep)

    def _workload(
        self, run: _Run, document: Document, number: int, files: dict[str, Path], parts: programs.JobParts
    ) -> Workload:
        """The process of one instance."""
        return Workload(
            id=run.workload_ids[number],
            kind="job",
            runtime=parts.runtime,
            spec=instances.spec(document, parts, run.hosts[number], run.hosts),
            environment={
                **parts.environment(run.workload_ids[number]),
                "PROCESSING_JOB_NAME": document["ProcessingJobName"],
                "PROCESSING_JOB_ARN": document["ProcessingJobArn"],
                **document.get("Environment", {}),
            },
            files=files,
            threads=max(1, self._slots.threads(run.key) // len(run.hosts)),
            connect_ports=parts.connect_ports,
        )


def _exit_message(left: Left) -> str:
    """What the first program that did so wrote to ``/opt/ml/output/message``. Blocks."""
    messages = (left_text(scratch, _MESSAGE, _MESSAGE_CHARACTERS) or "" for scratch in left.scratches)
    return next((text.strip() for text in messages if text.strip()), "")


def _ended(ending: str, *, reason: str = "", exit_message: str = "") -> Change:
    return partial(documents.ended, ending=ending, reason=reason, exit_message=exit_message)
