"""The worker's end of its connections: non-blocking sockets, one thread, no event loop of asyncio.

Place in the flow: ``model_server`` and ``function_worker`` wait here for calls and answer through it. All frames that have
arrived on all connections come out of one ``wait``; answers go out with one write per connection at ``flush``. While calls follow
each other closely, ``wait`` stays awake for a moment before it sleeps.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

from stagedoor.worker import frames

# Below the size from which malloc takes memory from the system for each receive.
_RECEIVE_BYTES = 64 * 1024
# A peer that does not read its answers is not read from beyond this.
_UNSENT_LIMIT_BYTES = 64 * 1024 * 1024
_FIRST_REFUSAL_WAIT_S = 5.0
# A call that comes within this time after the last answer finds the worker awake.
_AWAKE_S = 0.0002


class Connection:
    """One connection from the server."""

    __slots__ = ("decoder", "events", "outgoing", "peer", "unsent")

    def __init__(self, accepted: socket.socket) -> None:
        self.peer = accepted
        self.decoder = frames.Decoder()
        self.outgoing: list[bytes] = []  # answers of this turn
        self.unsent = memoryview(b"")  # what the socket did not take at once
        self.events = 0


class Connections:
    """All connections of one worker. ``hello`` is the meta of the HELLO that each gets first.

    ``server_pid``: only this process may connect, where the system tells who does (Linux); None: anybody who can.
    ``stays_awake``: see ``_next_ready``.
    """

    def __init__(
        self,
        listener: socket.socket,
        hello: Mapping[str, Any],
        server_pid: int | None = None,
        *,
        stays_awake: bool = False,
    ) -> None:
        self.counters: dict[str, int] = {"calls": 0}
        self._hello = frames.encode(frames.HELLO, 0, hello)
        self._listener = listener
        self._server_pid = server_pid
        self._answering: list[Connection] = []
        # What the ``selectors`` module adds to it took as long as the system call.
        self._poll = select.poll()
        # By file descriptor; None for the listener and what wakes.
        self._connections: dict[int, Connection | None] = {listener.fileno(): None}
        listener.setblocking(False)
        self._poll.register(listener, select.POLLIN)
        self._waker: socket.socket | None = None
        self._is_in_demand = False
        self._stays_awake = stays_awake

    def wake_by(self, waker: socket.socket) -> None:
        """Have ``wait`` return, maybe without a call, when something can be read from ``waker``, which it reads.

        Other threads answer then: the one that waits sleeps at once, and leaves them the interpreter.
        """
        self._stays_awake = False
        waker.setblocking(False)
        self._waker = waker
        self._connections[waker.fileno()] = None
        self._poll.register(waker, select.POLLIN)

    def wait(
        self, limit_bytes: int, *, block: bool, timeout_s: float | None = None
    ) -> list[tuple[Connection, frames.Frame]]:
        """The calls that have arrived, about ``limit_bytes`` of them at most; with ``block`` at least one, unless it is woken.

        With ``timeout_s`` too there may be none: that time is over then, or something else than a call has come.
        A connection's calls are in the order they were sent. PINGs are answered here.
        """
        calls: list[tuple[Connection, frames.Frame]] = []
        woken = False
        while True:
            if not block or calls:
                ready = self._poll.poll(0)
            elif timeout_s is None:
                ready = self._next_ready()
            else:
                ready = self._poll.poll(timeout_s * 1000)
            for descriptor, events in ready:
                connection = self._connections[descriptor]
                if connection is None:
                    if self._waker is not None and descriptor == self._waker.fileno():
                        woken = bool(self._waker.recv(_RECEIVE_BYTES))
                    else:
                        self._accept()
                    continue
                if events & select.POLLOUT:
                    self._send(connection)
                if events != select.POLLOUT and connection.events:  # sending may have shown that it is gone
                    limit_bytes -= self._receive(connection, calls, limit_bytes)
            self.flush()
            if calls or woken or not block or timeout_s is not None:
                self.counters["calls"] += len(calls)
                return calls

    def _next_ready(self) -> list[tuple[int, int]]:
        """Wait until something has come. While calls follow each other closely the worker looks for the next one before it sleeps.

        To wake a processor that sleeps costs whoever sends the call more than sending it. Others that want to run here go first.
        """
        if not self._stays_awake:
            return self._poll.poll()
        began_s = time.monotonic()
        if self._is_in_demand:
            while time.monotonic() - began_s < _AWAKE_S:
                if ready := self._poll.poll(0):
                    return ready
                os.sched_yield()
        ready = self._poll.poll()
        self._is_in_demand = time.monotonic() - began_s < _AWAKE_S
        return ready

    def answer(self, connection: Connection, answer: bytes) -> None:
        """Have an encoded frame sent to ``connection`` at the next ``flush``."""
        if not connection.outgoing:
            self._answering.append(connection)
        connection.outgoing.append(answer)

    def flush(self) -> None:
        """Send what was answered, as far as the sockets take it."""
        answering, self._answering = self._answering, []
        for connection in answering:
            pieces, connection.outgoing = connection.outgoing, []
            fresh = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            connection.unsent = memoryview(
                b"".join((connection.unsent, fresh)) if connection.unsent else fresh
            )
            self._send(connection)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            accepted, _ = self._listener.accept()
            if not _is_server(accepted, self._server_pid):
                accepted.close()
                return
            accepted.setblocking(False)
            connection = Connection(accepted)
            connection.events = select.POLLIN
            self._connections[accepted.fileno()] = connection
            self._poll.register(accepted, connection.events)
            self.answer(connection, self._hello)

    def _receive(
        self, connection: Connection, calls: list[tuple[Connection, frames.Frame]], limit_bytes: int
    ) -> int:
        """Take what has arrived on one connection; how many bytes that was."""
        received = 0
        try:
            while received < limit_bytes or not received:
                data = connection.peer.recv(_RECEIVE_BYTES)
                if not data:
                    self._drop(connection)
                    break
                received += len(data)
                for frame in connection.decoder.feed(data):
                    if frame.kind == frames.CALL:
                        calls.append((connection, frame))
                    elif frame.kind == frames.PING:
                        self.answer(connection, frames.encode(frames.RESULT, frame.id, self.counters))
                    else:
                        raise frames.FrameError(f"a worker takes no frame of kind {frame.kind}")
                if len(data) < _RECEIVE_BYTES:
                    break
        except BlockingIOError:
            pass
        except (ConnectionError, frames.FrameError):
            self._drop(connection)
        return received

    def _send(self, connection: Connection) -> None:
        if not connection.events:
            return  # it is gone
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.peer.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._drop(connection)
            return
        events = select.POLLIN if len(connection.unsent) < _UNSENT_LIMIT_BYTES else 0
        if connection.unsent:
            events |= select.POLLOUT
        if events != connection.events:
            connection.events = events
            self._poll.modify(connection.peer, events)

    def _drop(self, connection: Connection) -> None:
        if connection.events:
            connection.events = 0
            self._poll.unregister(connection.peer)
            del self._connections[connection.peer.fileno()]
            connection.peer.close()


def _is_server(peer: socket.socket, server_pid: int | None) -> bool:
    """Whether the server connects, and no other worker. Seen from a process space of its own, the server has number 0: there
    the file system and the users keep others away.
    """
    if server_pid is None or sys.platform != "linux" or peer.family != socket.AF_UNIX:
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[0] in (0, server_pid)


def refuse(listener: socket.socket, fault: Mapping[str, Any]) -> None:
    """Tell everyone who is waiting for this worker why it will never be ready.

    The server connects as soon as the process exists, so it waits already or will come within moments.
    """
    answer = frames.encode(frames.FAULT, 0, fault)
    deadline = time.monotonic() + _FIRST_REFUSAL_WAIT_S
    while True:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with contextlib.suppress(OSError), connection:
            connection.settimeout(1.0)
            connection.sendall(answer)
        deadline = 0.0  # further ones only if they have come already
