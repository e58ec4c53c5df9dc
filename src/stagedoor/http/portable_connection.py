"""An HTTP connection that can leave for another process: its socket, with what has been read of it and not been answered.

Place in the flow: the front processes accept these. A request that its process does not answer takes the whole connection along, so
that nobody has to carry bytes between processes; later requests on it are answered where it is then. One over TLS stays, and its bytes are
carried after all (``http.relay``).
"""

import asyncio
import os
import socket
from typing import Final, Protocol

import httptools

from stagedoor.http.connection import Acceptor, Connection
from stagedoor.http.message import ElsewhereError, Request, Response, answer_of
from stagedoor.http.relay import Relay

_FLUSH_PAUSE_S: Final = 0.002
_FLUSH_PATIENCE_S: Final = 120.0


class Station(Acceptor, Protocol):
    """What a portable connection asks of the server that accepted it."""

    def answers(self, request: Request) -> bool:
        """Whether the handler may be asked; nothing of the body has to be there. Even then it may raise ElsewhereError."""
        ...

    def hand_over(self, connected: socket.socket, unanswered: bytes, peer_host: str) -> None:
        """Take the connection of ``peer_host`` to where it can be answered. ``unanswered`` begins with the request that cannot be here."""
        ...


class PortableConnection(Connection):
    """``Connection`` whose server may send it elsewhere at the beginning of any request."""

    def __init__(self, server: Station, scheme: str) -> None:
        super().__init__(server, scheme)
        self._station = server
        self._handler = self._answer
        # As received, from the first byte of the oldest request that has no answer yet.
        self._unanswered: list[bytes] = []
        self._answered_one = False
        self._leaves_until_s: float | None = None
        self._relay: Relay | None = None

    def data_received(self, data: bytes) -> None:
        if self._leaves_until_s is not None:
            self._unanswered.append(data)
            return
        if not self._is_within_request:
            self._unanswered.clear()
        self._unanswered.append(data)
        super().data_received(data)

    @property
    def _is_within_request(self) -> bool:
        return bool(
            self._current is not None
            or self._queue
            or self._body is not None
            or self._head_begun_s is not None
        )

    def _next(self) -> None:
        if self._current is None and self._answered_one:
            self._answered_one = False
            if self._is_within_request:
                self._unanswered = [behind_first(b"".join(self._unanswered))]
        if (
            self._current is None
            and self._queue
            and not self._closing
            and not self._station.answers(self._queue[0][0])
        ):
            self._leave()
            return
        super()._next()

    async def _answer(self, request: Request) -> Response:
        try:
            response = await answer_of(self._station.handler(request))
        except ElsewhereError:
            self._leave()
            raise asyncio.CancelledError from None
        self._answered_one = True
        return response

    def _leave(self) -> None:
        """From now on nothing is read or parsed here; when earlier answers are out, the socket goes."""
        self._closing = True
        self._leaves_until_s = self._loop.time() + _FLUSH_PATIENCE_S
        self._queue.clear()
        self.pause_reading()
        self._go()

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport.is_closing():
            return
        if self._scheme == "https":
            self._stay()
            return
        if self._transport.get_write_buffer_size():
            if self._leaves_until_s is not None and self._loop.time() < self._leaves_until_s:
                self._timer = self._loop.call_later(_FLUSH_PAUSE_S, self._go)
            else:
                self._transport.abort()
            return
        connected = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        self._transport.abort()  # the duplicate keeps the connection open
        self._station.hand_over(connected, b"".join(self._unanswered), self._peer_host)

    def _stay(self) -> None:
        """A TLS session cannot be handed over: what is inside it goes to and fro from now on."""
        try:
            relay = self._relay = Relay(self._transport, lambda: self.connection_lost(None))
        except OSError:  # no descriptors left
            self._transport.abort()
            return
        self._transport.set_protocol(relay)
        self._station.hand_over(relay.far, b"".join(self._unanswered), self._peer_host)

    # What the server asks.

    def idle_s(self) -> float:
        return super().idle_s() if self._relay is None else self._relay.idle_s()

    def finish(self) -> None:
        # Who answers a relayed connection ends it.
        if self._relay is None:
            super().finish()


class _First:
    """Where the first message is, as the parser tells it."""

    def __init__(self) -> None:
        self.has_head = False
        self.is_complete = False
        self.body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self.body_bytes = int(value)

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_message_complete(self) -> None:
        self.is_complete = True


def behind_first(data: bytes) -> bytes:
    """What follows the first request in ``data``, which is whole and has a Content-Length or no body.

    The parser does not say where in what it was fed a request ended, and a second way to find that could disagree with it: so it is
    fed again, the head byte by byte. Only requests that were sent before the answer to an earlier one come here.
    """
    first = _First()
    parser = httptools.HttpRequestParser(first)
    position = 0
    while not first.has_head:
        if position == len(data):
            raise ValueError("no whole request")
        parser.feed_data(data[position : position + 1])
        position += 1
    end = position + first.body_bytes
    if first.body_bytes:
        parser.feed_data(data[position:end])
    if not first.is_complete:
        raise ValueError("no whole request")
    return data[end:]
