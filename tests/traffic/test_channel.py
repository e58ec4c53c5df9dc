"""The channel against a scripted worker on a real socket, frame by frame."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from stagedoor.traffic.channel import (
    CallFaultError,
    CallTimeoutError,
    Channel,
    ChannelLostError,
    ChannelOpenTimeoutError,
    WorkerFailedError,
)
from stagedoor.worker import frames


class Peer:
    """The worker's end of a connection, in the test's hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = frames.Decoder()
        self._arrived: list[frames.Frame] = []
        self.pieces = 0

    def send(self, kind: int, request_id: int, meta: dict[str, object], body: bytes = b"") -> None:
        self._writer.write(frames.encode(kind, request_id, meta, body))

    def send_raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def receive(self) -> frames.Frame:
        while not self._arrived:
            data = await self._reader.read(1 << 20)
            assert data, "the channel hung up"
            self.pieces += 1
            self._arrived.extend(self._decoder.feed(data))
        return self._arrived.pop(0)

    async def hung_up(self) -> None:
        while await self._reader.read(65536):
            pass

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def listening(
    path: Path, on_connect: Callable[[Peer], None] | None = None
) -> AsyncIterator[asyncio.Queue[Peer]]:
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        peer = Peer(reader, writer)
        if on_connect:
            on_connect(peer)
        await peers.put(peer)

    server = await asyncio.start_unix_server(connected, path)
    try:
        yield peers
    finally:
        server.close()
        for writer in writers:
            writer.close()


def greet(peer: Peer) -> None:
    peer.send(frames.HELLO, 0, {"ready": True, "pid": 1})


def tell(tmp_path: Path, story: Callable[[Channel, Peer], Awaitable[None]]) -> None:
    """A story with an open channel and its peer."""

    async def whole() -> None:
        async with listening(tmp_path / "s", greet) as peers, asyncio.timeout(20):
            channel = await Channel.open(f"unix:{tmp_path / 's'}", 5)
            try:
                await story(channel, await peers.get())
            finally:
                channel.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


