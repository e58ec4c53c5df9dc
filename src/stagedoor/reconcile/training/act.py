"""One training job from its slot to its end: stage, train, upload, record.

Place in the flow: ``jobs.act`` runs ``TrainingJobs.run`` for each job that the plan starts. Every step is committed, so
DescribeTrainingJob follows it; a job that a crash interrupted is run again from its beginning, into the same output.
"""

import asyncio
import contextlib
import logging
import random
import shutil
import socket
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.domain.ids import resource_suffix
from stagedoor.engine.interface import Engine, Workload
from stagedoor.reconcile import programs
from stagedoor.reconcile.jobs import cluster
from stagedoor.reconcile.jobs.failures import FAILURES, failure
from stagedoor.reconcile.jobs.hosts import Hosts, Left
from stagedoor.reconcile.jobs.outcome import INTERNAL
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.jobs.steps import Change, Steps
from stagedoor.reconcile.jobs.stop_signal import StoppedError, StopSignal
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.training import artifacts, checkpoints, debug_output, documents, pipes, staging
from stagedoor.reconcile.training.artifacts import ArtifactStore
from stagedoor.reconcile.training.channel_data import channels
from stagedoor.reconcile.training.checkpoints import Checkpoints
from stagedoor.reconcile.training.metrics import JobMetrics
from stagedoor.reconcile.training.pipes import Feeding
from stagedoor.reconcile.training.staging import ROOT
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.contents import Contents
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.object_rows import NoSuchBucketError, ObjectRows
from stagedoor.store.records import Document, Key, Records
from stagedoor.traffic.log_writer import LogPlace

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
STOP_GRACE_S = 120.0
RETRY_PAUSE_S = 0.5
_PORTS = (20_000, 32_000)


@dataclass(frozen=True, slots=True)
class TrainingStores:
    """Where records, objects, logs and metrics are."""

    records: Records
    objects: ObjectRows
    contents: Contents
    log_events: LogEvents
    metric_points: MetricPoints


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at a job: where its inputs are staged, and its hosts: names and workloads' ids in the same order."""

    directory: Path
    hosts: list[str]
    workload_ids: list[str]


