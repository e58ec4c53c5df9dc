"""The end of connections over TLS: nobody waits for a client's goodbye, and no byte of an answer is lost."""

import asyncio
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from stagedoor.http.local_ca import LocalCa
from stagedoor.http.message import Request, Response
from stagedoor.http.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what has arrived")

LARGE = bytes(range(256)) * 16 * 1024
GRACE_S = 15.0


async def answer(request: Request) -> Response:
    await request.body.read(2**20)
    return Response(200, (), LARGE if request.path == "/large" else b"small")


def connect(port: int, ca: Path, receive_bytes: int = 0) -> ssl.SSLSocket:
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.settimeout(20)
    plain.connect(("127.0.0.1", port))
    return ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname="localhost")


def serve(folder: Path, use: Callable[[int, Path], None]) -> float:
    """Run ``use`` in a thread, then stop the server; how long that took."""
    ca = LocalCa(folder)
    ca.open()

    async def main() -> float:
        server = Server(answer, tls=ca.listener_context("127.0.0.1"))
        await server.listen("127.0.0.1", 0)
        await asyncio.to_thread(use, server.port, ca.certificate_path)
        began = time.monotonic()
        await server.close(GRACE_S)
        return time.monotonic() - began

    return uvloop.run(main())


def test_a_client_that_idles_does_not_keep_a_server_that_stops(tmp_path: Path) -> None:
    clients: list[ssl.SSLSocket] = []

    def use(port: int, ca: Path) -> None:
        for _ in range(3):
            client = connect(port, ca)
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"small" in client.recv(4096)
            clients.append(client)

    assert serve(tmp_path, use) < GRACE_S / 2
    for client in clients:
        assert client.recv(4096) == b"", "a goodbye, and not a broken connection"
        client.close()


def test_a_slow_client_gets_all_of_an_answer_that_ends_its_connection(tmp_path: Path) -> None:
    found: list[bytes] = []

    def read(client: ssl.SSLSocket) -> None:
        time.sleep(0.5)
        data = b""
        while piece := client.recv(65_536):
            data += piece
            time.sleep(0.005)
        found.append(data)
        client.close()

    threads: list[threading.Thread] = []

    def use(port: int, ca: Path) -> None:
        client = connect(port, ca, receive_bytes=8192)
        client.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        threads.append(threading.Thread(target=read, args=(client,)))
        threads[0].start()
        time.sleep(0.2)

    serve(tmp_path, use)
    threads[0].join(20)
    assert found[0].endswith(LARGE)
