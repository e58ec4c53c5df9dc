"""What model servers and jobs print, as log events: one line, one event.

Place in the flow: ``app`` hands the engine's output here; reconcilers say beforehand which workload logs where and
afterwards that it is over. ``traffic.log_writer`` stores the lines in batches, off the event loop. (Functions have their
own: ``traffic.function_output`` cuts output per invocation.)
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from stagedoor.domain.clock import Clock
from stagedoor.engine.interface import ENDED_FOR, HOUSE
from stagedoor.traffic.log_writer import LogPlace, LogWriter

MAX_LINE_BYTES = 256 * 1024


@dataclass(slots=True)
class _Output:
    place: LogPlace
    rest: bytearray = field(default_factory=bytearray)
    last_lines: list[str] = field(default_factory=list[str])


class WorkerLogs:
    """The output of every workload that logs. For the event loop only.

    Memory is bounded: a line is cut into events of 256 KB, and while the store is behind, workers that print have to wait.
    """

    KEPT_LINES = 20
    """How many of a workload's last lines are kept for whoever explains its end."""

    def __init__(self, writer: LogWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._outputs: dict[str, _Output] = {}

    def attach(self, workload_id: str, place: LogPlace) -> None:
        """From now on what ``workload_id`` prints goes to ``place``. Call it before the engine starts the workload."""
        self._outputs[workload_id] = _Output(place)

    def output(self, workload_id: str, data: bytes) -> Awaitable[None] | None:
        """Take what a workload printed (an ``engine.interface.OutputListener``); an awaitable when it should be made to wait.

        Workloads that were not attached are somebody else's.
        """
        output = self._outputs.get(workload_id)
        if output is None:
            return None
        rest = output.rest
        rest += data
        if b"\n" in data:
            *lines, tail = rest.split(b"\n")
            output.rest = tail
            self._write(output, lines)
        while len(output.rest) > MAX_LINE_BYTES:
            self._write(output, [output.rest[:MAX_LINE_BYTES]])
            del output.rest[:MAX_LINE_BYTES]
        return self._writer.drained() if self._writer.is_full else None

    def say(self, workload_id: str, text: str) -> None:
        """Add lines of the house's own, such as why a worker was given up."""
        output = self._outputs.get(workload_id)
        if output is not None:
            self._write(output, [line.encode() for line in text.splitlines()])

    def last_lines(self, workload_id: str) -> list[str]:
        """The last lines that a workload printed, the newest last; of the house's own, why it was killed."""
        output = self._outputs.get(workload_id)
        if output is None:
            return []
        rest = [output.rest.decode("utf-8", "replace")] if output.rest else []
        return output.last_lines + rest

    def detach(self, workload_id: str) -> None:
        """A workload is over: its unfinished line is stored too. Nothing happens for one that is not attached."""
        output = self._outputs.pop(workload_id, None)
        if output is None:
            return
        if output.rest:
            self._write(output, [output.rest])

    async def drained(self) -> None:
        """Return when all lines so far are stored: before a job's end becomes visible, and at shutdown."""
        await self._writer.drained()

    def _write(self, output: _Output, lines: Sequence[bytearray | bytes]) -> None:
        now_ms = int(self._clock.now() * 1000)
        for line in lines:
            for start in range(0, len(line), MAX_LINE_BYTES):
                text = bytes(line[start : start + MAX_LINE_BYTES]).decode("utf-8", "replace").rstrip("\r")
                if text:  # CloudWatch Logs has no empty events
                    self._writer.write(output.place, now_ms, text)
                    if not text.startswith(HOUSE) or text.startswith(ENDED_FOR):
                        output.last_lines.append(text[:4096])
            del output.last_lines[: -self.KEPT_LINES]
