"""What the front costs per invocation, in µs of CPU: ``python -m bench.front``.

One signed InvokeEndpoint of 10 KB goes from the bytes a socket gave to the bytes it takes: HTTP, signature, policy, route, answer,
access log. The worker answers at once and the sockets are lists, so nothing but the front is counted: no system calls, no model.
Batches are timed by CPU time; the least and the middle one are printed.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import uvloop
from botocore.credentials import Credentials

from bench import authorise, machine
from stagedoor.domain.clock import SystemClock
from stagedoor.front.access_log import AccessLog
from stagedoor.front.held_answers import HeldAnswers
from stagedoor.front.listener import SignedListener
from stagedoor.http.connection import Connection, Limits
from stagedoor.http.message import Response
from stagedoor.services.call import House
from stagedoor.traffic.channel import Channel
from stagedoor.traffic.endpoint_routes import EndpointKey, EndpointRoutes, VariantRoute
from stagedoor.worker import frames

_ANSWER_META = b'{"content_type":"text/csv; charset=utf-8"}'
_ANSWER = b"0.9"


class _Worker(asyncio.Transport):
    """The far end of a channel: it answers every call in the loop's next turn."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.channel = Channel()
        self.channel.connection_made(self)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        head, *_ = list_of_data
        _, request_id, _ = frames.HEAD.unpack_from(head)
        answer = frames.head(frames.RESULT, request_id, _ANSWER_META, len(_ANSWER)) + _ANSWER
        self._loop.call_soon(self.channel.data_received, answer)

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Socket(asyncio.Transport):
    """Takes answers and counts them."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000)})
        self.answers = 0
        self.last = b""

    def write(self, data: Any) -> None:
        self.answers += 1
        self.last = data

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Acceptor:
    limits = Limits()

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def opened(self, connection: Connection) -> bool:
        return True

    def gone(self, connection: Connection) -> None: ...


def arranged(folder: Path) -> tuple[SignedListener, House]:
    """The listener of a house with the endpoint ``reviews``, whose worker answers at once."""

    async def nothing(request: object) -> Response:
        raise NotImplementedError

    house = authorise.house(folder)
    routes = EndpointRoutes()
    routes.publish(
        EndpointKey(authorise.ACCOUNT, "us-east-1", "reviews"),
        [VariantRoute("AllTraffic", 1.0, (_Worker().channel,))],
    )
    routes.loaded()
    object.__setattr__(house, "endpoint_routes", routes)
    listener = SignedListener(
        house,
        lambda: b"{}",
        lambda request: False,
        nothing,
        nothing,
        AccessLog(folder / "access.jsonl", SystemClock()),
        cast(Any, None),
        HeldAnswers(house.records, 0),
    )
    return listener, house


def connected(listener: SignedListener) -> tuple[Connection, Socket]:
    """A client's connection to it."""
    socket = Socket()
    connection = Connection(_Acceptor(listener.handle), "http")
    connection.connection_made(socket)
    return connection, socket


def bytes_of(keys: Credentials) -> bytes:
    """A signed request as a socket gives it."""
    request = authorise.signed(keys)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    return f"POST {request.path} HTTP/1.1\r\n{head}\r\n".encode() + authorise.BODY


async def exchange(connection: Connection, socket: Socket, data: bytes) -> None:
    """One request, until its answer is written."""
    before = socket.answers
    connection.data_received(data)
    while socket.answers == before:  # noqa: ASYNC110  # one turn of the loop each: that is what is measured
        await asyncio.sleep(0)


async def _batch(connection: Connection, socket: Socket, data: bytes, size: int) -> float:
    started_s = time.process_time()
    wanted = socket.answers + size
    for _ in range(size):
        await exchange(connection, socket, data)
    assert socket.answers == wanted
    return (time.process_time() - started_s) / size * 1e6


async def _run(folder: Path, batches: int, size: int) -> None:
    listener, house = arranged(folder)
    print(f"{'µs of CPU per request':<40}{'least':>8}{'median':>8}")
    for title, keys in authorise.callers(house).items():
        data = bytes_of(keys)
        connection, socket = connected(listener)
        found = sorted([await _batch(connection, socket, data, size) for _ in range(batches)])
        assert socket.last.startswith(b"HTTP/1.1 200 "), socket.last
        print(f"{title:<40}{found[0]:>8.1f}{found[len(found) // 2]:>8.1f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.front", description=__doc__)
    parser.add_argument("--batches", type=int, default=31, help="(31)")
    parser.add_argument("--size", type=int, default=1_000, help="requests per batch (1000)")
    given = parser.parse_args()
    print(machine.describe(("httptools", "uvloop")))
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        uvloop.run(_run(Path(folder), given.batches, given.size))
    return 0


if __name__ == "__main__":
    sys.exit(main())
