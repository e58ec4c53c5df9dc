"""Accepting in a front process: all of them accept on the same sockets, and share the connections out evenly.

Whichever of them is awake accepts; one that has more connections than another leaves a new one to that for a moment. With a listening
socket for each, which the kernel would choose by a hash, the eight connections of a busy client end up six to two, and connections wait
behind a process that hangs.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from stagedoor.front.processes.connection_counts import ConnectionCounts
from stagedoor.http.connection import Connection, Handler
from stagedoor.http.message import Request
from stagedoor.http.portable_connection import PortableConnection
from stagedoor.http.server import Server

_DEFER_S: Final = 0.001
_NO_FILES_PAUSE_S: Final = 0.1

HandOver = Callable[[int, socket.socket, bytes], None]
"""Takes the connection that listener ``number`` accepted to the control process; with what was read of it."""


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
    ) -> None:
        super().__init__(handler, connections_max=connections_max)
        self._number = number
        self._listening = listening
        self._answers = answers
        self._hand_over = hand_over
        self._counts = counts
        self._opening: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to accept."""
        self._counts.set(self.open_count)
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
        task.add_done_callback(self._opening.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: PortableConnection(self, self.scheme), accepted
            )

    # For the connections.

    def opened(self, connection: Connection) -> bool:
        welcome = super().opened(connection)
        self._counts.set(self.open_count)
        return welcome

    def gone(self, connection: Connection) -> None:
        super().gone(connection)
        self._counts.set(self.open_count)

    def answers(self, request: Request) -> bool:
        """See ``http.portable_connection.Station``."""
        return self._answers(request)

    def hand_over(self, connected: socket.socket, unanswered: bytes) -> None:
        """See ``http.portable_connection.Station``."""
        self._hand_over(self._number, connected, unanswered)
