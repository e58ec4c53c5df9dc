"""A front process's end of the messages: nothing here waits, for an invocation must never wait for the control process."""

import asyncio
import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from stagedoor.front.processes.messages import BrokenPipe, Message, Receiver, encode, send_some

WAITING_MAX_BYTES: Final = 64 * 1024 * 1024
"""What a control process that does not read may cost in memory; beyond it access log lines are dropped, and counted."""


class FrontPipe:
    """Sends and receives on the event loop. ``on_end`` is called when the control process is gone."""

    def __init__(
        self,
        connected: socket.socket,
        on_messages: Callable[[list[Message]], None],
        on_end: Callable[[], None],
    ) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._receiver = Receiver(connected)
        self._on_messages = on_messages
        self._on_end = on_end
        self._waiting: deque[tuple[memoryview, list[socket.socket]]] = deque()
        self._waiting_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self.dropped_lines = 0
        self._loop.add_reader(connected.fileno(), self._readable)

    def tell(self, name: str, values: Sequence[Any], body: bytes = b"") -> None:
        """Send a message, from any thread."""
        if threading.get_ident() == self._thread:
            self.send(name, values, body)
        else:
            self._loop.call_soon_threadsafe(self.send, name, values, body)

    def send(
        self, name: str, values: Sequence[Any], body: bytes = b"", sockets: Sequence[socket.socket] = ()
    ) -> None:
        """Send a message; its sockets are closed here once they are on their way."""
        if name == "lines" and self._waiting_bytes > WAITING_MAX_BYTES:
            self.dropped_lines += body.count(b"\n")
            return
        data = memoryview(encode(name, values, body, len(sockets)))
        self._waiting.append((data, list(sockets)))
        self._waiting_bytes += len(data)
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._waiting:
                data, sockets = self._waiting[0]
                sent = send_some(self._socket, data, [each.fileno() for each in sockets])
                for each in sockets:
                    each.close()
                self._waiting_bytes -= sent
                if sent < len(data):
                    self._waiting[0] = (data[sent:], [])
                else:
                    self._waiting.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket.fileno(), self._flush)
            return
        except OSError:
            self._end()
            return
        self._loop.remove_writer(self._socket.fileno())
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drained(self) -> None:
        """Return when the control process's end has taken everything."""
        if self._waiting:
            self._drained = self._loop.create_future()
            await self._drained

    def _readable(self) -> None:
        try:
            self._on_messages(self._receiver.receive())
        except BlockingIOError:
            return
        except BrokenPipe:
            self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._on_end()


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
