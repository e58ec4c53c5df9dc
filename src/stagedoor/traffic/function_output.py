"""What one function worker prints, cut into log events and, per invocation, the tail that an invoker may ask for.

Place in the flow: the engine's output listener feeds it; ``traffic.function_runs`` adds the START, END and REPORT lines
and waits for the marker that tells that an invocation's output is complete (``worker.specs.output_end``).
"""

import asyncio
from collections.abc import Awaitable

from stagedoor.domain.clock import Clock
from stagedoor.store.log_events import MAX_EVENT_BYTES
from stagedoor.traffic.log_writer import LogPlace, LogWriter
from stagedoor.worker.specs import LINE_GOES_ON

_MARK = b"\x00stagedoor-end "
_MARK_ROOM_BYTES = 256
_GOES_ON = LINE_GOES_ON.encode()
_TAIL_BYTES = 4096

INIT = "init"
"""The id in the marker that a worker prints when its module is loaded."""


class FunctionOutput:
    """The output of one worker, from its start to its end."""

    def __init__(self, writer: LogWriter, clock: Clock, place: LogPlace) -> None:
        self.place = place
        self._writer = writer
        self._clock = clock
        self._buffer = bytearray()
        self._held = b""
        self._tail = bytearray()
        self._ended: str | None = None
        self._awaited: tuple[str, asyncio.Future[None]] | None = None

    def feed(self, data: bytes) -> Awaitable[None] | None:
        """Take what came; every line becomes an event, or goes on in one. An awaitable when the worker should wait."""
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            self._line(bytes(self._buffer[start : end + 1]))
            start = end + 1
        while len(self._buffer) - start > MAX_EVENT_BYTES + _MARK_ROOM_BYTES:
            # A marker may follow: its beginning must not be cut off with the piece before it.
            self._event(bytes(self._buffer[start : start + MAX_EVENT_BYTES]))
            start += MAX_EVENT_BYTES
        del self._buffer[:start]
        return self._writer.drained() if self._writer.is_full else None

    def _line(self, line: bytes) -> None:
        mark = line.find(_MARK)
        if mark < 0 and line.endswith(_GOES_ON) and len(self._held) + len(line) < MAX_EVENT_BYTES:
            self._held += line.removesuffix(_GOES_ON) + b"\n"
            return
        if mark < 0 or not line.endswith(b"\x00\n"):
            whole = self._release() + (
                line.removesuffix(_GOES_ON) + b"\n" if line.endswith(_GOES_ON) else line
            )
            for start in range(0, len(whole), MAX_EVENT_BYTES):
                self._event(whole[start : start + MAX_EVENT_BYTES])
            return
        if left := self._release() + line[:mark]:
            self._event(left)
        self._ended = line[mark + len(_MARK) : -2].decode("ascii", "replace")
        if self._awaited is not None and self._awaited[0] == self._ended and not self._awaited[1].done():
            self._awaited[1].set_result(None)

    def _event(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 4 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]
        self._writer.write(self.place, int(self._clock.now() * 1000), data.decode("utf-8", "replace"))

    def _release(self) -> bytes:
        """The lines of an event that has not ended."""
        held, self._held = self._held, b""
        return held

    def say(self, line: str) -> None:
        """Add a line of the house's own (``START …``)."""
        self._event(f"{line}\n".encode())

    def begin(self) -> None:
        """Let the tail begin here."""
        self._tail.clear()

    async def complete(self, marker: str, timeout_s: float) -> None:
        """Return when the output up to the marker is here, or after ``timeout_s`` (the worker closed its output)."""
        if self._ended == marker:
            return
        future = asyncio.get_running_loop().create_future()
        self._awaited = (marker, future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            pass
        finally:
            self._awaited = None

    def flush(self) -> None:
        """Make an event of a last line without its end."""
        if left := self._release() + bytes(self._buffer):
            self._event(left)
            self._buffer.clear()

    @property
    def tail(self) -> bytes:
        """The last 4 KB since ``begin``."""
        return bytes(self._tail[-_TAIL_BYTES:])
