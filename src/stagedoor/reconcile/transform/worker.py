"""The model worker of one transform job, from its start to its end.

Place in the flow: ``act`` has it started for the job's run; ``pipeline`` calls it through its channel. It is the same worker that
serves endpoints, told by ``SAGEMAKER_BATCH`` that it works for a batch.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stagedoor.engine.interface import ENDED_FOR, HOUSE, Engine, EngineError, Workload
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.records import Document
from stagedoor.traffic.channel import Channel, ChannelError, WorkerFailedError
from stagedoor.traffic.log_writer import LogPlace

_GRACE_S = 2.0
_LAST_WORDS_S = 0.5


class WorkerStartError(Exception):
    """The worker did not become ready; the text says why, for a FailureReason.

    ``requirements``: it has not tried, since its script has a requirements.txt that its environment was not made for.
    """

    def __init__(self, reason: str, requirements: str = "") -> None:
        super().__init__(reason)
        self.requirements = requirements


def environment(document: Document) -> dict[str, str]:
    """The variables of a job's worker."""
    model: Mapping[str, Any] = document["model"]
    strategy = "SINGLE_RECORD" if document.get("BatchStrategy") == "SingleRecord" else "MULTI_RECORD"
    return {
        **model["container"].get("Environment", {}),
        **document.get("Environment", {}),
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": strategy,
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(document.get("MaxPayloadInMB", "")),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(document.get("MaxConcurrentTransforms") or ""),
    }


@dataclass(slots=True)
class TransformWorker:
    """One worker. ``exited`` has its exit code as soon as the engine tells it."""

    engine: Engine
    logs: WorkerLogs
    workload: Workload
    exited: "asyncio.Future[int]"
    channel: Channel | None = None

    async def start(self, place: LogPlace, timeout_s: float) -> Channel:
        """The channel once the worker is ready. WorkerStartError says why it never will be."""
        self.logs.attach(self.workload.id, place)
        try:
            placement = await self.engine.start(self.workload)
            self.channel = await self._greeting(placement.address, timeout_s)
        except (EngineError, ChannelError) as error:
            reason = error.reason if isinstance(error, WorkerFailedError) else str(error)
            wanted = error.meta.get("requirements", "") if isinstance(error, WorkerFailedError) else ""
            raise WorkerStartError(reason, wanted) from error
        return self.channel

    async def _greeting(self, address: str, timeout_s: float) -> Channel:
        opening = asyncio.ensure_future(Channel.open(address, timeout_s))
        try:
            await asyncio.wait((opening, self.exited), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                await asyncio.wait((opening,), timeout=_LAST_WORDS_S)
            if opening.done():
                return opening.result()
        finally:
            opening.cancel()
        raise WorkerFailedError(self.last_words())

    def last_words(self) -> str:
        """How the worker ended, and what it printed last."""
        how = "the worker ended"
        if self.exited.done():
            code = self.exited.result()
            how = f"the worker exited {f'by signal {-code}' if code < 0 else f'with code {code}'}"
        last = self.logs.last_lines(self.workload.id)
        if last and last[-1].startswith(ENDED_FOR):
            return f"the worker was {last[-1].removeprefix(HOUSE)}"
        return how + (f"; its last line was: {last[-1]}" if last else "")

    async def end(self) -> None:
        """Nothing of it is left running; its lines are stored."""
        await self.engine.stop(self.workload.id, _GRACE_S)
        if self.channel is not None:
            self.channel.close()
        self.logs.detach(self.workload.id)
        await self.logs.drained()
