"""Requests signed beforehand, sent over plain sockets, so that clients cost next to nothing beside the server they measure.

Place in the flow: under ``bench.writes``, ``bench.s3`` and ``bench.growth``. The server is one of its own (``stagedoor.testing.Server``);
its CPU time is read from the kernel, since wall time on a shared machine says little.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stagedoor.testing import Server

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@contextmanager
def running(*flags: str, folder: Path | None = None) -> Generator[Server]:
    """A server of its own with an empty data directory (below ``folder``); ended and removed at the end."""
    with TemporaryDirectory(prefix="stagedoor-bench-", dir=folder) as data:
        server = Server(Path(data) / "data", None, *flags).start()
        try:
            yield server
        finally:
            server.stop()


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, its ended children left out."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def signed(
    server: Server,
    service: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
) -> bytes:
    """One request as it goes over the wire, signed with the root key."""
    keys = Credentials(server.access_key_id, server.secret_access_key)
    request = AWSRequest(method, server.api + path, headers=headers or {}, data=body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(keys, service, server.region).add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    host = server.api.partition("://")[2]
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
        + body
    )


class Connection:
    """One keep-alive connection."""

    def __init__(self, server: Server) -> None:
        host, _, port = server.api.partition("://")[2].rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; status and body of the answer."""
        self._socket.sendall(request)
        data = self._left
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        pieces, size = [body], len(body)
        while size < length:
            pieces.append(self._receive())
            size += len(pieces[-1])
        body = b"".join(pieces)
        self._left = body[length:]
        return int(head[9:12]), body[:length]

    def _receive(self) -> bytes:
        piece = self._socket.recv(1 << 20)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of requests took. ``cpu_us`` is the server's CPU time for each request."""

    requests: int
    wall_s: float
    cpu_us: float
    latencies_s: Sequence[float]

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.wall_s

    def as_json(self) -> dict[str, float]:
        """The figures, rounded."""
        ordered = sorted(self.latencies_s)
        return {
            "requests": self.requests,
            "per_second": round(self.per_second, 1),
            "cpu_us": round(self.cpu_us, 1),
            "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 3),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 3),
        }


def send(server: Server, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests over so many connections at once. RuntimeError at an answer that is no success."""
    pid = server.pid
    shares = [requests[number::connections] for number in range(connections)]
    latencies: list[list[float]] = [[] for _ in shares]
    failures: list[str] = []

    def work(number: int) -> None:
        connection = Connection(server)
        try:
            for request in shares[number]:
                begun_s = time.perf_counter()
                status, body = connection.ask(request)
                latencies[number].append(time.perf_counter() - begun_s)
                if status >= 300:
                    failures.append(f"{status} {body[:300]!r}")
                    return
        except OSError as error:
            failures.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    cpu_before_s, begun_s = cpu_s(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s, used_s = time.perf_counter() - begun_s, cpu_s(pid) - cpu_before_s
    if failures:
        raise RuntimeError(f"a request failed: {failures[0]}")
    return Load(
        len(requests), wall_s, used_s / len(requests) * 1e6, [each for group in latencies for each in group]
    )
