"""The server's end of one connection to a worker: frames, pipelined, answers matched by id.

Place in the flow: ``reconcile`` opens a channel when the engine has placed a worker; ``traffic.endpoint_routes`` and
``traffic.function_pools`` call through it. This is the hot path of every invocation, so it is an asyncio Protocol with
one future and one write per call, and one timer per channel instead of one per call.
"""

import asyncio
import math
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import orjson

from stagedoor.worker import frames

Answer = tuple[dict[str, Any], bytes]
"""Meta and body of a RESULT."""

_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.25


class ChannelError(Exception):
    """Something between the server and a worker; the subclasses say what."""


class WorkerFailedError(ChannelError):
    """The worker said (or showed) that it will never be ready.

    ``reason`` is a sentence for a person, ``traceback`` the worker's text (may be empty), ``meta`` all of the FAULT
    (functions: ``error``).
    """

    def __init__(self, reason: str, traceback: str = "", meta: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.traceback = traceback
        self.meta: Mapping[str, Any] = meta or {}


class ChannelOpenTimeoutError(ChannelError):
    """The worker was not ready in time."""


class ChannelLostError(ChannelError):
    """The connection is gone: the worker died, or the channel was closed. Whether the call was executed is unknown."""


class CallTimeoutError(ChannelError):
    """No answer in time. The worker may still be busy with it, so the call counts as in flight until it answers."""


class CallFaultError(ChannelError):
    """The worker answered this call with a FAULT: the model refused it or raised."""

    def __init__(self, meta: Mapping[str, Any], body: bytes) -> None:
        super().__init__(str(meta.get("reason", "the worker failed")))
        self.reason = str(meta.get("reason", "the worker failed"))
        self.status = int(meta.get("status", 500))
        self.traceback = str(meta.get("traceback", ""))
        self.meta = meta
        self.body = body


class Channel(asyncio.Protocol):
    """One connection to one worker. Made by ``open``; ends by ``close`` or with the worker."""

    def __init__(self) -> None:
        self.hello: Mapping[str, Any] = {}
        """Meta of the worker's HELLO."""
        self.address = ""
        """Where the worker listens, for further channels to it."""
        self.calls_elsewhere = 0
        """Calls that front processes have under way on channels of their own, as far as they have told; 1 at least while one that is to
        give up the worker has not done so."""
        self.is_closed = False
        """Whether the connection is gone."""
        self._loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._decoder = frames.Decoder(orjson.loads)
        self._next_id = 1
        self._pings = 0
        # Id -> the caller's future and deadline. An entry stays until the worker has answered, so that a caller who
        # gave up does not make a busy worker look idle.
        self._calls: dict[int, tuple[asyncio.Future[Answer], float]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    @classmethod
    async def open(cls, address: str, timeout_s: float) -> "Channel":
        """Connect to ``unix:PATH`` or ``tcp:HOST:PORT`` and wait for HELLO.

        A worker that does not listen yet is tried again until ``timeout_s`` is over (ChannelOpenTimeoutError). One that
        answers with FAULT, or hangs up before it is ready, raises WorkerFailedError.
        """
        try:
            async with asyncio.timeout(timeout_s):
                channel = await cls._connect(address)
                channel.address = address
                try:
                    await channel._greeting
                except BaseException:
                    channel.close()
                    raise
                return channel
        except TimeoutError:
            raise ChannelOpenTimeoutError(f"the worker was not ready within {timeout_s:g} seconds") from None

    @classmethod
    async def _connect(cls, address: str) -> "Channel":
        loop = asyncio.get_running_loop()
        scheme, _, place = address.partition(":")
        if scheme not in ("unix", "tcp"):
            raise ValueError(f"not the address of a worker: {address!r}")
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if scheme == "unix":
                    _, protocol = await loop.create_unix_connection(cls, place)
                else:
                    host, _, port = place.rpartition(":")
                    _, protocol = await loop.create_connection(cls, host.strip("[]"), int(port))
                return protocol
            except (ConnectionError, FileNotFoundError, BlockingIOError):
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    @classmethod
    async def over(cls, connected: socket.socket) -> "Channel":
        """A channel on a connection to a worker that is ready; calls may be sent before its HELLO has come."""
        _, channel = await asyncio.get_running_loop().create_unix_connection(cls, sock=connected)
        return channel

    def call(self, meta: Mapping[str, Any], body: bytes, timeout_s: float) -> asyncio.Future[Answer]:
        """Send one call; await the result for the answer's ``(meta, body)``.

        It raises CallFaultError, CallTimeoutError or ChannelLostError. A caller may be cancelled at any time.
        """
        return self._send(frames.CALL, orjson.dumps(meta) if meta else b"", body, timeout_s)

    async def ping(self, timeout_s: float) -> dict[str, Any]:
        """Ask whether the worker can answer; gives its counters. It waits behind what the worker is doing."""
        self._pings += 1
        meta, _ = await self._send(frames.PING, b"", b"", timeout_s)
        return meta

    @property
    def calls(self) -> int:
        """Calls ever sent: two looks tell whether anybody has used the worker in between."""
        return self._next_id - 1 - self._pings

    @property
    def in_flight(self) -> int:
        """Calls the worker has not answered, whether or not their callers still wait; those of front processes too."""
        return len(self._calls) + self.calls_elsewhere

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await asyncio.shield(self._closed)

    def on_closed(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called (soon) when the connection is gone; also if it is gone already."""
        self._closed.add_done_callback(lambda _: listener())

    def close(self) -> None:
        """Hang up. Calls in flight raise ChannelLostError. The worker goes on; the engine stops workers."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self, kind: int, meta: bytes, body: bytes, timeout_s: float) -> asyncio.Future[Answer]:
        loop = self._loop
        future: asyncio.Future[Answer] = loop.create_future()
        transport = self._transport
        if transport is None or self.is_closed or transport.is_closing():
            future.set_exception(ChannelLostError("the connection to the worker is gone"))
            return future
        request_id = self._next_id
        self._next_id = request_id + 1
        head = frames.head(kind, request_id, meta, len(body))
        deadline = loop.time() + timeout_s
        self._calls[request_id] = (future, deadline)
        if deadline < self._alarm_at:
            self._set_alarm(deadline)
        # At once: the worker begins while the next request is being read.
        transport.writelines((head, body) if body else (head,))
        return future

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._expire)
        self._alarm_at = when

    def _expire(self) -> None:
        """Fail the calls whose time is over, and look again when the next one's is."""
        self._alarm, self._alarm_at = None, math.inf
        now = self._loop.time()
        following: float | None = None
        for future, deadline in list(self._calls.values()):
            if future.done():
                continue
            if deadline <= now:
                future.set_exception(CallTimeoutError("the worker did not answer in time"))
            elif following is None or deadline < following:
                following = deadline
        if following is not None:
            self._set_alarm(following)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # uvloop keeps what is below this mark until the end of the loop's turn.
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        try:
            arrived = self._decoder.feed(data)
        except frames.FrameError as error:
            self._lose(f"the worker does not speak frames: {error}")
            return
        for frame in arrived:
            if frame.id == 0:
                self._greeted(frame)
                continue
            call = self._calls.pop(frame.id, None)
            if call is None:
                self._lose(f"the worker answered {frame.id}, which was not asked")
                return
            future = call[0]
            if future.done():
                continue
            if frame.kind == frames.RESULT:
                future.set_result((frame.meta, frame.body))
            else:
                future.set_exception(CallFaultError(frame.meta, frame.body))

    def _greeted(self, frame: frames.Frame) -> None:
        if self._greeting.done():
            self._lose("the worker greeted twice")
        elif frame.kind == frames.HELLO:
            self.hello = frame.meta
            self._greeting.set_result(None)
        else:
            meta = frame.meta
            reason = str(meta.get("reason", "the worker failed to start"))
            self._greeting.set_exception(WorkerFailedError(reason, str(meta.get("traceback", "")), meta))

    def _lose(self, reason: str) -> None:
        """The worker broke the protocol: nothing it says counts any more."""
        self._fail(reason)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the worker closed the connection" if exc is None else f"the connection broke: {exc}")
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.is_closed = True
        if not self._closed.done():
            self._closed.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._greeting.done():
            self._greeting.set_exception(WorkerFailedError("the worker ended before it was ready"))
        if not self._greeting.cancelled():
            self._greeting.exception()  # whether or not anybody waited for it
        calls, self._calls = self._calls, {}
        for future, _ in calls.values():
            if not future.done():
                future.set_exception(ChannelLostError(reason))  # each its own: raising adds to its traceback
