"""The HTTP connection over real sockets: what comes in is handed on whole, nonsense is refused once and ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from stagedoor.http.connection import Handler, Limits
from stagedoor.http.message import BodyTooLargeError, FileSlice, Request, Response
from stagedoor.http.server import Server

GET = b"GET /a%2Fb?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def serve(
    handler: Handler,
    use: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    **limits: float,
) -> None:
    async def main() -> None:
        server = Server(handler, Limits(**limits))  # pyright: ignore[reportArgumentType]
        await server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**22)
        try:
            await asyncio.wait_for(use(reader, writer), 20)
        finally:
            writer.close()
            await server.close(0)

    asyncio.run(main())


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body


async def echo(request: Request) -> Response:
    body = await request.body.read(2**24)
    return Response(200, [("x-target", f"{request.method} {request.path} {request.query}")], body)


def test_nothing_of_the_target_is_decoded() -> None:
    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET)
        status, headers, _ = await read_answer(reader)
        assert (status, headers["x-target"]) == (200, "get /a%2fb x=1")

    serve(echo, use)


def test_answers_come_in_the_order_of_pipelined_requests() -> None:
    async def slow_first(request: Request) -> Response:
        await asyncio.sleep(0.05 if request.path == "/1" else 0)
        return Response(200, (), request.path.encode())

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in (1, 2, 3)))
        assert [(await read_answer(reader))[2] for _ in range(3)] == [b"/1", b"/2", b"/3"]

    serve(slow_first, use)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_goes_both_ways(chunked: bool) -> None:
    data = bytes(range(256)) * 20_000

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if chunked:
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(data), 70_000):
                piece = data[start : start + 70_000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        assert (await read_answer(reader))[2] == data

    serve(echo, use)


def test_a_body_nobody_reads_stops_the_sender() -> None:
    begun = asyncio.Event()

    async def never_reads(request: Request) -> Response:
        begun.set()
        await asyncio.sleep(0.3)
        return Response(200)

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
        writer.write(bytes(20_000_000))
        await begun.wait()
        await asyncio.sleep(0.1)
        transport = writer.transport
        assert transport.get_write_buffer_size() > 5_000_000, "the server took in what nobody had read"

    serve(never_reads, use)


def test_continue_is_said_when_the_body_is_wanted_and_not_before() -> None:
    async def refuse_or_echo(request: Request) -> Response:
        return Response(403) if request.path == "/no" else await echo(request)

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head % b"/yes")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await read_answer(reader))[2] == b"hello"
        writer.write(head % b"/no")
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (403, "close")

    serve(refuse_or_echo, use)


def test_a_body_over_the_readers_limit_is_known_from_its_announcement() -> None:
    async def small(request: Request) -> Response:
        try:
            await request.body.read(10)
        except BodyTooLargeError:
            return Response(413, close=True)
        return Response(200)

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n")
        assert (await read_answer(reader))[0] == 413
        assert await reader.read() == b""

    serve(small, use)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"hello there\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_once_and_the_connection_ends(raw: bytes) -> None:
    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw + GET)
        answers = await reader.read()
        assert answers.startswith(b"HTTP/1.1 400 ")
        assert answers.count(b"HTTP/1.1 ") == 1

    serve(echo, use)


def test_a_head_beyond_the_limits_is_refused_while_it_arrives() -> None:
    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        for _ in range(100):
            writer.write(b"a" * 1000)
            await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")

    serve(echo, use)


def test_a_target_beyond_the_limit_is_refused() -> None:
    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 414 ")

    serve(echo, use)


def test_a_client_that_never_ends_its_head_is_left() -> None:
    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\n")
        assert await reader.read() == b""

    serve(echo, use, head_timeout_s=0.1)


def test_no_header_of_an_answer_can_begin_another_one() -> None:
    async def inject(request: Request) -> Response:
        return Response(200, [("x-a", "1\r\nx-b: 2")])

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET)
        assert b"x-b" not in await reader.read()

    serve(inject, use)


def test_files_and_iterators_are_answered_whole(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(range(256)) * 10_000)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two"):
            yield piece

    async def handler(request: Request) -> Response:
        return Response(200, (), FileSlice(file, 256, 2_000_000) if request.path == "/file" else pieces())

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /file HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await read_answer(reader))[2] == file.read_bytes()[256:2_000_256]
        writer.write(b"GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await read_answer(reader))[2] == b"onetwo"
        writer.write(b"HEAD /file HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"content-length: 2000000" in await reader.readuntil(b"\r\n\r\n")
        assert (await read_answer(reader))[2] == b"onetwo"

    serve(handler, use)


def test_an_answer_that_breaks_off_never_looks_whole() -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"half"
        raise OSError("the disk is gone")

    async def handler(request: Request) -> Response:
        return Response(200, (), breaks())

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET)
        assert not (await reader.read()).endswith(b"0\r\n\r\n")

    serve(handler, use)


def test_a_handler_that_fails_answers_500_without_the_cause() -> None:
    async def fails(request: Request) -> Response:
        raise RuntimeError("secret cause")

    async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"secret" not in answer

    serve(fails, use)
