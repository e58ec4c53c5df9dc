"""Case 36: clients that are slow on purpose are left, and the others do not notice them. Limits are made short here."""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from stagedoor.front.processes import connection_counts
from stagedoor.front.processes.connection_counts import ConnectionCounts
from stagedoor.front.processes.door import Door
from stagedoor.http.connection import Limits
from stagedoor.http.message import Request, Response
from stagedoor.http.server import BACKLOG, Server

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SLOW = 1000
SHORT = Limits(
    head_timeout_s=2.0,
    body_stall_timeout_s=2.0,
    idle_timeout_s=2.0,
    write_stall_timeout_s=2.0,
    body_min_bytes_per_s=50,
)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module", autouse=True)
def room_for_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def handler(request: Request) -> Response:
    if request.path == "/large":

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield bytes(1_000_000)

        return Response(200, (), pieces())
    await request.body.read(10_000_000)
    return Response(200, (), b"ok")


def door_of_a_front(limits: Limits, connections_max: int) -> Server:
    """What a front process accepts with."""

    def nobody_leaves(number: int, connected: socket.socket, unanswered: bytes, peer_host: str) -> None:
        raise AssertionError("all requests are answered here")

    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    counts = ConnectionCounts(connection_counts.make(), 0)
    door = Door(0, [listening], handler, lambda _: True, nobody_leaves, counts, connections_max)
    door.limits = limits
    door.port = listening.getsockname()[1]
    door.open()
    return door


def run(
    use: Callable[[Server], Awaitable[None]],
    limits: Limits = SHORT,
    connections_max: int = 4096,
    *,
    at_a_front: bool = False,
) -> None:
    async def main() -> None:
        if at_a_front:
            server = door_of_a_front(limits, connections_max)
        else:
            server = Server(handler, limits, connections_max=connections_max)
            await server.listen("127.0.0.1", 0)
        try:
            await asyncio.wait_for(use(server), 60)
        finally:
            if isinstance(server, Door):
                server.shut()
            await server.close(0)

    uvloop.run(main())


async def connect(server: Server) -> Stream:
    return await asyncio.open_connection("127.0.0.1", server.port)


async def ended(stream: Stream) -> bool:
    with contextlib.suppress(ConnectionError):
        return not await asyncio.wait_for(stream[0].read(1000), 10)
    return True


def trickle(port: int, begin: bytes, byte: bytes) -> int:
    """A thousand connections that send a byte each, five times in a second; how many the server has ended."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(SLOW)]
    count = 0
    for one in sockets:
        one.setblocking(False)
        sends(one, begin)
    deadline_s = time.monotonic() + 20
    while sockets and time.monotonic() < deadline_s:
        time.sleep(0.2)
        left = [one for one in sockets if sends(one, byte) and not is_ended(one)]
        for one in set(sockets) - set(left):
            one.close()
            count += 1
        sockets = left
    return count


def sends(one: socket.socket, data: bytes) -> bool:
    try:
        one.send(data)
    except ConnectionError:
        return False
    return True


def is_ended(one: socket.socket) -> bool:
    try:
        return not one.recv(1000)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


BEGINNINGS = {
    "head": (b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"a"),
    "body": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", b"a"),
    "chunks": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "nothing": (b"", b""),
    "empty lines": (b"\r\n", b"\r\n"),
}


@pytest.mark.parametrize(
    ("kind", "at_a_front"), [*((kind, False) for kind in BEGINNINGS), ("head", True), ("body", True)]
)
def test_case_36_a_thousand_slow_senders_are_left_and_the_others_are_answered(
    kind: str, at_a_front: bool
) -> None:
    async def use(server: Server) -> None:
        begin, byte = BEGINNINGS[kind]
        slow = asyncio.create_task(asyncio.to_thread(trickle, server.port, begin, byte))
        durations: list[float] = []
        while not slow.done():
            begun = time.perf_counter()
            reader, writer = await connect(server)
            writer.write(GET)
            answer = await asyncio.wait_for(reader.readuntil(b"ok"), 10)
            assert answer.startswith(b"HTTP/1.1 200 ")
            durations.append(time.perf_counter() - begun)
            writer.close()
            await asyncio.sleep(0.01)
        assert await slow == SLOW
        assert len(durations) > 20
        # They share a machine and an interpreter with their server; what would hurt is waiting for their limits.
        assert sorted(durations)[len(durations) // 2] < 0.5

    run(use, at_a_front=at_a_front)


def test_case_36_slow_readers_are_left_and_cost_no_memory() -> None:
    async def use(server: Server) -> None:
        slow = [await connect(server) for _ in range(200)]
        for reader, writer in slow:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        await asyncio.sleep(0.5)
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reader, writer = await connect(server)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        deadline = asyncio.get_running_loop().time() + 10
        while server.open_count > 1 and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert server.open_count <= 1, "slow readers were kept"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb < 300_000
        for _, other in slow:
            other.close()

    run(use)


def test_case_36_a_steady_upload_goes_on_for_longer_than_any_limit() -> None:
    async def use(server: Server) -> None:
        reader, writer = await connect(server)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2500\r\n\r\n")
        for _ in range(25):
            writer.write(bytes(100))
            await asyncio.sleep(0.15)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")

    run(use)


@pytest.mark.parametrize("at_a_front", [False, True])
def test_case_36_connections_beyond_the_bound_are_told_so_and_the_rest_goes_on(at_a_front: bool) -> None:
    async def use(server: Server) -> None:
        # None of them is idle: each has begun a request.
        busy = [await connect(server) for _ in range(10)]
        for _, writer in busy:
            writer.write(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.1)
        reader, writer = await connect(server)
        writer.write(GET)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        busy[0][1].write(b"Host: h\r\n\r\n")
        assert (await busy[0][0].readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        busy[0][1].close()
        writer.close()
        await asyncio.sleep(0.1)
        reader, writer = await connect(server)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")

    run(use, Limits(), connections_max=10, at_a_front=at_a_front)


@pytest.mark.parametrize("at_a_front", [False, True])
def test_case_36_connections_that_idle_make_way_for_those_that_ask(at_a_front: bool) -> None:
    async def use(server: Server) -> None:
        idle = [await connect(server) for _ in range(10)]
        await asyncio.sleep(1.2)
        reader, writer = await connect(server)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        assert await ended(idle[0]), "the one that idled longest was kept"

    run(use, Limits(), connections_max=10, at_a_front=at_a_front)