@dataclass(frozen=True, slots=True)
class _Result:
    """How an attempt ended. What failed on this side (not the user's) may be tried again."""

    change: Change
    may_retry: bool = False


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What the hosts are given: ``files`` for each, ``copies`` for all."""

    files: Sequence[dict[str, Path]]
    copies: dict[str, Path]
    checkpoints: Checkpoints


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
        access: RoleAccess | None = None,
        stop_grace_s: float = STOP_GRACE_S,
        retry_pause_s: float = RETRY_PAUSE_S,
    ) -> None:
        self._access = access
        self._stores = stores
        self._steps = Steps(stores.records, clock)
        self._engine = engine
        self._hosts = Hosts(engine, logs, stop_grace_s)
        self._retry_pause_s = retry_pause_s
        self._slots = slots
        self._clock = clock
        self._directory = directory

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
        await self._steps.commit(key, lambda document, now: documents.ended(document, now, "Stopped"))

    async def run(self, key: Key, stop: StopSignal) -> None:
        """See ``JobKind``."""
        document = await self._steps.commit(key, documents.starting)
        retries: int = document.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        names = cluster.hosts(document)
        while True:
            run = f"training-{key.name}-{resource_suffix()}"
            attempt = _Attempt(self._directory / run, names, [f"{run}-{name}" for name in names])
            result = await self._attempt(key, stop, attempt)
            if not result.may_retry or retries <= 0 or stop.cause is not None:
                break
            retries -= 1
            await self._steps.commit(key, documents.restarting)
            with contextlib.suppress(TimeoutError):  # what was lost may take a moment to come back
                await asyncio.wait_for(stop.wait(), self._retry_pause_s)
        await self._steps.commit(key, result.change)

    async def _attempt(self, key: Key, stop: StopSignal, attempt: _Attempt) -> _Result:
        try:
            return await self._run(key, stop, attempt)
        except asyncio.CancelledError:
            stop.set("Stopped")  # for a thread that still fetches inputs
            raise
        except StoppedError:
            return _Result(partial(_stopped, stop=stop))
        except FAILURES as error:
            found = failure(error, "training process")
            if found.may_retry:
                log.exception("training job failed", extra={"job": key.name})
            return _Result(_failed(found.reason), found.may_retry)
        finally:
            await self._hosts.clear(attempt.workload_ids)
            await asyncio.to_thread(shutil.rmtree, attempt.directory, ignore_errors=True)

    async def _run(self, key: Key, stop: StopSignal, attempt: _Attempt) -> _Result:
        """All steps but the last; gives the last one's change."""
        stop.check()
        document = await self._steps.commit(key, documents.downloading)
        stores, host_count = self._stores, len(attempt.hosts)
        files = await asyncio.to_thread(
            staging.stage,
            document,
            attempt.directory / "data",
            host_count,
            stores.objects,
            stores.contents,
            stop.check,
        )
        kept = Checkpoints(document, stores.objects, stores.contents, self._clock)
        copies = await asyncio.to_thread(kept.fetch, attempt.directory / "checkpoints")
        program = programs.of(document)
        if program is not None:
            source = await asyncio.to_thread(
                programs.stage_source, program, attempt.directory / "source", stores.objects, stores.contents
            )
            files = [mine | source for mine in files]
        await self._steps.commit(key, documents.training)
        places = self._log_places(key, document, attempt.hosts)
        metrics = self._metrics(document, places[0])
        inputs = _Inputs(files, copies, kept)
        async with metrics.flowing():
            left = await self._train(key, document, attempt, inputs, places, stop)
            while program is not None and left.requirements and stop.cause is None:
                await self._hosts.clear(attempt.workload_ids)
                program = await stop.unless_set(programs.prepared(program, self._engine, left.requirements))
                document = document | {"program": program}
                left = await self._train(key, document, attempt, inputs, places, stop)
        await asyncio.to_thread(metrics.collect)
        if stop.cause is None and left.failed:
            return _Result(_failed(left.reason, metrics), left.reason.startswith(INTERNAL))
        await self._steps.commit(key, documents.uploading)
        try:
            model = await asyncio.to_thread(
                artifacts.upload,
                document,
                left.scratches,
                left.outcomes,
                attempt.directory,
                ArtifactStore(stores.objects, stores.contents, self._clock.now()),
                succeeded=not any(end.exit_code for end in left.ends),
            )
        except NoSuchBucketError:
            place = document["OutputDataConfig"]["S3OutputPath"]
            return _Result(_failed(f"ClientError: The bucket of {place} does not exist any more"))
        ended = partial(
            documents.ended,
            ending=stop.cause or "Completed",
            model_artifacts=model,
            metrics=metrics.final(),
            metric_statistics=metrics.statistics(),
        )
        return _Result(ended)

    def _log_places(self, key: Key, document: Document, hosts: Sequence[str]) -> list[LogPlace]:
        name, now = document["TrainingJobName"], int(self._clock.now())
        return [LogPlace(key.account_id, key.region, LOG_GROUP, f"{name}/{host}-{now}") for host in hosts]

    async def _train(
        self,
        key: Key,
        document: Document,
        attempt: _Attempt,
        inputs: _Inputs,
        places: Sequence[LogPlace],
        stop: StopSignal,
    ) -> Left:
        """Run the hosts' processes to their end. DownloadError when a pipe could not be filled."""
        parts = programs.job_parts(document, self._access, document["TrainingJobName"], key.region)
        options = parts.options | _options(document, attempt.hosts, inputs.files)
        parts = replace(parts, options=options)
        workloads = [
            self._workload(key, document, attempt, number, inputs, parts)
            for number in range(len(attempt.hosts))
        ]
        feeding = Feeding(document, self._stores.objects, self._stores.contents)

        @contextlib.asynccontextmanager
        async def beside(scratches: Sequence[Path]) -> AsyncGenerator[None]:
            stores = self._stores
            debugging = debug_output.kept(document, scratches, stores.objects, stores.contents, self._clock)
            async with inputs.checkpoints.keep(scratches), debugging, feeding.flow(scratches):
                yield

        left = await self._hosts.run(list(zip(workloads, places, strict=True)), stop, beside)
        if feeding.failure is not None and stop.cause is None:
            raise feeding.failure
        return left

    def _workload(
        self,
        key: Key,
        document: Document,
        attempt: _Attempt,
        number: int,
        inputs: _Inputs,
        parts: programs.JobParts,
    ) -> Workload:
        """The process of one host."""
        host_count = len(attempt.hosts)
        config = staging.configuration(document, attempt.hosts, attempt.hosts[number])
        piped = [channel for channel in channels(document) if channel.mode == "Pipe"]
        return Workload(
            id=attempt.workload_ids[number],
            kind="job",
            runtime=parts.runtime,
            spec={
                "entry": parts.entry,
                "options": parts.options,
                "name": document["TrainingJobName"],
                "config": config,
                "channels": [channel.name for channel in channels(document) if channel not in piped],
                "pack_model": artifacts.packs_itself(document, host_count),
                "pack_output": artifacts.packs_itself(document, host_count),
            },
            environment={
                **parts.environment(attempt.workload_ids[number]),
                "OMP_WAIT_POLICY": "PASSIVE",  # see engine.runtimes; for processes that are not forked
                "TRAINING_JOB_NAME": document["TrainingJobName"],
                "TRAINING_JOB_ARN": document["TrainingJobArn"],
                **document.get("Environment", {}),
            },
            files=inputs.files[number],
            copies=inputs.copies,
            pipes=[pipes.first_pipe(channel) for channel in piped],
            threads=max(1, self._slots.threads(key) // host_count),
            # Hosts talk to each other on ports that they choose, which only an open network allows.
            connect_ports=None if "collective" in parts.options else parts.connect_ports,
        )

    def _metrics(self, document: Document, place: LogPlace) -> JobMetrics:
        return JobMetrics(
            document["TrainingJobName"],
            document["AlgorithmSpecification"].get("MetricDefinitions", []),
            [place],
            self._stores.log_events,
            self._stores.metric_points,
        )


def _failed(reason: str, metrics: JobMetrics | None = None) -> Change:
    final, statistics = (metrics.final(), metrics.statistics()) if metrics is not None else ([], {})
    return lambda document, now: documents.ended(
        document, now, "Failed", reason=reason, metrics=final, metric_statistics=statistics
    )


def _stopped(document: Document, now: float, *, stop: StopSignal) -> Document:
    return documents.ended(document, now, stop.cause or "Stopped")


def _options(document: Document, hosts: Sequence[str], files: Sequence[dict[str, Path]]) -> dict[str, object]:
    """What algorithms are told beside the container's own files: who trains together, and where checkpoints are."""
    options: dict[str, object] = {}
    if "CheckpointConfig" in document:
        options["checkpoints"] = checkpoints.folder(document).removeprefix(f"{ROOT}/")
    if len(hosts) > 1 or programs.talks_to_itself(document, files[0]):
        prefix = f"{ROOT}/input/data/train/"
        with_data = [
            host
            for host, mine in zip(hosts, files, strict=True)
            if any(name.startswith(prefix) for name in mine)
        ]
        options["collective"] = {"ports": _free_ports(2), "hosts": with_data or list(hosts)}
    return options


def _free_ports(count: int) -> list[int]:
    """Ports to listen on, from below those that systems give to connections: nobody takes them in the meantime by chance."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(*_PORTS)
        with socket.socket() as any_socket, contextlib.suppress(OSError):
            any_socket.bind(("127.0.0.1", port))
            found.append(port)
    return found
