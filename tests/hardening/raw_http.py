"""Bytes on a socket, and all that comes back: for requests that no client library would send."""

import contextlib
import socket
from urllib.parse import urlsplit

TIMEOUT_S = 20.0


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=TIMEOUT_S)


def read_all(connection: socket.socket) -> bytes:
    """Until the server ends the connection; TimeoutError when it does not."""
    pieces: list[bytes] = []
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer with Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"ended in the head: {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    wanted = int(headers.get("content-length", "0"))
    while len(body) < wanted:
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


def exchange(url: str, raw: bytes) -> bytes:
    """Send, and read all until the server ends the connection."""
    with connect(url) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(raw)
        return read_all(connection)


def alive(url: str) -> bool:
    """Whether the next request of somebody else is answered."""
    answer = exchange(url, b"GET /_stagedoor/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    return answer.startswith(b"HTTP/1.1 200 ")
