"""A request's body as it arrives: between ``http.connection`` (which feeds it) and whoever reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from stagedoor.http.message import BodyTooLargeError

HIGH_WATER_BYTES = 256 * 1024
LOW_WATER_BYTES = 128 * 1024


class BodyLostError(Exception):
    """The connection ended before the body did: nothing of it may be taken for whole."""


class Source(Protocol):
    """Where a body comes from: the connection."""

    def pause_reading(self) -> None:
        """Send no more for a while. Calls add up."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...


class StreamBody:
    """The body of one request, with back-pressure: the socket is paused while more than a little waits here.

    ``on_first_read`` runs before the first byte is waited for (it answers ``Expect: 100-continue``).
    """

    complete = False
    waiting_bytes = 0
    _arrived: "asyncio.Future[None] | None" = None
    _lost = False
    _paused = False

    def __init__(
        self, content_length: int | None, source: Source, on_first_read: Callable[[], None] | None
    ) -> None:
        self.content_length = content_length
        self._chunks: deque[bytes] = deque()
        self._source = source
        self._on_first_read = on_first_read

    # Fed by the connection.

    def feed(self, data: bytes) -> None:
        """Bytes arrived."""
        self._chunks.append(data)
        self.waiting_bytes += len(data)
        if self.waiting_bytes > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._source.pause_reading()
        if self._arrived is not None:
            self._notify()

    def finish(self) -> None:
        """The last byte has arrived."""
        self.complete = True
        if self._arrived is not None:
            self._notify()

    def lose(self) -> None:
        """The connection is gone."""
        if not self.complete:
            self._lost = True
            self._notify()

    def _notify(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client sends nothing before it is told ``100 Continue``."""
        return self._on_first_read is not None

    # Read by a handler.

    def arrived(self) -> bytes | None:
        """See ``message.Body``."""
        return self._chunks[0] if self.complete and len(self._chunks) == 1 and not self._paused else None

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body; BodyTooLargeError once it is known to exceed ``limit_bytes``."""
        if self.content_length is not None and self.content_length > limit_bytes:
            raise BodyTooLargeError(f"{self.content_length} bytes announced, {limit_bytes} allowed")
        if self.complete and len(self._chunks) == 1:
            data = self._chunks.popleft()
            self._taken(len(data))
            if len(data) > limit_bytes:
                raise BodyTooLargeError(f"more than {limit_bytes} bytes sent")
            return data
        parts: list[bytes] = []
        size_bytes = 0
        async for chunk in self:
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise BodyTooLargeError(f"more than {limit_bytes} bytes sent")
            parts.append(chunk)
        return b"".join(parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._chunks:
                data = self._chunks.popleft()
                self._taken(len(data))
                yield data
            if self.complete:
                return
            if self._lost:
                raise BodyLostError("the connection ended before the request's body did")
            if self._on_first_read is not None:
                self._on_first_read()
                self._on_first_read = None
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived

    def _taken(self, size_bytes: int) -> None:
        self.waiting_bytes -= size_bytes
        if self._paused and self.waiting_bytes < LOW_WATER_BYTES:
            self._paused = False
            self._source.resume_reading()

    def discard(self) -> None:
        """Drop what waits; what still comes is dropped by the connection."""
        self._chunks.clear()
        self._taken(self.waiting_bytes)


class BytesBody:
    """A body that is there already; for requests made inside the house and for tests."""

    __slots__ = ("_data", "content_length")

    def __init__(self, data: bytes = b"") -> None:
        self._data = data
        self.content_length: int | None = len(data)

    def arrived(self) -> bytes | None:
        """The bytes."""
        return self._data

    async def read(self, limit_bytes: int) -> bytes:
        """The bytes; BodyTooLargeError beyond ``limit_bytes``."""
        if len(self._data) > limit_bytes:
            raise BodyTooLargeError(f"{len(self._data)} bytes, {limit_bytes} allowed")
        return self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._data:
            yield self._data
