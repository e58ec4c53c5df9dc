"""Cases 34 and 35: requests that two readers could take to end in two places, and heads without measure."""

import asyncio
import contextlib

import pytest
from hardening.raw_http import alive, exchange

from stagedoor import testing
from stagedoor.http.message import Request, Response
from stagedoor.http.server import Server

GET = b"GET /_stagedoor/health HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "length in hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "length with a blank inside": POST + b"Content-Length: 1 1\r\n\r\nabc",
    "length overflows": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "empty length": POST + b"Content-Length:\r\n\r\nabc",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "vertical tab before chunked": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "bare LF after a header": b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "bare LF ends the head": b"GET / HTTP/1.1\r\nHost: h\r\n\n",
    "bare CR in a header": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
    "obs-fold with a tab": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n",
    "blank before the first header": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: h\r\nX\x00: ab\r\n\r\n",
    "blank before the colon": b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
    "tab before the colon": b"GET / HTTP/1.1\r\nHost: h\r\nX\t: y\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: h\r\nabc\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
    "chunk size overflows": CHUNKED + b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "chunk size with a sign": CHUNKED + b"+1\r\nx\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "blank behind the chunk size": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "bare LF behind the chunk size": CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "bare LF in a chunk's extension": CHUNKED + b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"1\r\nxy\r\n0\r\n\r\n",
    "length as a trailer": CHUNKED + b"1\r\nx\r\n0\r\nContent-Length: 4\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "another host in the target": b"GET http://g/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a control character in the target": b"GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n",
    "bytes beyond ASCII in the target": b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("listener", ["api", "public"])
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_case_34_what_two_readers_could_read_in_two_ways_is_400_and_the_end(
    stagedoor: testing.Server, listener: str, name: str
) -> None:
    answers = exchange(getattr(stagedoor, listener), AMBIGUOUS[name] + GET)
    # No length at all, and versions of HTTP that are not spoken here, have statuses of their own.
    assert answers.startswith(
        (b"HTTP/1.1 400 ", b"HTTP/1.1 505 ") if name == "no version" else b"HTTP/1.1 400 "
    )
    assert answers.count(b"HTTP/1.1 ") == 1, "the bytes behind it were taken for a request"
    assert b"\r\nconnection: close\r\n" in answers.lower()


def test_case_34_a_smuggled_request_is_part_of_the_body_or_nothing(stagedoor: testing.Server) -> None:
    smuggled = b"GET /_stagedoor/health HTTP/1.1\r\nHost: h\r\n\r\n"
    raw = b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(smuggled)
    answers = exchange(stagedoor.api, raw + smuggled)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert not answers.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("listener", ["api", "public"])
@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 65_536 + b"\r\n\r\n", {431}),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-Y: z\r\n" * 1000 + b"\r\n", {431}),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-Y: " + b"z" * 2_000_000, {431}),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"x" * 2_000_000, {431, 400}),
        (b"GET /" + b"a" * 1_048_576 + b" HTTP/1.1\r\nHost: h\r\n\r\n", {414}),
        (b"G" * 1_000_000, {400}),
        (CHUNKED + b"1\r\nx\r\n0\r\n" + b"X-Y: z\r\n" * 100_000, {431, 400}),
    ],
    ids=["64 KB", "1,000 headers", "endless value", "endless name", "1 MB URL", "method", "trailers"],
)
def test_case_35_heads_beyond_measure_are_refused(
    stagedoor: testing.Server, listener: str, raw: bytes, statuses: set[int]
) -> None:
    url = getattr(stagedoor, listener)
    answer = exchange(url, raw)
    assert int(answer.split(b" ", 2)[1]) in statuses
    assert answer.count(b"HTTP/1.1 ") == 1
    assert alive(url)


ENDLESS = {
    "header": b"GET / HTTP/1.1\r\nHost: h\r\nX: ",
    "trailer": CHUNKED + b"1\r\nx\r\n0\r\nX: ",
    "extension": CHUNKED + b"1;",
    "size": CHUNKED,
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_case_35_memory_stays_flat(kind: str) -> None:
    """In this process, with a handler that waits for the body: what the server itself keeps can be looked at."""

    async def main() -> None:
        async def reads(request: Request) -> Response:
            return Response(200, (), await request.body.read(1000))

        server = Server(reads)
        await server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(ENDLESS[kind])
        sent = 0
        with contextlib.suppress(ConnectionError, RuntimeError):
            while server.open_count or not sent:
                writer.write(b"0" * 65_536)
                await asyncio.wait_for(writer.drain(), 5)
                await asyncio.sleep(0)
                sent += 65_536
                assert sent < 50_000_000, "the server takes in a head without an end"
        writer.close()
        reader.feed_eof()
        await server.close(0)

    asyncio.run(main())
