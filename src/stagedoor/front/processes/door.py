"""Accepting in a front process: all of them accept on the same sockets, and share the connections out evenly.

Whichever of them is awake accepts; one that has more connections than another leaves a new one to that for a moment. With a listening
socket for each, which the kernel would choose by a hash, the eight connections of a busy client end up six to two, and connections wait
behind a process that hangs.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from stagedoor.front.processes.connection_counts import ConnectionCounts
from stagedoor.http.connection import Connection, Handler
from stagedoor.http.message import Request
from stagedoor.http.portable_connection import PortableConnection
from stagedoor.http.server import Server

_DEFER_S: Final = 0.001
_NO_FILES_PAUSE_S: Final = 0.1

HandOver = Callable[[int, socket.socket, bytes, str], None]
"""Takes the connection that listener ``number`` accepted to the control process; with what was read of it, and whose it is."""


class Door(Server):
    """One listener's connections in this process."""

    def __init__(
        self,
        number: int,
        listening: list[socket.socket],
        handler: Handler,
        answers: Callable[[Request], bool],
        hand_over: HandOver,
        counts: ConnectionCounts,
        connections_max: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(handler, tls=tls, connections_max=connections_max)
        self._number = number
        self._listening = listening
        self._answers = answers
        self._hand_over = hand_over
        self._counts = counts
        self._opening: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to accept."""
        self._count()
        loop = asyncio.get_running_loop()
        for each in self._listening:
            each.setblocking(False)
            loop.add_reader(each.fileno(), self._knock, each)

    def shut(self) -> None:
        """Accept no more; what is open goes on."""
        loop = asyncio.get_running_loop()
        listening, self._listening = self._listening, []
        for each in listening:
            loop.remove_reader(each.fileno())
            each.close()

    def _knock(self, listening: socket.socket) -> None:
        if self._counts.has_more_than_another:
            self._pause(listening, _DEFER_S, self._accept)
        else:
            self._accept(listening)

    def _pause(self, listening: socket.socket, pause_s: float, then: Callable[[socket.socket], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())

        def again() -> None:
            if listening in self._listening:
                loop.add_reader(listening.fileno(), self._knock, listening)
                then(listening)

        loop.call_later(pause_s, again)

    def _accept(self, listening: socket.socket) -> None:
        # One at a time: a burst of connections is for all processes that are awake.
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # another process was faster
        except OSError:
            self._pause(listening, _NO_FILES_PAUSE_S, lambda _: None)
            return
        accepted.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._begin(accepted))
        self._opening.add(task)
        task.add_done_callback(self._is_open)
        self._count()

    async def _begin(self, accepted: socket.socket) -> None:
        # No TLS, a client that does not trust the certificate, one that fell silent; or gone already (uvloop).
        with contextlib.suppress(OSError, RuntimeError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: PortableConnection(self, self.scheme),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.tls_handshake_timeout_s if self._tls is not None else None,
            )

    def _is_open(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        self._count()

    def _count(self) -> None:
        # A handshake takes a while: those that are at it are this process's already.
        self._counts.set(self.open_count + (len(self._opening) if self._tls is not None else 0))

    # For the connections.

    def opened(self, connection: Connection) -> bool:
        welcome = super().opened(connection)
        self._count()
        return welcome

    def gone(self, connection: Connection) -> None:
        super().gone(connection)
        self._count()

    def answers(self, request: Request) -> bool:
        """See ``http.portable_connection.Station``."""
        return self._answers(request)

    def hand_over(self, connected: socket.socket, unanswered: bytes, peer_host: str) -> None:
        """See ``http.portable_connection.Station``."""
        self._hand_over(self._number, connected, unanswered, peer_host)
