"""One model worker from its start to its end.

Place in the flow: ``act`` makes one for each slot that the plan wants started. ``bring_up`` gets the model's file, has the
engine start the process and waits for its HELLO; ``wind_down`` lets it finish what it was asked and stops it.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.engine.interface import Engine, EngineError
from stagedoor.reconcile import programs
from stagedoor.reconcile.endpoints.plan import Phase, Slot
from stagedoor.reconcile.model_files import ModelDataError, ModelFiles
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.records import Document, Key
from stagedoor.traffic.channel import Channel, ChannelError, WorkerFailedError
from stagedoor.traffic.log_writer import LogPlace

_LAST_WORDS_S = 0.5
_GRACE_S = 2.0
_POLL_S = 0.02


class StartError(Exception):
    """A worker did not become ready; the text is a FailureReason."""


@dataclass(eq=False, slots=True)
class ModelWorker:
    """A worker and how it is. ``exited`` has the exit code as soon as the engine tells it.

    ``begun`` and ``settled`` say that its start has begun and that it is over, one way or another. ``calls_seen``: how many calls it
    had been sent by this process when somebody last looked whether it is used; ``calls_by_others``: by others.
    """

    id: str
    slot: Slot
    endpoint: Key
    log_place: LogPlace
    exited: asyncio.Future[int]
    phase: Phase = "starting"
    channel: Channel | None = None
    ready_at: float | None = None
    calls_seen: int = 0
    calls_by_others: int = 0
    unresponsive: bool = False
    begun: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What it takes to run model workers."""

    engine: Engine
    model_files: ModelFiles
    logs: WorkerLogs
    clock: Clock
    start_timeout_s: float
    drain_timeout_s: float
    access: RoleAccess | None = None

    async def bring_up(self, worker: ModelWorker, variant: Document) -> None:
        """Return when the worker is ready. StartError says why it never will be; nothing is left of it then."""
        worker.begun = True
        try:
            await self._bring_up(worker, variant)
        finally:
            worker.settled.set()

    async def _bring_up(self, worker: ModelWorker, variant: Document) -> None:
        self.logs.attach(worker.id, worker.log_place)
        try:
            await self._start(worker, variant)
        except StartError as error:
            await self.remove(worker, 0)
            self.logs.say(worker.id, f"[stagedoor] {error}")
            self.logs.detach(worker.id)
            # Whoever sees the endpoint failed finds the reason in its log.
            await self.logs.drained()
            raise
        worker.ready_at = self.clock.monotonic()

    async def _start(self, worker: ModelWorker, variant: Document) -> None:
        artifact = variant["artifact"]
        url = f"s3://{artifact['bucket']}/{artifact['key']}"
        try:
            files = {"model.tar.gz": await asyncio.to_thread(self.model_files.path, artifact)}
            program = programs.of(variant)
            if program is not None and "source" in program:
                files[programs.SOURCE_FILE] = await asyncio.to_thread(
                    self.model_files.path, program["source"]
                )
        except ModelDataError as error:
            raise StartError(
                f'Failed to download model data for the primary container (URL: "{url}"). Please ensure that there is an '
                f"object located at the URL and that the role passed to CreateModel has permissions to download it. "
                f"Reason: {error}."
            ) from error
        timeout_s = float(variant.get("startTimeoutS") or self.start_timeout_s)
        try:
            while True:
                try:
                    await self._run(worker, variant, files, timeout_s)
                    break
                except WorkerFailedError as error:
                    wanted = error.meta.get("requirements")
                    if program is None or not wanted:
                        raise
                    await self.engine.stop(worker.id, 0)
                    worker.exited = asyncio.get_running_loop().create_future()
                    program = await programs.prepared(program, self.engine, wanted)
                    variant = variant | {"program": program}
        except (EngineError, ChannelError) as error:
            reason = error.reason if isinstance(error, WorkerFailedError) else str(error)
            raise StartError(_explained(variant["name"], url, reason)) from error

    async def _run(
        self, worker: ModelWorker, variant: Document, files: dict[str, Path], timeout_s: float
    ) -> None:
        """Start the process and get its channel."""
        workload = await asyncio.to_thread(
            programs.model_workload,
            worker.id,
            variant["modelName"],
            variant,
            files,
            variant["environment"],
            access=self.access,
            region=worker.endpoint.region,
        )
        placement = await self.engine.start(workload)
        worker.channel = await self._greeting(worker, placement.address, timeout_s)

    async def _greeting(self, worker: ModelWorker, address: str, timeout_s: float) -> Channel:
        """The channel once the worker says HELLO; an exit ends the waiting, after time for its last words."""
        opening = asyncio.ensure_future(Channel.open(address, timeout_s))
        try:
            await asyncio.wait((opening, worker.exited), return_when=asyncio.FIRST_COMPLETED)
            # A worker that gives up says why before it exits; one that is killed only hangs up. Wait for both.
            if not opening.done():
                await asyncio.wait((opening,), timeout=_LAST_WORDS_S)
            elif _hung_up(opening) and not worker.exited.done():
                await asyncio.wait((worker.exited,), timeout=_LAST_WORDS_S)
            if opening.done() and not (_hung_up(opening) and worker.exited.done()):
                return opening.result()
        finally:
            opening.cancel()
        last = self.logs.last_lines(worker.id)
        raise WorkerFailedError(
            f"the worker exited {_exit_text(worker.exited.result())} before it was ready"
            + (f"; its last line was: {last[-1]}" if last else "")
        )

    async def clear_away(self, worker: ModelWorker) -> None:
        """A worker was lost: kill what may be left of it."""
        await self.remove(worker, 0)
        self.logs.detach(worker.id)

    async def wind_down(self, worker: ModelWorker, drain_timeout_s: float) -> None:
        """Let calls in flight finish, then stop the worker. Its start, if it was cancelled, is over before that."""
        if worker.begun:
            await worker.settled.wait()
        channel = worker.channel
        deadline = self.clock.monotonic() + drain_timeout_s
        while channel is not None and channel.in_flight and not channel.is_closed:
            if self.clock.monotonic() >= deadline:
                break
            await asyncio.sleep(_POLL_S)
        await self.remove(worker, _GRACE_S)
        self.logs.detach(worker.id)

    async def remove(self, worker: ModelWorker, grace_s: float) -> None:
        """Stop the process, if it still runs, and clear away what it leaves."""
        await self.engine.stop(worker.id, grace_s)
        if worker.channel is not None:
            worker.channel.close()


