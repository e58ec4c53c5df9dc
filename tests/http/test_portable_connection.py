"""A connection that leaves for another server: no byte is lost, none is answered twice, answers keep their order.

The same over TLS, where the connection stays and what is inside it leaves.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from stagedoor.http.local_ca import LOCAL_NAMES, LocalCa
from stagedoor.http.message import ElsewhereError, Request, Response
from stagedoor.http.portable_connection import PortableConnection, behind_first
from stagedoor.http.server import Server

HERE = b"POST /here HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nhere"
THERE = b"PUT /there HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789"


class Station(Server):
    """Answers ``/here`` and, until it has read the body, believes that it answers ``/late``; the rest goes to ``other``."""

    def __init__(self, other: Server, tls: ssl.SSLContext | None) -> None:
        super().__init__(self._answer, tls=tls)
        self._other = other
        self.left: list[bytes] = []
        self._leaving: list[asyncio.Task[None]] = []

    async def _answer(self, request: Request) -> Response:
        body = await request.body.read(100)
        if request.path == "/late":
            raise ElsewhereError("found out late")
        return Response(200, [("x-where", "here")], body)

    def answers(self, request: Request) -> bool:
        return request.path in ("/here", "/late")

    def hand_over(self, connected: socket.socket, unanswered: bytes, peer_host: str) -> None:
        self.left.append(unanswered)
        adopting = self._other.adopt(
            connected, unanswered, lambda request: request.path == "/last", peer_host
        )
        self._leaving.append(asyncio.get_running_loop().create_task(adopting))

    async def open(self) -> tuple[str, int]:
        server = await asyncio.get_running_loop().create_server(
            lambda: PortableConnection(self, self.scheme), "127.0.0.1", 0, ssl=self._tls
        )
        return server.sockets[0].getsockname()


async def there(request: Request) -> Response:
    if request.path == "/who":
        return Response(200, [], f"{request.scheme} {request.peer_host}".encode())
    return Response(200, [("x-where", "there")], await request.body.read(10_000_000))


Story = Callable[[Station, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture(params=["plain", "tls", "tls on uvloop"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    ca = LocalCa(tmp_path) if request.param != "plain" else None
    tls = ca.context(LOCAL_NAMES) if ca is not None else None
    trusted = ssl.create_default_context(cafile=ca.certificate_path) if ca is not None else None

    async def main(story: Story) -> None:
        other = Server(there, tls=tls)
        station = Station(other, tls)
        reader, writer = await asyncio.open_connection(*await station.open(), limit=2**24, ssl=trusted)
        try:
            await asyncio.wait_for(story(station, reader, writer), 20)
        finally:
            writer.close()
            await station.close(1)
            await other.close(0)
        assert station.open_count == 0

    run = uvloop.run if request.param == "tls on uvloop" else asyncio.run
    return lambda story: run(main(story))


async def read_answer(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return headers, await reader.readexactly(int(headers["content-length"]))


async def where(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    headers, body = await read_answer(reader)
    return headers["x-where"], body


def test_it_leaves_with_the_first_request_that_is_not_for_here_and_stays_there(play: Play) -> None:
    async def story(station: Station, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HERE)
        assert await where(reader) == ("here", b"here")
        for request in (THERE, HERE, HERE):
            writer.write(request)
            assert (await where(reader))[0] == "there"
        assert station.left == [THERE]
        assert station.open_count == (0 if station.scheme == "http" else 1)
        writer.write(b"GET /who HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await read_answer(reader))[1] == f"{station.scheme} 127.0.0.1".encode()

    play(story)


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_pipelined_requests_that_arrive_in_pieces_are_all_answered_in_order(play: Play, size: int) -> None:
    async def story(station: Station, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = HERE + HERE + THERE + HERE + THERE
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await asyncio.sleep(0)
        answers = [await where(reader) for _ in range(5)]
        assert [place for place, _ in answers] == ["here", "here", "there", "there", "there"]
        assert [body for _, body in answers] == [b"here", b"here", b"0123456789", b"here", b"0123456789"]

    play(story)


def test_a_large_body_that_is_still_coming_is_read_there(play: Play) -> None:
    async def story(station: Station, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = bytes(range(256)) * 20_000
        writer.write(b"PUT /there HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(0.05)
        writer.write(body)
        assert await where(reader) == ("there", body)
        assert len(station.left[0]) < len(body)

    play(story)


def test_what_is_found_out_late_leaves_with_its_whole_body(play: Play) -> None:
    async def story(station: Station, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late = HERE.replace(b"/here", b"/late")
        writer.write(late + HERE)
        assert await where(reader) == ("there", b"here")
        assert await where(reader) == ("there", b"here")
        assert station.left[0].startswith(late)

    play(story)


def test_the_other_server_may_end_a_connection_after_what_should_not_have_come_there(play: Play) -> None:
    async def story(station: Station, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last = THERE.replace(b"/there", b"/last")
        writer.write(last + THERE)
        assert (await where(reader), await where(reader)) == (("there", b"0123456789"),) * 2
        writer.write(last)
        headers, _ = await read_answer(reader)
        assert headers["connection"] == "close"
        assert await reader.read() == b""

    play(story)


def test_where_the_first_request_ends() -> None:
    bare = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    for first in (HERE, THERE, bare):
        for rest in (b"", bare, HERE[:30]):
            assert behind_first(first + rest) == rest
    with pytest.raises(ValueError, match="no whole request"):
        behind_first(HERE[:-1])
