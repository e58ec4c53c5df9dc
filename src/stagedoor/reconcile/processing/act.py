"""One processing job from its slot to its end: stage, run on each instance, upload, record.

Place in the flow: ``jobs.act`` runs ``ProcessingJobs.run`` for each job that the plan starts. A job that a crash interrupted is run again
from its beginning, into the same outputs. All instances are processes of this machine; the job ends when all have ended,
and when one fails the others are ended.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stagedoor.domain.clock import Clock
from stagedoor.domain.ids import resource_suffix
from stagedoor.engine.interface import Engine, EngineError, RuntimeUnavailableError, Workload
from stagedoor.reconcile import programs
from stagedoor.reconcile.jobs.outcome import Outcome, outcome, plain_file
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.stop_signal import StoppedError, StopSignal
from stagedoor.reconcile.processing import documents, instances, outputs
from stagedoor.reconcile.processing.outputs import Uploads
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import NoSuchBucketError, ObjectRows
from stagedoor.store.records import Document, Key, Records
from stagedoor.traffic.log_writer import LogPlace

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
STOP_GRACE_S = 120.0
CONTINUOUS_EVERY_S = 2.0
_KILL_GRACE_S = 5.0
_MESSAGE_BYTES = 4096

Change = Callable[[Document, float], Document]


@dataclass(frozen=True, slots=True)
class ProcessingStores:
    """Where records and objects are."""

    records: Records
    objects: ObjectRows
    contents: Contents


@dataclass(slots=True)
class _Instance:
    """One process of a job, and where its outputs go."""

    workload_id: str
    host: str
    files: dict[str, Path]
    uploads: list[tuple[dict[str, Any], Uploads]]
    left: Outcome | None = None
    exit_message: str = ""


@dataclass(slots=True)
class _Run:
    """A job that runs."""

    key: Key
    document: Document
    program: programs.Program
    directory: Path
    stop: StopSignal
    began: int
    instances: list[_Instance] = field(default_factory=list[_Instance])
    reason: str = ""


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
        self._engine = engine
        self._logs = logs
        self._slots = slots
        self._clock = clock
        self._directory = directory
        self._access = access
        self._stop_grace_s = stop_grace_s
        self._exits: dict[str, asyncio.Future[int]] = {}

    def max_runtime_s(self, document: Document) -> float | None:
        """See ``JobKind``."""
        return float(document["StoppingCondition"]["MaxRuntimeInSeconds"])

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """See ``JobKind``."""
        exited = self._exits.get(workload_id)
        if exited is not None and not exited.done():
            exited.set_result(exit_code)

    async def tidy(self) -> None:
        """See ``JobKind``."""
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def end_unstarted(self, key: Key) -> None:
        """See ``JobKind``."""
        await self._change(key, lambda document, now: documents.ended(document, now, "Stopped"))

    async def run(self, key: Key, stop: StopSignal) -> None:
        """See ``JobKind``."""
        suffix = resource_suffix()
        document = await self._change(key, documents.started)
        directory = self._directory / f"{key.name}-{suffix}"
        run = _Run(key, document, document["program"], directory, stop, int(self._clock.now()))
        try:
            change = await self._run(run, suffix)
        except asyncio.CancelledError:
            stop.set("Stopped")  # for a thread that still fetches inputs
            raise
        except StoppedError:
            change = _ended("Stopped")
        except (instances.DownloadError, RuntimeUnavailableError) as error:
            change = _ended("Failed", reason=f"ClientError: {error}")
        except NoSuchBucketError as error:
            change = _ended(
                "Failed", reason=f"ClientError: The bucket of an output does not exist any more: {error}"
            )
        except EngineError as error:
            change = _ended(
                "Failed", reason=f"InternalServerError: The processing job could not be started: {error}"
            )
        except (OSError, objects_io.ObjectChangedError) as error:
            log.exception("processing job failed", extra={"job": key.name})
            change = _ended("Failed", reason=f"InternalServerError: {error}. Please try again.")
        finally:
            await self._clear(run)
        await self._change(key, change)

    async def _run(self, run: _Run, suffix: str) -> Change:
        """All steps but the last; gives the last one's change."""
        run.stop.check()
        stores = self._stores
        staged = await asyncio.to_thread(
            instances.stage, run.document, run.directory, stores.objects, stores.contents, run.stop.check
        )
        for host, files in zip(instances.hosts(run.document), staged, strict=True):
            run.instances.append(
                _Instance(
                    f"processing-{run.key.name}-{suffix}-{host}",
                    host,
                    files,
                    self._uploads(run.document, run.directory),
                )
            )
        await self._process(run)
        wanted = next(
            (each.left.requirements for each in run.instances if each.left and each.left.requirements), ""
        )
        if wanted and run.stop.cause is None:
            for instance in run.instances:
                await self._engine.stop(instance.workload_id, 0)
            ready = await run.stop.unless_set(self._engine.prepare(run.program["runtime"], wanted))
            run.program = programs.prepared(run.program, ready)
            await self._process(run)
        message = next((each.exit_message for each in run.instances if each.exit_message), "")
        if run.stop.cause is not None:
            return _ended("Stopped", exit_message=message)
        if run.reason:
            return _ended("Failed", reason=run.reason, exit_message=message)
        return _ended("Completed", exit_message=message)

    def _uploads(self, document: Document, directory: Path) -> list[tuple[dict[str, Any], Uploads]]:
        stores = self._stores
        return [
            (
                output,
                Uploads(
                    stores.objects,
                    stores.contents,
                    self._clock,
                    directory / "uploads",
                    Location.parse(output["S3Uri"]),
                ),
            )
            for output in outputs.of(document)
        ]

    async def _process(self, run: _Run) -> None:
        """Run all instances to their ends; the first failure ends the others."""
        tasks = [asyncio.ensure_future(self._instance(run, instance)) for instance in run.instances]
        try:
            for done in asyncio.as_completed(tasks):
                left = await done
                if left.reason and not run.reason:
                    run.reason = left.reason  # how the others end now is a consequence
                    for instance in run.instances:
                        await self._engine.terminate(instance.workload_id)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _instance(self, run: _Run, instance: _Instance) -> Outcome:
        """One instance from its start to its uploaded outputs."""
        workload = await asyncio.to_thread(self._workload, run, instance)
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits[instance.workload_id] = exited
        stream = f"{run.document['ProcessingJobName']}/{instance.host}-{run.began}"
        self._logs.attach(
            instance.workload_id, LogPlace(run.key.account_id, run.key.region, LOG_GROUP, stream)
        )
        placement = await self._engine.start(workload)
        scratch = Path(placement.scratch)
        watching = asyncio.ensure_future(self._upload_continuously(instance, scratch))
        try:
            await self._until_exit(instance.workload_id, exited, run.stop)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        last_lines = self._logs.last_lines(instance.workload_id)
        self._logs.detach(instance.workload_id)
        await self._logs.drained()
        instance.left = await asyncio.to_thread(outcome, scratch, exited.result(), last_lines)
        if not instance.left.requirements:
            instance.exit_message = await asyncio.to_thread(_exit_message, scratch)
            for output, uploads in instance.uploads:
                # A program that failed has its outputs only where they were to be seen while it ran.
                if not instance.left.reason or run.stop.cause or output["S3UploadMode"] == "Continuous":
                    await asyncio.to_thread(uploads.upload, scratch, _place(output))
        return instance.left

    def _workload(self, run: _Run, instance: _Instance) -> Workload:
        document: Document = {**run.document, "program": run.program}
        name: str = document["ProcessingJobName"]
        parts = programs.job_parts(document, self._access, name, run.key.region)
        return Workload(
            id=instance.workload_id,
            kind="job",
            runtime=parts.runtime,
            spec=instances.spec(document, parts, instance.host, instances.hosts(document)),
            environment={
                **parts.environment,
                "PROCESSING_JOB_NAME": name,
                "PROCESSING_JOB_ARN": document["ProcessingJobArn"],
                **document.get("Environment", {}),
            },
            files=instance.files,
            threads=max(1, self._slots.threads(run.key) // len(run.instances)),
            connect_ports=parts.connect_ports,
        )

    async def _upload_continuously(self, instance: _Instance, scratch: Path) -> None:
        wanted = [each for each in instance.uploads if each[0]["S3UploadMode"] == "Continuous"]
        while wanted:
            await asyncio.sleep(CONTINUOUS_EVERY_S)
            for output, uploads in wanted:
                try:
                    await asyncio.to_thread(uploads.upload, scratch, _place(output))
                except (OSError, NoSuchBucketError):
                    log.exception("an output could not be uploaded", extra={"workload": instance.workload_id})

    async def _until_exit(self, workload_id: str, exited: asyncio.Future[int], stop: StopSignal) -> None:
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((exited, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await self._engine.terminate(workload_id)
                await asyncio.wait((exited,), timeout=self._stop_grace_s)
            if not exited.done():
                await self._engine.stop(workload_id, 0)
                await asyncio.wait((exited,), timeout=_KILL_GRACE_S)
        finally:
            stopped.cancel()
        if not exited.done():
            raise EngineError("the process does not end")

    async def _clear(self, run: _Run) -> None:
        """Nothing is left running or on disk."""
        for instance in run.instances:
            await self._engine.stop(instance.workload_id, _KILL_GRACE_S)
            self._exits.pop(instance.workload_id, None)
            self._logs.detach(instance.workload_id)
        await asyncio.to_thread(shutil.rmtree, run.directory, ignore_errors=True)

    async def _change(self, key: Key, change: Change) -> Document:
        return await asyncio.to_thread(self._commit, key, change)

    def _commit(self, key: Key, change: Change) -> Document:
        with self._stores.records.transaction() as transaction:
            record = transaction.get(key)
            assert record is not None, "jobs are deleted only after their end"
            return transaction.put(key, change(record.document, self._clock.now())).document


def _place(output: dict[str, Any]) -> str:
    return f"opt/ml/{instances.inside(output['LocalPath'])}"


def _exit_message(scratch: Path) -> str:
    """What the program wrote to ``/opt/ml/output/message``."""
    path = plain_file(scratch, scratch / "opt" / "ml" / "output" / "message")
    if path is None:
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MESSAGE_BYTES).strip()


def _ended(ending: str, *, reason: str = "", exit_message: str = "") -> Change:
    return partial(documents.ended, ending=ending, reason=reason, exit_message=exit_message)
