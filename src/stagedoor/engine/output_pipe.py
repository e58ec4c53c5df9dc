"""Reads what one workload writes: bounded memory, back-pressure, and a definite end.

Place in the flow: ``local`` makes one pipe for standard output and error of each workload, so that their order is kept. The
pipe is read only as fast as the listener takes it; when it does not, the pipe fills and the workload's own write blocks.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

_READ_BYTES = 64 * 1024
_SILENCE_AFTER_EXIT_S = 1.0


class OutputPipe:
    """The reading end. ``writer`` is the other one, to be given away."""

    def __init__(self, listener: Callable[[bytes], Awaitable[None] | None]) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._waiting: asyncio.Task[None] | None = None
        self._last_read = 0.0
        self._loop.add_reader(self._reader, self._read)

    async def drain(self) -> None:
        """Return when all output has been handed on, once the workload is gone.

        Its processes held the other end, so the end of the pipe comes at once. If a process got away with it all the same,
        silence is taken for the end.
        """
        self._last_read = self._loop.time()
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=_SILENCE_AFTER_EXIT_S)
            if self._waiting is None and self._loop.time() - self._last_read >= _SILENCE_AFTER_EXIT_S:
                self.close()

    def close(self) -> None:
        """Stop reading, whatever is left."""
        if not self._ended.done():
            self._ended.set_result(None)
            if self._waiting is not None:
                self._waiting.cancel()
            else:
                self._loop.remove_reader(self._reader)
            os.close(self._reader)

    def _read(self) -> None:
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return
        self._last_read = self._loop.time()
        if not data:
            self.close()
            return
        taken = self._listener(data)
        if taken is not None and not self._ended.done():
            self._loop.remove_reader(self._reader)
            self._waiting = asyncio.ensure_future(self._wait(taken))

    async def _wait(self, taken: Awaitable[None]) -> None:
        try:
            await taken
        finally:
            self._waiting = None
            if not self._ended.done():
                self._last_read = self._loop.time()
                self._loop.add_reader(self._reader, self._read)