def test_answers_find_their_calls_in_any_order(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        first = channel.call({"content_type": "text/csv"}, b"one", 5)
        second = channel.call({}, b"two", 5)
        assert channel.in_flight == 2
        asked = await peer.receive(), await peer.receive()
        assert [(frame.kind, frame.meta, frame.body) for frame in asked] == [
            (frames.CALL, {"content_type": "text/csv"}, b"one"),
            (frames.CALL, {}, b"two"),
        ]
        peer.send(frames.RESULT, asked[1].id, {"n": 2}, b"2")
        assert await second == ({"n": 2}, b"2")
        assert not first.done()
        peer.send(frames.RESULT, asked[0].id, {}, b"")
        assert await first == ({}, b"")
        assert channel.in_flight == 0

    tell(tmp_path, story)


def test_calls_of_one_turn_go_out_together(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        calls = [channel.call({}, b"x" * 100, 5) for _ in range(50)]
        asked = [await peer.receive() for _ in range(50)]
        assert peer.pieces == 1
        for frame in asked:
            peer.send(frames.RESULT, frame.id, {}, frame.body)
        assert await asyncio.gather(*calls) == [({}, b"x" * 100)] * 50

    tell(tmp_path, story)


def test_a_large_body_goes_both_ways(tmp_path: Path) -> None:
    body = bytes(range(256)) * 40_000

    async def story(channel: Channel, peer: Peer) -> None:
        call = channel.call({}, body, 20)
        frame = await peer.receive()
        assert frame.body == body
        peer.send(frames.RESULT, frame.id, {}, frame.body)
        assert (await call)[1] == body

    tell(tmp_path, story)


def test_a_fault_raises_with_status_and_reason(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        call = channel.call({}, b"", 5)
        peer.send(
            frames.FAULT, (await peer.receive()).id, {"status": 415, "reason": "no", "traceback": "t"}, b"b"
        )
        with pytest.raises(CallFaultError, match="no") as raised:
            await call
        assert (raised.value.status, raised.value.traceback, raised.value.body) == (415, "t", b"b")

    tell(tmp_path, story)


def test_a_call_that_is_not_answered_times_out_and_stays_in_flight(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        patient = channel.call({}, b"", 5)
        with pytest.raises(CallTimeoutError):
            await channel.call({}, b"", 0.01)
        with pytest.raises(CallTimeoutError):
            await channel.call({}, b"", 0.02)
        assert channel.in_flight == 3
        asked = [await peer.receive() for _ in range(3)]
        for frame in reversed(asked):  # the patient one's last
            peer.send(frames.RESULT, frame.id, {})
        assert await patient == ({}, b"")
        assert channel.in_flight == 0

    tell(tmp_path, story)


def test_a_caller_who_gives_up_disturbs_nobody(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        given_up = asyncio.ensure_future(channel.call({}, b"a", 5))
        other = channel.call({}, b"b", 5)
        asked = await peer.receive(), await peer.receive()
        given_up.cancel()
        assert channel.in_flight == 2
        for frame in asked:
            peer.send(frames.RESULT, frame.id, {}, frame.body)
        assert (await other)[1] == b"b"
        assert channel.in_flight == 0

    tell(tmp_path, story)


def test_a_lost_connection_fails_all_calls_and_is_told(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        told: list[int] = []
        channel.on_closed(lambda: told.append(1))
        calls = [channel.call({}, b"", 5), channel.call({}, b"", 5)]
        await peer.receive()
        peer.close()
        for call in calls:
            with pytest.raises(ChannelLostError):
                await call
        await channel.wait_closed()
        assert channel.is_closed
        assert channel.in_flight == 0
        with pytest.raises(ChannelLostError):
            await channel.call({}, b"", 5)
        await asyncio.sleep(0)
        assert told == [1]

    tell(tmp_path, story)


def test_closing_fails_calls_in_flight_and_hangs_up(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        call = channel.call({}, b"", 5)
        await peer.receive()
        channel.close()
        with pytest.raises(ChannelLostError):
            await call
        await peer.hung_up()

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frames.encode(frames.RESULT, 77, {}),
        frames.encode(frames.HELLO, 0, {}),
        frames.HEAD.pack(11, 1, frames.RESULT | 2 << 8) + b"{]",
        frames.HEAD.pack(11, 1, frames.RESULT | 2 << 8) + b"[]",
        frames.HEAD.pack(9, 1, frames.RESULT | 900 << 8),
        frames.HEAD.pack(0xFFFFFFFF, 1, frames.RESULT),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_hung_up_on(tmp_path: Path, nonsense: bytes) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        call = channel.call({}, b"", 5)
        await peer.receive()
        peer.send_raw(nonsense)
        with pytest.raises(ChannelLostError):
            await call
        await channel.wait_closed()

    tell(tmp_path, story)


def test_ping_gives_the_workers_counters(tmp_path: Path) -> None:
    async def story(channel: Channel, peer: Peer) -> None:
        ping = asyncio.ensure_future(channel.ping(5))
        frame = await peer.receive()
        assert frame.kind == frames.PING
        peer.send(frames.RESULT, frame.id, {"calls": 3})
        assert await ping == {"calls": 3}

    tell(tmp_path, story)


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 1000)

    async def story(channel: Channel, peer: Peer) -> None:
        with pytest.raises(frames.FrameError, match="beyond the limit"):
            channel.call({}, b"x" * 1001, 5)
        assert channel.in_flight == 0
        call = channel.call({}, b"x", 5)
        peer.send(frames.RESULT, (await peer.receive()).id, {})
        await call

    tell(tmp_path, story)


def run(story: Awaitable[None]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20):
            await story

    asyncio.run(whole())


def test_opening_waits_for_the_worker_to_listen_and_to_greet(tmp_path: Path) -> None:
    async def story() -> None:
        opening = asyncio.ensure_future(Channel.open(f"unix:{tmp_path / 's'}", 10))
        await asyncio.sleep(0.03)
        async with listening(tmp_path / "s") as peers:
            peer = await peers.get()
            done, _ = await asyncio.wait([opening], timeout=0.02)
            assert not done
            greet(peer)
            channel = await opening
            assert channel.hello["pid"] == 1
            channel.close()

    run(story())


def test_opening_takes_tcp_addresses(tmp_path: Path) -> None:
    async def story() -> None:
        async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(frames.encode(frames.HELLO, 0, {"ready": True}))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        (await Channel.open(f"tcp:127.0.0.1:{port}", 5)).close()
        server.close()
        with pytest.raises(ValueError, match="not the address"):
            await Channel.open(f"http:{tmp_path}", 1)

    run(story())


def test_opening_ends_with_the_workers_reason(tmp_path: Path) -> None:
    meta: dict[str, object] = {"reason": "no such file", "traceback": "line 1", "error": {"errorType": "E"}}

    async def story() -> None:
        async with listening(tmp_path / "s", lambda peer: peer.send(frames.FAULT, 0, meta)):
            with pytest.raises(WorkerFailedError, match="no such file") as raised:
                await Channel.open(f"unix:{tmp_path / 's'}", 5)
            assert raised.value.traceback == "line 1"
            assert json.loads(json.dumps(raised.value.meta)) == meta
        async with listening(tmp_path / "t", lambda peer: peer.close()):
            with pytest.raises(WorkerFailedError, match="ended before it was ready"):
                await Channel.open(f"unix:{tmp_path / 't'}", 5)

    run(story())


def test_opening_ends_when_its_time_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(ChannelOpenTimeoutError, match=r"0\.02 seconds"):
            await Channel.open(f"unix:{tmp_path / 'nobody'}", 0.02)
        async with listening(tmp_path / "s") as peers:
            with pytest.raises(ChannelOpenTimeoutError):
                await Channel.open(f"unix:{tmp_path / 's'}", 0.02)
            await (await peers.get()).hung_up()

    run(story())
