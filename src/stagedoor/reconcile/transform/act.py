"""One transform job from its slot to its end: start the model's worker, send the inputs through, record.

Place in the flow: ``jobs.act`` runs ``TransformJobs.run`` for each job that the plan starts. A job that a crash interrupted is run
again from its beginning, into the same outputs.
"""

import asyncio
import logging
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stagedoor.domain.clock import Clock, iso8601_ms
from stagedoor.domain.ids import resource_suffix
from stagedoor.engine.interface import Engine, RuntimeUnavailableError
from stagedoor.reconcile import programs
from stagedoor.reconcile.jobs.failures import internal_reason
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.steps import Change, Steps
from stagedoor.reconcile.jobs.stop_signal import StoppedError, StopSignal
from stagedoor.reconcile.model_files import ModelDataError, ModelFiles
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.transform import data_capture, documents, inputs
from stagedoor.reconcile.transform.data_processing import DataProcessing
from stagedoor.reconcile.transform.inputs import Source
from stagedoor.reconcile.transform.pipeline import Failures, Invocations, Pipeline
from stagedoor.reconcile.transform.worker import TransformWorker, WorkerStartError, environment
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputError, Location
from stagedoor.store.object_rows import NoSuchBucketError, ObjectRows
from stagedoor.store.records import Document, Key, Records
from stagedoor.traffic.channel import ChannelError
from stagedoor.traffic.log_writer import LogPlace

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_INVOCATION_TIMEOUT_S = 600
_INVOCATION_RETRIES = 3
_SEE_LOGS = "See job logs for more information"


@dataclass(frozen=True, slots=True)
class TransformStores:
    """Where records, objects and model archives are."""

    records: Records
    objects: ObjectRows
    contents: Contents
    model_files: ModelFiles


