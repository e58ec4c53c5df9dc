"""Input objects through the model and back to S3: several invocations in flight, answers written in the order of inputs.

Place in the flow: ``act`` has started the job's worker and gives its channel here. Each object's output grows in a temporary
file and becomes an S3 object when it is complete. An object that cannot be transformed gets no output, is explained in the
data log, and the job goes on with the others, as on AWS.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from stagedoor.reconcile.jobs.stop_signal import StopSignal
from stagedoor.reconcile.transform.data_processing import DataProcessing, RecordError
from stagedoor.reconcile.transform.inputs import Part, Source, take
from stagedoor.reconcile.transform.splitting import Payload
from stagedoor.traffic.channel import Answer, CallFaultError, CallTimeoutError, Channel

# A thread costs more than to write so little: most of the time of a job with BatchStrategy SingleRecord.
_WRITTEN_AT_ONCE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Invocations:
    """How the model is called: what its calls say, how many at once, how long each may take, how often it is tried."""

    content_type: str | None
    accept: str | None
    in_flight: int
    timeout_s: float
    attempts: int

    @property
    def meta(self) -> dict[str, str]:
        meta = {"content_type": self.content_type, "accept": self.accept}
        return {name: value for name, value in meta.items() if value}


class AnswerError(Exception):
    """The model did not answer an invocation. ``status`` is what its container would have answered."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class Failures:
    """Objects that could not be transformed, and whose mistake that was."""

    client: list[str] = field(default_factory=list[str])
    algorithm: list[str] = field(default_factory=list[str])

    @property
    def are_none(self) -> bool:
        return not self.client and not self.algorithm


class Pipeline:
    """One job's transformation. ``upload(source, path)`` stores an output (in a thread); ``explain`` writes to the data log."""

    def __init__(
        self,
        channel: Channel,
        invocations: Invocations,
        processing: DataProcessing,
        directory: Path,
        upload: Callable[[Source, Path], None],
        explain: Callable[[Source, str], None],
    ) -> None:
        self._channel = channel
        self._invocations = invocations
        self._meta = invocations.meta
        self._processing = processing
        self._directory = directory
        self._upload = upload
        self._explain = explain
        self._failures = Failures()
        self._number = 0
        self._output: BinaryIO | None = None

    async def run(self, stream: Iterator[Part], stop: StopSignal) -> Failures:
        """Transform everything. StoppedError when the job is told to end, ChannelError when the worker is lost."""
        pending: deque[tuple[Part, asyncio.Future[Answer] | None]] = deque()
        calls = 0
        try:
            while batch := await asyncio.to_thread(take, stream):
                for part in batch:
                    stop.check()
                    if part.payload is None:
                        pending.append((part, None))
                    elif part.source.failure is None:
                        pending.append((part, self._call(part.payload)))
                        calls += 1
                    while calls >= self._invocations.in_flight:
                        calls -= await self._settle(*pending[0])
                        pending.popleft()
            while pending:
                stop.check()
                await self._settle(*pending[0])
                pending.popleft()
        finally:
            for _, answer in pending:
                if answer is not None and not answer.cancel():
                    answer.exception()  # nobody waits for it any more
            if self._output is not None:
                self._output.close()
        return self._failures

    def _call(self, payload: Payload) -> asyncio.Future[Answer]:
        return self._channel.call(self._meta, payload.body, self._invocations.timeout_s)

    async def _answer(self, payload: Payload, answer: asyncio.Future[Answer]) -> Answer:
        """The model's answer; what the model or the machine got wrong is tried again, what the data got wrong is not."""
        invocations = self._invocations
        for attempt in range(1, invocations.attempts + 1):
            try:
                return await answer
            except CallFaultError as fault:
                if fault.status < 500 or attempt == invocations.attempts:
                    raise AnswerError(fault.status, fault.reason) from fault
            except CallTimeoutError as error:
                if attempt == invocations.attempts:
                    raise AnswerError(504, f"no answer within {invocations.timeout_s:g} seconds") from error
            answer = self._call(payload)
        raise AssertionError("the last attempt returns or raises")

    async def _settle(self, part: Part, call: "asyncio.Future[Answer] | None") -> int:
        """Write the next answer, or end its object; the number of calls that are over (0 or 1)."""
        payload = part.payload
        if call is None or payload is None:
            await self._end(part.source)
            return 0
        try:
            meta, body = await self._answer(payload, call)
        except AnswerError as error:
            self._failed(part.source, str(error), error.status)
            return 1
        if part.source.failure is None:
            content_type = str(meta.get("content_type", ""))
            try:
                if len(payload.body) + len(body) <= _WRITTEN_AT_ONCE_BYTES:
                    self._write(payload, body, content_type)
                else:
                    await asyncio.to_thread(self._write, payload, body, content_type)
            except RecordError as error:
                self._failed(part.source, str(error))
        return 1

    def _write(self, payload: Payload, body: bytes, content_type: str) -> None:
        data = self._processing.finish(payload.records, body, content_type)
        if self._output is None:
            self._output = self._path.open("wb")
        self._output.write(data)

    @property
    def _path(self) -> Path:
        return self._directory / f"{self._number}.out"

    def _failed(self, source: Source, reason: str, status: int = 400) -> None:
        """Note the first failure of an object; the rest of it is skipped."""
        if source.failure is not None:
            return
        source.failure = reason
        self._report(source, reason, status)

    def _report(self, source: Source, reason: str, status: int) -> None:
        mistake = "ClientError" if status < 500 else "AlgorithmError"
        self._explain(source, f"{mistake}: {status}\n\nMessage:\n{reason}")
        kept = self._failures.client if status < 500 else self._failures.algorithm
        kept.append(f"{source.object.uri}: {reason}")

    async def _end(self, source: Source) -> None:
        """All answers of an object are written: store its output, or drop it."""
        if source.failure is not None and not self._is_reported(source):
            self._report(source, source.failure, 400)
        await asyncio.to_thread(self._finish, source)
        self._number += 1

    def _is_reported(self, source: Source) -> bool:
        start = f"{source.object.uri}: "
        return any(text.startswith(start) for text in self._failures.client + self._failures.algorithm)

    def _finish(self, source: Source) -> None:
        if self._output is None:
            self._output = self._path.open("wb")
        self._output.close()
        self._output = None
        if source.failure is None:
            self._upload(source, self._path)
        self._path.unlink()