def _hung_up(opening: "asyncio.Future[Channel]") -> bool:
    """Whether the worker is gone without a word."""
    error = opening.exception() if opening.done() and not opening.cancelled() else None
    return isinstance(error, WorkerFailedError) and not error.meta


def _explained(variant: str, url: str, reason: str) -> str:
    if reason.startswith("ArchiveError"):
        return (
            f'Failed to extract model data archive for the primary container from URL "{url}". Please ensure that the object '
            f"located at the URL is a valid tar.gz archive. Reason: {reason}"
        )
    return (
        f"The primary container for production variant {variant} did not pass the ping health check. Please check CloudWatch "
        f"logs for this endpoint. Reason: {reason}"
    )


def exit_reason(worker: ModelWorker) -> str:
    """Why a worker that was ready is gone."""
    if worker.unresponsive:
        return "the worker did not answer in time"
    if worker.exited.done():
        return f"the worker exited {_exit_text(worker.exited.result())}"
    return "the connection to the worker was lost"


def _exit_text(exit_code: int) -> str:
    return f"by signal {-exit_code}" if exit_code < 0 else f"with code {exit_code}"


def log_place(endpoint: Key, document: Document, slot: Slot) -> LogPlace:
    """Where a worker logs: ``VARIANT/i-…``, the same stream for all workers that follow each other in one slot."""
    identity = f"{document['EndpointArn']} {document['CreationTime']} {slot}"
    instance = hashlib.sha256(identity.encode()).hexdigest()[:17]
    group = f"/aws/sagemaker/Endpoints/{document['EndpointName']}"
    return LogPlace(endpoint.account_id, endpoint.region, group, f"{slot.variant}/i-{instance}")
