"""A connection over TLS that another process answers: this one goes on ending its TLS, and carries the bytes inside it to and fro.

Place in the flow: ``http.portable_connection`` turns into one where a connection without TLS would leave as a whole, since a TLS session
cannot be handed over. Nothing is read or bounded here but by back-pressure: limits are those of whoever answers, who also ends it.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any

from stagedoor.http.connection import LINGER_S
from stagedoor.http.farewell import hang_up


class Relay(asyncio.Protocol):
    """The protocol of a client's ``transport`` from now on; ``far`` is for whoever answers it, as if it were the client.

    ``on_lost`` is called when the client's connection has ended.
    """

    def __init__(self, transport: Any, on_lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = transport
        self._on_lost = on_lost
        self._inner: Any = None
        self._early: list[bytes] = []
        self._is_lost = False
        self._is_asking = True
        self._last_activity_s = self._loop.time()
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self._connecting = self._loop.create_task(self._connect(near))

    async def _connect(self, near: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: _Inner(self), near)
        except OSError:
            self._client.abort()

    def idle_s(self) -> float:
        """How long it has been since an answer's last bytes; 0 when something has been asked since."""
        return 0.0 if self._is_asking else self._loop.time() - self._last_activity_s

    # The client's side.

    def data_received(self, data: bytes) -> None:
        self._is_asking = True
        if self._inner is None:
            self._early.append(data)
        elif not self._inner.is_closing():
            self._inner.write(data)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self._inner is not None and not self._inner.is_closing():
            self._inner.pause_reading()

    def resume_writing(self) -> None:
        if self._inner is not None and not self._inner.is_closing():
            self._inner.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._inner is not None:
            self._inner.close()
        self._on_lost()

    # The side of who answers.

    def joined(self, inner: Any) -> None:
        """The bytes can flow from now on."""
        self._inner = inner
        if self._is_lost:
            inner.abort()
            return
        if self._early:
            inner.write(b"".join(self._early))
            self._early.clear()
        self._client.resume_reading()

    def answered(self, data: bytes) -> None:
        """Bytes of an answer."""
        self._is_asking = False
        self._last_activity_s = self._loop.time()
        if not self._client.is_closing():
            self._client.write(data)

    def pause(self, *, reading: bool) -> None:
        """Take no more from the client, or take on."""
        if self._client.is_closing():
            return
        if reading:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    def ended(self) -> None:
        """There is no more answer. Who answers may go on reading what the client still sends, so that it sees the answer: TLS has
        no half end that would say so.
        """
        if _has_hung_up(self._inner):
            hang_up(self._client)
        else:
            self._loop.call_later(LINGER_S, hang_up, self._client)

    def hung_up(self) -> None:
        """Who answered is gone."""
        hang_up(self._client)


class _Inner(asyncio.Protocol):
    """The near end of the socket pair."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._relay.joined(transport)

    def data_received(self, data: bytes) -> None:
        self._relay.answered(data)

    def eof_received(self) -> bool:
        self._relay.ended()
        return True

    def pause_writing(self) -> None:
        self._relay.pause(reading=False)

    def resume_writing(self) -> None:
        self._relay.pause(reading=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.hung_up()


def _has_hung_up(transport: Any) -> bool:
    """Whether the other end is closed, and not only its writing half."""
    asked = select.poll()
    asked.register(transport.get_extra_info("socket").fileno(), 0)
    return any(events & select.POLLHUP for _, events in asked.poll(0))
