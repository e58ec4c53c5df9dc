"""The proxy: AWS's names end here, everything else is carried unread, and nobody gets to places that are closed to them."""

import asyncio
import base64
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import uvloop

from stagedoor.front.aws_names import is_aws_name, split_authority
from stagedoor.front.proxy import Proxy
from stagedoor.http import tunnel
from stagedoor.http.body import BytesBody
from stagedoor.http.destinations import Destinations
from stagedoor.http.local_ca import LocalCa
from stagedoor.http.message import Request, Response
from stagedoor.http.server import Server

PASSWORD = "right-password"
AUTHORISED = b"Proxy-Authorization: Basic " + base64.b64encode(b"stagedoor:right-password") + b"\r\n"
FAR = "127.0.0.2"
Use = Callable[[Server, LocalCa], Awaitable[None]]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("sts.us-east-1.amazonaws.com", True),
        ("bucket.with.dots.s3.eu-west-1.amazonaws.com", True),
        ("abc.execute-api.us-east-1.amazonaws.com", True),
        ("s3.cn-north-1.amazonaws.com.cn", True),
        ("s3.us-east-1.api.aws", True),
        ("amazonaws.com", False),
        ("evilamazonaws.com", False),
        ("sts.amazonaws.com.evil.example", False),
        ("sts..amazonaws.com", False),
        ("-.amazonaws.com/", False),
        ("packages.example", False),
        ("127.0.0.1", False),
    ],
)
def test_names_below_the_api_domains_are_awss(host: str, expected: bool) -> None:
    assert is_aws_name(host) is expected


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("Example.COM.:443", ("example.com", 443)),
        ("[::1]:8443", ("::1", 8443)),
        ("example.com", None),
        ("example.com:", None),
        ("example.com:0", None),
        ("example.com:65536", None),
        ("example.com:+443", None),
        ("::1:443", None),
        ("[::1:443", None),
        (":443", None),
        ("", None),
    ],
)
def test_a_target_is_host_and_port(authority: str, expected: tuple[str, int] | None) -> None:
    assert split_authority(authority) == expected


def serve(
    tmp_path: Path, use: Use, *, offline: bool = False, destinations: Destinations | None = None
) -> None:
    async def main() -> None:
        ca = LocalCa(tmp_path / "tls")
        ca.open()
        proxy = Proxy(ca, PASSWORD, destinations or Destinations(), offline=offline)

        async def handler(request: Request) -> Response:
            if request.method == "CONNECT":
                return await proxy.answer(request)
            body = await request.body.read(10_000_000)
            said = f"{request.scheme} {request.header['host']} {request.path} {request.peer_host} {len(body)}"
            return Response(200, (), said.encode())

        server = Server(handler)
        await server.listen("127.0.0.1", 0)
        try:
            await asyncio.wait_for(use(server, ca), 30)
            assert server.open_count <= 1
        finally:
            await server.close(0)

    uvloop.run(main())


