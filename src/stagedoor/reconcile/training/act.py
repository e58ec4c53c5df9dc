"""One training job from its slot to its end: stage, train, upload, record.

Place in the flow: ``jobs.act`` runs ``TrainingJobs.run`` for each job that the plan starts. Every step is committed, so
DescribeTrainingJob follows it; a job that a crash interrupted is run again from its beginning, into the same output.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.domain.ids import resource_suffix
from stagedoor.engine.interface import Engine, EngineError, Workload
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.stop_signal import StoppedError, StopSignal
from stagedoor.reconcile.training import documents, staging
from stagedoor.reconcile.training.final_metrics import FinalMetrics
from stagedoor.reconcile.training.outcome import Outcome, outcome
from stagedoor.reconcile.training.staging import DownloadError
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.log_events import LogEvents
from stagedoor.store.object_rows import NoSuchBucketError, ObjectRows
from stagedoor.store.records import Document, Key, Records
from stagedoor.traffic.log_writer import LogPlace

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
STOP_GRACE_S = 120.0
_KILL_GRACE_S = 5.0

Change = Callable[[Document, float], Document]


@dataclass(frozen=True, slots=True)
class TrainingStores:
    """Where records, objects and logs are."""

    records: Records
    objects: ObjectRows
    contents: Contents
    log_events: LogEvents


class TrainingJobs:
    """The ``JobKind`` of training jobs. ``directory`` is for staged inputs; nothing in it outlives a run."""

    name = "training jobs"
    record_kind = "sagemaker.training_job"
    status_member = "TrainingJobStatus"

    def __init__(
        self,
        stores: TrainingStores,
        engine: Engine,
        logs: WorkerLogs,
        slots: JobSlots,
        clock: Clock,
        directory: Path,
        *,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._stores = stores
        self._engine = engine
        self._logs = logs
        self._slots = slots
        self._clock = clock
        self._directory = directory
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
        workload_id = f"training-{key.name}-{resource_suffix()}"
        directory = self._directory / workload_id
        try:
            change = await self._run(key, stop, workload_id, directory)
        except asyncio.CancelledError:
            stop.set("Stopped")  # for a thread that still fetches inputs
            raise
        except StoppedError:
            change = partial(_stopped, stop=stop)
        except DownloadError as error:
            change = _failed(f"ClientError: {error}")
        except EngineError as error:
            change = _failed(f"InternalServerError: The training process could not be started: {error}")
        except (OSError, objects_io.ObjectChangedError) as error:
            log.exception("training job failed", extra={"job": key.name})
            change = _failed(f"InternalServerError: {error}. Please try again.")
        finally:
            await self._clear(workload_id, directory)
        await self._change(key, change)

    async def _run(self, key: Key, stop: StopSignal, workload_id: str, directory: Path) -> Change:
        """All steps but the last; gives the last one's change."""
        document = await self._change(key, documents.starting)
        stop.check()
        await self._change(key, documents.downloading)
        stores = self._stores
        files = await asyncio.to_thread(
            staging.stage, document, directory, stores.objects, stores.contents, stop.check
        )
        await self._change(key, documents.training)
        place = LogPlace(
            key.account_id,
            key.region,
            LOG_GROUP,
            f"{document['TrainingJobName']}/algo-1-{int(self._clock.now())}",
        )
        left = await self._train(key, document, workload_id, files, place, stop)
        if stop.cause is None and left.reason:
            return _failed(left.reason)
        await self._change(key, documents.uploading)
        artifacts = await asyncio.to_thread(self._upload, document, left)
        if isinstance(artifacts, NoSuchBucketError):
            return _failed(
                f"ClientError: The bucket of {document['OutputDataConfig']['S3OutputPath']} does not exist any more"
            )
        metrics = await asyncio.to_thread(self._final_metrics, document, place)
        return partial(
            documents.ended, ending=stop.cause or "Completed", model_artifacts=artifacts, metrics=metrics
        )

    async def _train(
        self,
        key: Key,
        document: Document,
        workload_id: str,
        files: dict[str, Path],
        place: LogPlace,
        stop: StopSignal,
    ) -> Outcome:
        """Run the algorithm's process to its end."""
        algorithm = document["algorithm"]
        config = staging.configuration(document)
        workload = Workload(
            id=workload_id,
            kind="job",
            runtime=algorithm,
            spec={
                "entry": f"{algorithm}_training:train",
                "name": document["TrainingJobName"],
                "config": config,
                "channels": list(config["inputdataconfig"]),
                "pack_model": True,
                "pack_output": True,
            },
            environment={
                "AWS_REGION": place.region,
                "OMP_WAIT_POLICY": "PASSIVE",  # see engine.runtimes; for processes that are not forked
                "TRAINING_JOB_NAME": document["TrainingJobName"],
                "TRAINING_JOB_ARN": document["TrainingJobArn"],
                **document.get("Environment", {}),
            },
            files=files,
            threads=self._slots.threads(key),
        )
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits[workload_id] = exited
        self._logs.attach(workload_id, place)
        placement = await self._engine.start(workload)
        await self._until_exit(workload_id, exited, stop)
        last_lines = self._logs.last_lines(workload_id)
        self._logs.detach(workload_id)
        await self._logs.drained()
        return await asyncio.to_thread(outcome, Path(placement.scratch), exited.result(), last_lines)

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

    def _upload(self, document: Document, left: Outcome) -> str | NoSuchBucketError:
        """Put the archives to S3; the model's URI, empty when there is no model. Blocks."""
        stores = self._stores
        target = Location.parse(document["OutputDataConfig"]["S3OutputPath"])
        uri = ""
        for archive in (left.output_archive, left.model_archive):
            if archive is None:
                continue
            place = target.under(document["TrainingJobName"], "output", archive.name)
            try:
                objects_io.put_file(
                    stores.objects, stores.contents, place.bucket, place.key, archive, now=self._clock.now()
                )
            except NoSuchBucketError as error:
                return error
            if archive is left.model_archive:
                uri = str(place)
        return uri

    def _final_metrics(self, document: Document, place: LogPlace) -> list[dict[str, object]]:
        """What the stored lines say. Blocks."""
        metrics = FinalMetrics(document["AlgorithmSpecification"].get("MetricDefinitions", []))
        events = self._stores.log_events
        group = events.group(place.account_id, place.region, place.group)
        stream = events.stream(group.id, place.stream) if group else None
        if group is None or stream is None:
            return []
        page = events.read(group, streams=[stream])
        while page:
            for event in page:
                metrics.take(event.message, event.timestamp_ms / 1000)
            page = events.read(group, streams=[stream], after=page[-1].after)
        return metrics.values()

    async def _clear(self, workload_id: str, directory: Path) -> None:
        """Nothing is left running or on disk."""
        await self._engine.stop(workload_id, _KILL_GRACE_S)
        self._exits.pop(workload_id, None)
        self._logs.detach(workload_id)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _change(self, key: Key, change: Change) -> Document:
        return await asyncio.to_thread(self._commit, key, change)

    def _commit(self, key: Key, change: Change) -> Document:
        with self._stores.records.transaction() as transaction:
            record = transaction.get(key)
            assert record is not None, "jobs are deleted only after their end"
            return transaction.put(key, change(record.document, self._clock.now())).document


def _failed(reason: str) -> Change:
    return lambda document, now: documents.ended(document, now, "Failed", reason=reason)


def _stopped(document: Document, now: float, *, stop: StopSignal) -> Document:
    return documents.ended(document, now, stop.cause or "Stopped")
