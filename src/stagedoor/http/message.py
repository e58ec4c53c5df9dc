"""Requests and responses as both listeners see them: between ``http.connection`` and ``front`` or ``public``."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class BodyTooLargeError(Exception):
    """A body is longer than the reader allowed. Answer 413 and let the connection close."""


class ElsewhereError(Exception):
    """Another process has what it takes to answer this request; nothing of it has been done yet."""


class Body(Protocol):
    """A request's body: read it at most once, whole or in pieces. Unread rest is dropped by the connection."""

    @property
    def content_length(self) -> int | None:
        """Bytes announced by Content-Length; None for a chunked body; 0 for none."""
        ...

    def arrived(self) -> bytes | None:
        """The whole body where it has come in one piece already; it stays to be read. None where it has to be waited for."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """All of the body. BodyTooLargeError as soon as it is known to exceed ``limit_bytes``."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive, with back-pressure on the socket."""
        ...


@dataclass(slots=True)
class Request:
    """One request as it came in: nothing is decoded or normalised, since signatures cover the literal form.

    ``headers`` has lower-case names in order of arrival, repeated ones repeated; ``header`` the same as a dict with
    repeated values joined by ``,``; ``raw_headers`` are the same bytes as they came. ``path`` and ``query`` are still
    percent-encoded; ``query`` without ``?``. A CONNECT has its ``host:port`` as ``path``.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    header: dict[str, str]
    body: Body
    peer_host: str = ""
    scheme: str = "http"
    raw_headers: Sequence[tuple[bytes, bytes]] = ()

    @property
    def names(self) -> list[str]:
        """The names of ``headers`` as the client spelt them."""
        return [name.decode("latin-1") for name, _ in self.raw_headers]


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A part of a file as an answer's body; the connection sends it without reading it into memory at once."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class TlsFromHere:
    """After the answer to a CONNECT: TLS begins on the connection, and behind it the same handler answers HTTP."""

    context: ssl.SSLContext


class Tunnel(Protocol):
    """After the answer to a CONNECT: the connection's bytes go elsewhere, unread."""

    async def carry(self, transport: asyncio.Transport, already_read: bytes) -> None:
        """Until both sides have ended. ``transport`` is paused and becomes the tunnel's; so do bytes read too far."""
        ...


@dataclass(slots=True)
class Response:
    """One answer. Content-Length is set by the connection for ``bytes`` and ``FileSlice``, unless given.

    An async iterator body without a Content-Length header goes out chunked. ``close`` ends the connection after it.
    ``switch`` answers a CONNECT only: what the connection becomes after the head, which has no body then.
    """

    status: int
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)
    body: "bytes | FileSlice | AsyncIterator[bytes]" = b""
    close: bool = False
    switch: TlsFromHere | Tunnel | None = None


class Pending:
    """An answer on its way that needs no task of its own: once ``future`` is done, ``finish`` makes the answer of it.

    A connection that goes away cancels ``future``; then nothing is finished.
    """

    __slots__ = ("finish", "future")

    def __init__(self, future: asyncio.Future[Any], finish: Callable[[], Response]) -> None:
        self.future = future
        self.finish = finish

    def __await__(self) -> Generator[Any, Any, Response]:
        with contextlib.suppress(Exception):  # finish looks at how it ended
            yield from self.future.__await__()
        return self.finish()


Answering = Response | Pending | Awaitable[Response]
"""What a handler gives: the answer, or what it will come from."""


async def answer_of(answering: Answering) -> Response:
    """The answer, waited for if need be."""
    return answering if isinstance(answering, Response) else await answering