class TransformJobs:
    """The ``JobKind`` of transform jobs. ``directory`` is for outputs that grow; nothing in it outlives a run."""

    name = "transform jobs"
    record_kind = "sagemaker.transform_job"
    status_member = "TransformJobStatus"

    def __init__(
        self,
        stores: TransformStores,
        engine: Engine,
        logs: WorkerLogs,
        slots: JobSlots,
        clock: Clock,
        directory: Path,
        *,
        start_timeout_s: float = 120.0,
        access: RoleAccess | None = None,
    ) -> None:
        self._access = access
        self._stores = stores
        self._steps = Steps(stores.records, clock)
        self._engine = engine
        self._logs = logs
        self._slots = slots
        self._clock = clock
        self._directory = directory
        self._start_timeout_s = start_timeout_s
        self._exits: dict[str, asyncio.Future[int]] = {}

    def max_runtime_s(self, document: Document) -> float | None:
        """See ``JobKind``."""
        return None

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
        await self._steps.commit(key, lambda document, now: documents.ended(document, now, "Stopped"))

    async def run(self, key: Key, stop: StopSignal) -> None:
        """See ``JobKind``."""
        workload_id = f"transform-{key.name}-{resource_suffix()}"
        directory = self._directory / workload_id
        try:
            await asyncio.to_thread(directory.mkdir, parents=True)
            change = await self._run(key, stop, workload_id, directory)
        except StoppedError:
            change = partial(documents.ended, ending="Stopped")
        except ModelDataError as error:
            change = _failed(f"ClientError: Failed to download model data: {error}")
        except WorkerStartError as error:
            change = _failed(
                f"AlgorithmError: The model's container did not become ready: {error}. {_SEE_LOGS}"
            )
        except (InputError, RuntimeUnavailableError) as error:
            change = _failed(f"ClientError: {error}")
        except NoSuchBucketError as error:
            change = _failed(f"ClientError: The output's bucket does not exist any more: {error}")
        except (OSError, objects_io.ObjectChangedError, ContentDamagedError) as error:
            log.exception("transform job failed", extra={"job": key.name})
            change = _failed(internal_reason(error))
        finally:
            self._exits.pop(workload_id, None)
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        await self._steps.commit(key, change)

    async def _run(self, key: Key, stop: StopSignal, workload_id: str, directory: Path) -> Change:
        """All steps but the last; gives the last one's change."""
        document = await self._steps.commit(key, documents.started)
        files = await asyncio.to_thread(self._files, document["model"])
        stop.check()
        place = self._log_place(key, document, workload_id)
        data_log = f"{workload_id}/data-log"
        self._logs.attach(data_log, place._replace(stream=f"{place.stream}/data-log"))
        invocations = _invocations(document)
        self._say(data_log, _head_line(document, invocations))
        model = document["model"]
        worker = self._worker(key, workload_id, document, model, files)
        try:
            while True:
                try:
                    channel = await stop.unless_set(worker.start(place, self._start_timeout_s))
                    break
                except WorkerStartError as error:
                    program = programs.of(model)
                    if program is None or not error.requirements:
                        raise
                    await worker.end()
                    preparing = programs.prepared(program, self._engine, error.requirements)
                    model = model | {"program": await stop.unless_set(preparing)}
                    worker = self._worker(key, workload_id, document, model, files)
            processing = DataProcessing.of(document)
            transformed: list[Source] = []
            pipeline = Pipeline(
                channel,
                invocations,
                processing,
                directory,
                partial(self._upload, document, transformed),
                lambda source, text: self._say(data_log, text, source.place),
            )
            stores = self._stores
            stream = inputs.parts(document, processing, stores.objects, stores.contents)
            failures = await stop.unless_set(pipeline.run(stream, stop))
        except ChannelError as error:
            return _failed(f"AlgorithmError: {worker.last_words()} ({error}). {_SEE_LOGS}")
        finally:
            self._logs.detach(data_log)
            await worker.end()
        if "DataCaptureConfig" in document and failures.are_none:
            now = self._clock.now()
            await asyncio.to_thread(
                data_capture.write, document, transformed, stores.objects, stores.contents, now
            )
        return _ending(failures)

    def _files(self, model: Document) -> dict[str, Path]:
        """The model's archive and the source of its script. Blocks."""
        files = {"model.tar.gz": self._stores.model_files.path(model["artifact"])}
        program = programs.of(model)
        if program is not None and "source" in program:
            files[programs.SOURCE_FILE] = self._stores.model_files.path(program["source"])
        return files

    def _worker(
        self, key: Key, workload_id: str, document: Document, model: Document, files: dict[str, Path]
    ) -> TransformWorker:
        workload = programs.model_workload(
            workload_id,
            document["ModelName"],
            model,
            files,
            environment(document),
            access=self._access,
            region=key.region,
            threads=self._slots.threads(key),
        )
        exited = self._exits[workload_id] = asyncio.get_running_loop().create_future()
        return TransformWorker(self._engine, self._logs, workload, exited)

    def _log_place(self, key: Key, document: Document, workload_id: str) -> LogPlace:
        instance = f"i-{os.urandom(9).hex()[:17]}-{int(self._clock.now())}"
        return LogPlace(key.account_id, key.region, LOG_GROUP, f"{document['TransformJobName']}/{instance}")

    def _say(self, data_log: str, text: str, place: str = "") -> None:
        """Lines of the data log, in AWS's form."""
        now = iso8601_ms(self._clock.now()).removesuffix("Z")
        about = f"{place}: " if place else ""
        lines = [f"{now}:[sagemaker logs]: {about}{line}" for line in text.split("\n")]
        self._logs.say(data_log, "\n".join(lines))

    def _upload(self, document: Document, transformed: list[Source], source: Source, path: Path) -> None:
        """Store one output beside the others: ``S3OutputPath/NAME.out``. Blocks."""
        target = Location.parse(document["TransformOutput"]["S3OutputPath"]).under(
            f"{source.object.name}.out"
        )
        stores = self._stores
        objects_io.put_file(
            stores.objects, stores.contents, target.bucket, target.key, path, now=self._clock.now()
        )
        transformed.append(source)


def _invocations(document: Document) -> Invocations:
    client = document.get("ModelClientConfig", {})
    return Invocations(
        content_type=document["TransformInput"].get("ContentType"),
        accept=document["TransformOutput"].get("Accept"),
        in_flight=document.get("MaxConcurrentTransforms") or _default_in_flight(document),
        timeout_s=float(client.get("InvocationsTimeoutInSeconds") or _INVOCATION_TIMEOUT_S),
        attempts=1 + int(client.get("InvocationsMaxRetries", _INVOCATION_RETRIES)),
    )


def _default_in_flight(document: Document) -> int:
    """Payloads without a limit go one by one: each may be as large as an object."""
    return 1 if document.get("MaxPayloadInMB") == 0 else max(2, os.cpu_count() or 1)


def _head_line(document: Document, invocations: Invocations) -> str:
    strategy = "SINGLE_RECORD" if document.get("BatchStrategy") == "SingleRecord" else "MULTI_RECORD"
    payload_mb = document.get("MaxPayloadInMB", inputs.DEFAULT_PAYLOAD_MB)
    return f"MaxConcurrentTransforms={invocations.in_flight}, MaxPayloadInMB={payload_mb}, BatchStrategy={strategy}"


def _ending(failures: Failures) -> Change:
    if failures.algorithm:
        return _failed(f"AlgorithmError: {_SEE_LOGS}. {failures.algorithm[0]}")
    if failures.client:
        return _failed(f"ClientError: {_SEE_LOGS}. {failures.client[0]}")
    return partial(documents.ended, ending="Completed")


def _failed(reason: str) -> Change:
    return lambda document, now: documents.ended(document, now, "Failed", reason)