async def connect(
    server: Server, authority: str, headers: bytes = b"", version: bytes = b"1.1"
) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    """The status of a CONNECT; its head is read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"CONNECT %b HTTP/%b\r\n" % (authority.encode(), version))
    writer.write(b"Host: %b\r\n%b\r\n" % (authority.encode(), headers))
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split()[1])
    if status == 200:
        assert b"content-length" not in head.lower()
        assert b"transfer-encoding" not in head.lower()
    return status, reader, writer


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("name", ["sts.us-east-1.amazonaws.com", "a.b.s3.amazonaws.com"])
def test_tls_for_awss_names_ends_here_and_the_same_listener_answers(
    tmp_path: Path, name: str, version: bytes
) -> None:
    async def use(server: Server, ca: LocalCa) -> None:
        status, reader, writer = await connect(server, f"{name}:443", version=version)
        assert status == 200
        trusted = ssl.create_default_context(cafile=ca.certificate_path)
        await writer.start_tls(trusted, server_hostname=name)
        for _ in range(2):
            body = bytes(1_000_000)
            writer.write(
                b"PUT /x HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n" % (name.encode(), len(body))
            )
            writer.write(body)
            expected = f"https {name} /x 127.0.0.1 1000000"
            assert (await reader.readuntil(expected.encode())).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await asyncio.sleep(0.05)

    serve(tmp_path, use)


def test_no_second_proxy_inside(tmp_path: Path) -> None:
    async def use(server: Server, ca: LocalCa) -> None:
        _, reader, writer = await connect(server, "sts.amazonaws.com:443")
        trusted = ssl.create_default_context(cafile=ca.certificate_path)
        await writer.start_tls(trusted, server_hostname="sts.amazonaws.com")
        writer.write(b"CONNECT s3.amazonaws.com:443 HTTP/1.1\r\nHost: s3.amazonaws.com:443\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 405 ")
        writer.close()

    serve(tmp_path, use)


def test_clients_that_do_not_trust_the_authority_get_nowhere(tmp_path: Path) -> None:
    async def use(server: Server, ca: LocalCa) -> None:
        _, _, writer = await connect(server, "sts.amazonaws.com:443")
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(ssl.create_default_context(), server_hostname="sts.amazonaws.com")
        writer.close()
        await asyncio.sleep(0.05)

    serve(tmp_path, use)


CLOSED = ["127.0.0.1:%d", "localhost:%d", "[::1]:%d", "0.0.0.0:%d", "169.254.169.254:80", "10.0.0.1:443", "[::ffff:127.0.0.1]:%d",
          "2130706433:%d", "192.168.1.1:443"]  # fmt: skip


@pytest.mark.parametrize("place", CLOSED)
def test_case_40_no_tunnel_to_the_server_itself_or_its_surroundings(tmp_path: Path, place: str) -> None:
    async def use(server: Server, ca: LocalCa) -> None:
        authority = place % server.port if "%d" in place else place
        status, reader, writer = await connect(server, authority, AUTHORISED)
        assert status in (403, 502)
        assert b"root:" not in await reader.read()
        writer.close()

    serve(tmp_path, use)


def test_case_40_a_name_that_points_home_is_refused_by_where_it_leads(tmp_path: Path) -> None:
    async def home(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async def use(server: Server, ca: LocalCa) -> None:
        status, reader, writer = await connect(server, "rebound.example:443", AUTHORISED)
        assert status == 403
        assert b"rebound.example (127.0.0.1) is this machine itself" in await reader.read()
        writer.close()

    serve(tmp_path, use, destinations=Destinations(resolve=home))
    # Even where private places are open: the connection itself shows that it ended at this machine.
    with pytest.raises(tunnel.ReachesOurselvesError):
        serve(tmp_path, _connects_home)


async def _connects_home(server: Server, ca: LocalCa) -> None:
    destination = await Destinations(private=True).of_host("127.0.0.1", server.port)
    await tunnel.connect(destination)


@pytest.mark.parametrize(
    "header", [b"", b"Proxy-Authorization: Basic eDp5\r\n", b"Proxy-Authorization: Basic ***\r\n"]
)
def test_tunnels_need_the_password(tmp_path: Path, header: bytes) -> None:
    async def use(server: Server, ca: LocalCa) -> None:
        status, reader, writer = await connect(server, "example.com:443", header)
        assert status == 407
        assert b"stagedoor env --proxy" in await reader.read()
        writer.close()

    serve(tmp_path, use)


def test_offline_lets_nothing_out_and_says_why(tmp_path: Path) -> None:
    async def use(server: Server, ca: LocalCa) -> None:
        status, reader, writer = await connect(server, "packages.example:443", AUTHORISED)
        assert status == 403
        assert b"--offline" in await reader.read()
        status, _, other = await connect(server, "sts.amazonaws.com:443")
        assert status == 200
        writer.close()
        other.close()
        await asyncio.sleep(0.05)

    serve(tmp_path, use, offline=True)


def test_other_machines_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        proxy = Proxy(LocalCa(tmp_path / "tls"), PASSWORD, Destinations(), offline=False)
        for peer, expected in (("192.168.1.7", 403), ("", 403), ("::ffff:127.0.0.1", 200), ("::1", 200)):
            request = Request("CONNECT", "sts.amazonaws.com:443", "", [], {}, BytesBody(), peer)
            assert (await proxy.answer(request)).status == expected

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
class TestTunnels:
    """To a server on another loopback address, which the setting for private places opens."""

    async def far(self, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> int:
        self.server = await asyncio.start_server(talk, FAR, 0)
        return int(self.server.sockets[0].getsockname()[1])

    def test_bytes_go_both_ways_unread_until_both_sides_have_ended(self, tmp_path: Path) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"the end")
            writer.close()

        async def use(server: Server, ca: LocalCa) -> None:
            port = await self.far(echo)
            status, reader, writer = await connect(server, f"{FAR}:{port}", AUTHORISED)
            assert status == 200
            sent = bytes(range(256)) * 40_000

            async def send() -> None:
                writer.write(sent)
                await writer.drain()
                writer.write_eof()

            _, received = await asyncio.gather(send(), reader.read(-1))
            assert received == sent + b"the end"
            writer.close()
            await asyncio.sleep(0.1)
            assert server.open_count == 0
            self.server.close()

        serve(tmp_path, use, destinations=Destinations(private=True))

    def test_a_slow_reader_stops_the_sender(self, tmp_path: Path) -> None:
        written = 0

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            while written < 500_000_000:
                writer.write(bytes(1_000_000))
                await writer.drain()
                written += 1_000_000

        async def use(server: Server, ca: LocalCa) -> None:
            port = await self.far(flood)
            _, _, writer = await connect(server, f"{FAR}:{port}", AUTHORISED)
            await asyncio.sleep(0.5)
            assert written < 100_000_000
            writer.transport.abort()
            await asyncio.sleep(0.1)
            self.server.close()

        serve(tmp_path, use, destinations=Destinations(private=True))

    def test_an_unused_tunnel_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async def use(server: Server, ca: LocalCa) -> None:
            port = await self.far(silent)
            _, reader, writer = await connect(server, f"{FAR}:{port}", AUTHORISED)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            self.server.close()

        monkeypatch.setattr(tunnel.connect, "__defaults__", (0.2,))
        serve(tmp_path, use, destinations=Destinations(private=True))

    def test_nobody_there_is_502(self, tmp_path: Path) -> None:
        async def use(server: Server, ca: LocalCa) -> None:
            status, _, writer = await connect(server, f"{FAR}:1", AUTHORISED)
            assert status == 502
            writer.close()

        serve(tmp_path, use, destinations=Destinations(private=True))
