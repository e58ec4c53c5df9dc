"""A listening socket whose connections speak HTTP/1.1, over TLS or without: where every flow begins.

A server may leave the accepting to other processes: they accept on its socket (``bind`` without ``listen``), and connections that they
do not answer themselves come here by ``adopt``.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

from stagedoor.http.connection import Connection, Handler, Limits
from stagedoor.http.message import Request, Response, TlsFromHere, answer_of

CONNECTIONS_MAX = 4096
BACKLOG = 1024
# So many are told 503 at one time; what comes beyond is closed without a word.
REFUSED_MAX = 256
EVICT_IDLE_S = 1.0


class _Held(asyncio.Protocol):
    """What arrives behind a TLS handshake before its connection stands there to take it."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class _Adopted(Connection):
    """A connection of which somebody else has read the beginning."""

    def __init__(
        self, server: "Server", early: bytes, ends_with: Callable[[Request], bool], peer_host: str
    ) -> None:
        super().__init__(server, server.scheme)
        self._early = early
        self._adopted_from = peer_host
        self._ends_with = ends_with
        self._handler = self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer_host = self._adopted_from
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    async def _answer(self, request: Request) -> Response:
        response = await answer_of(self._server.handler(request))
        if self._ends_with(request) and not self._queue and self._body is None and self._head_begun_s is None:
            response.close = True
        return response


class Server:
    """Accepts connections, at most ``connections_max`` at a time; with ``tls`` they begin with its handshake.

    Above the bound a connection that idles between requests makes way; without such a one the new one is answered 503.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self._tls = tls
        self._connections_max = connections_max
        # In the order of their arrival.
        self._connections: dict[Connection, None] = {}
        self._idle = asyncio.Event()
        self._server: asyncio.AbstractServer | None = None
        self.host = ""
        self.port = 0

    @property
    def scheme(self) -> str:
        """``https`` with TLS, else ``http``."""
        return "http" if self._tls is None else "https"

    @property
    def open_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    async def listen(self, host: str, port: int) -> None:
        """Bind and accept; ``port`` 0 picks a free one. OSError when the address is taken."""
        await self.bind(host, port)
        assert self._server is not None
        await self._server.start_serving()

    async def bind(self, host: str, port: int) -> None:
        """Take the address without accepting: ``listening_sockets`` are for others who do."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, self.scheme),
            host,
            port,
            backlog=BACKLOG,
            reuse_address=True,
            ssl=self._tls,
            ssl_handshake_timeout=self.limits.tls_handshake_timeout_s if self._tls is not None else None,
            start_serving=False,
        )
        self.host = host
        self.port = self._server.sockets[0].getsockname()[1]

    def listening_sockets(self) -> list[socket.socket]:
        """What it is bound to, listening, as sockets of their own: a process that has them accepts on them."""
        bound = cast("asyncio.Server", self._server).sockets
        found = [socket.socket(fileno=os.dup(each.fileno())) for each in bound]
        for each in found:
            each.listen(BACKLOG)
        return found

    async def adopt(
        self, accepted: socket.socket, early: bytes, ends_with: Callable[[Request], bool], peer_host: str
    ) -> None:
        """Go on with a connection that was accepted elsewhere. ``early`` has been read of it and belongs to requests without an answer.

        Where the server speaks TLS, whoever accepted it ends that: what comes and goes here is inside it.

        After a request for which ``ends_with`` is true the connection ends, unless more has been sent already.
        """

        def connection() -> _Adopted:
            return _Adopted(self, early, ends_with, peer_host)

        accepted.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(connection, accepted)

    async def close(self, grace_s: float) -> None:
        """Stop accepting, let answers under way finish for ``grace_s`` seconds, then end all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.finish()
        self._idle.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace_s)
        for connection in list(self._connections):
            connection.abort()

    # For the connections.

    def opened(self, connection: Connection) -> bool:
        """Note a new connection; False when there are too many."""
        self._connections[connection] = None
        excess = len(self._connections) - self._connections_max
        if excess <= 0:
            return True
        if excess > REFUSED_MAX:
            connection.abort()
            return True
        idle = next((other for other in self._connections if other.idle_s() > EVICT_IDLE_S), None)
        if idle is None:
            return False
        self.gone(idle)
        idle.abort()
        return True

    def gone(self, connection: Connection) -> None:
        """Forget it."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._idle.set()

    async def begin_tls(self, transport: asyncio.Transport, switch: TlsFromHere) -> None:
        """Go on with HTTP behind TLS on this transport, which nobody reads any more."""
        held = _Held()
        try:
            tls = await asyncio.get_running_loop().start_tls(
                transport,
                held,
                switch.context,
                server_side=True,
                ssl_handshake_timeout=self.limits.tls_handshake_timeout_s,
            )
        except (OSError, RuntimeError):
            # No TLS, a client that does not trust the certificate, one that fell silent; or gone already (uvloop).
            transport.abort()
            return
        if tls is None or held.lost:
            return
        connection = Connection(self, "https")
        tls.set_protocol(connection)
        connection.connection_made(tls)
        for data in held.data:
            connection.data_received(data)
