"""The model server in a real worker process, over a real channel."""

import asyncio
import io
import socket
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engine import houses
from engine.houses import Told

from stagedoor.engine.interface import Workload
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime
from stagedoor.traffic.channel import (
    CallFaultError,
    CallTimeoutError,
    Channel,
    ChannelLostError,
    WorkerFailedError,
)
from stagedoor.worker import frames, model_server
from stagedoor.worker.model import Fault, Request, Result

Story = Callable[[LocalEngine, Told], Awaitable[None]]


def run(tmp_path: Path, story: Story) -> None:
    engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime(path=(houses.PROBES,))})
    houses.run(engine, lambda _, told: story(engine, told))


def with_channel(tmp_path: Path, story: Callable[[Channel], Awaitable[None]], **spec: object) -> None:
    async def whole(engine: LocalEngine, _told: Told) -> None:
        plain = houses.model("m")
        placement = await engine.start(Workload("m", "model", "plain", {**plain.spec, **spec}))
        channel = await Channel.open(placement.address, 20)
        await story(channel)
        channel.close()

    run(tmp_path, whole)


def scratch_of_m(tmp_path: Path) -> Path:
    return next((tmp_path / "scratch").glob("*-m"))


async def until_exists(path: Path) -> None:
    def wait() -> None:
        deadline = time.monotonic() + houses.PATIENCE_S
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    await asyncio.to_thread(wait)


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as target:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            target.addfile(info, io.BytesIO(b"abc"))
    return path


def test_the_archive_is_extracted_in_the_worker_and_the_hello_tells_what_was_loaded(tmp_path: Path) -> None:
    model = archive(tmp_path / "object", "xgboost-model", "code/inference.py")

    async def story(engine: LocalEngine, told: Told) -> None:
        spec = {**houses.model("m").spec, "model_archive": "model.tar.gz"}
        placement = await engine.start(Workload("m", "model", "plain", spec, files={"model.tar.gz": model}))
        channel = await Channel.open(placement.address, 20)
        assert channel.hello["details"] == {"files": ["code", "xgboost-model"]}
        assert channel.hello["rungs"]
        assert channel.hello["load_s"] >= 0
        assert "no-core-dumps" in channel.hello["rungs"]
        await told.until(lambda: "loaded code xgboost-model" in told.text("m"))

    run(tmp_path, story)


def test_a_dangerous_archive_fails_the_load_with_its_reason(tmp_path: Path) -> None:
    model = archive(tmp_path / "object", "../../escaped")

    async def story(engine: LocalEngine, told: Told) -> None:
        spec = {**houses.model("m").spec, "model_archive": "model.tar.gz"}
        placement = await engine.start(Workload("m", "model", "plain", spec, files={"model.tar.gz": model}))
        with pytest.raises(WorkerFailedError, match=r"ArchiveError: the archive holds '../../escaped'"):
            await Channel.open(placement.address, 20)
        assert await told.exit_of("m") == 1
        assert not houses.count_named(tmp_path, "escaped")

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [
        ("no_such_algorithm", "No module named 'stagedoor.worker.algorithms.no_such_algorithm'"),
        ("probes.missing", "No module named 'probes.missing'"),
        ("../evil", "not the name of an algorithm"),
        ("probes.jobs", "has no attribute 'load'"),
    ],
)
def test_an_algorithm_that_is_not_there_is_named(tmp_path: Path, algorithm: str, reason: str) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(Workload("m", "model", "plain", {"algorithm": algorithm}))
        with pytest.raises(WorkerFailedError, match=reason) as raised:
            await Channel.open(placement.address, 20)
        assert "Traceback" in raised.value.traceback
        assert await told.exit_of("m") == 1
        assert "Traceback" in told.text("m")

    run(tmp_path, story)


async def calls_that_gather(tmp_path: Path, channel: Channel, count: int) -> list[bytes]:
    """What ``count`` calls get that arrive while the worker is busy with another."""
    gate = scratch_of_m(tmp_path) / "gate"
    first = channel.call({}, f"gate {gate}".encode(), 20)
    await until_exists(gate.with_suffix(".reached"))
    rest = [channel.call({}, b"batch", 20) for _ in range(count)]
    gate.touch()
    await first
    return [body for _, body in await asyncio.gather(*rest)]


def test_calls_that_arrive_while_a_batch_is_computed_are_the_next_batch(tmp_path: Path) -> None:
    async def story(channel: Channel) -> None:
        assert await calls_that_gather(tmp_path, channel, 20) == [b"20"] * 20
        assert await channel.ping(20) == {"calls": 21, "batches": 2}

    with_channel(tmp_path, story)


def test_a_batch_is_bounded_by_count_and_by_bytes(tmp_path: Path) -> None:
    async def by_count(channel: Channel) -> None:
        assert await calls_that_gather(tmp_path, channel, 10) == [b"4"] * 8 + [b"2"] * 2

    async def by_bytes(channel: Channel) -> None:
        bodies = [bytes([65 + number]) * 600_000 for number in range(8)]
        answers = await asyncio.gather(*(channel.call({}, body, 20) for body in bodies))
        assert [body for _, body in answers] == bodies
        counters = await channel.ping(20)
        assert counters["batches"] >= 8  # two of them are more than a batch may have

    with_channel(tmp_path, by_count, max_batch_count=4)
    with_channel(tmp_path / "2", by_bytes, max_batch_bytes=1_000_000)


def test_a_batch_waits_for_further_calls_when_its_model_asks_for_it(tmp_path: Path) -> None:
    async def until_full(channel: Channel) -> None:
        first = channel.call({}, b"batch", 20)
        await channel.ping(
            20
        )  # answered while it waits: it has the call then, and counts it before the next ping
        assert await channel.ping(20) == {"calls": 1, "batches": 0}
        second = channel.call({}, b"batch", 20)
        await channel.ping(20)
        assert await channel.ping(20) == {"calls": 2, "batches": 0}
        third = channel.call({}, b"batch", 20)
        assert [body for _, body in await asyncio.gather(first, second, third)] == [b"3"] * 3
        # Four that come together: three are full, and the one that is left waits for two others.
        four = [channel.call({}, b"batch", 20) for _ in range(4)]
        assert [body for _, body in await asyncio.gather(*four[:3])] == [b"3"] * 3
        assert (await channel.ping(20))["batches"] == 2
        two = [channel.call({}, b"batch", 20) for _ in range(2)]
        assert [body for _, body in await asyncio.gather(four[3], *two)] == [b"3"] * 3

    async def until_late(channel: Channel) -> None:
        began = time.monotonic()
        assert (await channel.call({}, b"batch", 20))[1] == b"1"
        assert time.monotonic() - began >= 0.05

    async def until_large(channel: Channel) -> None:
        assert (await channel.call({}, bytes(2_000), 20))[1] == bytes(2_000)

    with_channel(tmp_path, until_full, max_batch_count=3, max_batch_delay_s=3600)
    with_channel(tmp_path / "2", until_late, max_batch_count=3, max_batch_delay_s=0.05)
    with_channel(tmp_path / "3", until_large, max_batch_bytes=1_000, max_batch_delay_s=3600)


def test_answers_come_to_the_connection_that_asked(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, _told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        channels = await asyncio.gather(*(Channel.open(placement.address, 20) for _ in range(5)))
        calls = [
            (number, channel.call({}, f"{number}-{call}".encode(), 20))
            for number, channel in enumerate(channels)
            for call in range(20)
        ]
        for number, call in calls:
            assert (await call)[1].startswith(f"{number}-".encode())

    run(tmp_path, story)


def test_meta_goes_through(tmp_path: Path) -> None:
    async def story(channel: Channel) -> None:
        meta, _ = await channel.call(
            {"content_type": "application/json", "custom_attributes": "trace=1"}, b"{}", 20
        )
        assert meta == {"content_type": "application/json", "custom_attributes": "trace=1"}

    with_channel(tmp_path, story)


def test_a_model_settles_once_after_its_first_answer_and_serves_on_when_that_fails(tmp_path: Path) -> None:
    async def story(channel: Channel) -> None:
        assert [(await channel.call({}, b"", 20))[1] for _ in range(3)] == [b"0", b"1", b"1"]

    with_channel(tmp_path, story, options={"act": "settle"}, settle_after_s=3600)


def test_a_model_that_nobody_asks_settles_before_its_first_answer(tmp_path: Path) -> None:
    async def story(channel: Channel) -> None:
        await until_exists(scratch_of_m(tmp_path) / "settled")
        assert [(await channel.call({}, b"", 20))[1] for _ in range(2)] == [b"1", b"1"]

    with_channel(tmp_path, story, options={"act": "settle"}, settle_after_s=0.05)


def test_one_bad_request_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    async def story(channel: Channel) -> None:
        answers = await asyncio.gather(
            *(channel.call({}, body, 20) for body in (b"a", b"raise", b"b", b"refuse", b"c")),
            return_exceptions=True,
        )
        assert [answers[index][1] for index in (0, 2, 4)] == [b"a", b"b", b"c"]  # type: ignore[index]
        raised, refused = answers[1], answers[3]
        assert isinstance(raised, CallFaultError)
        assert isinstance(refused, CallFaultError)
        assert (raised.status, raised.reason) == (500, "ValueError: this body cannot be")
        assert "in _answer" in raised.traceback
        assert (refused.status, refused.reason, refused.traceback) == (415, "no such content type", "")
        assert (await channel.call({}, b"next", 20))[1] == b"next"

    with_channel(tmp_path, story)


def test_a_model_that_answers_too_few_fails_those_requests() -> None:
    class Forgetful:
        def predict(self, requests: list[Request]) -> list[Result | Fault]:
            return []

    answers = model_server.predict(Forgetful(), [Request({}, b""), Request({}, b"")])
    assert [answer.status for answer in answers if isinstance(answer, Fault)] == [500, 500]


def test_a_hanging_model_times_out_and_a_ping_behind_it_too(tmp_path: Path) -> None:
    async def story(channel: Channel) -> None:
        with pytest.raises(CallTimeoutError):
            await channel.call({}, b"gate gate", 0.1)
        await until_exists(scratch_of_m(tmp_path) / "gate.reached")
        with pytest.raises(CallTimeoutError):
            await channel.ping(0.1)
        assert channel.in_flight == 2

    with_channel(tmp_path, story)


def test_a_model_that_ends_the_process_loses_the_calls(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        channel = await Channel.open(placement.address, 20)
        with pytest.raises(ChannelLostError):
            await channel.call({}, b"exit", 20)
        assert await told.exit_of("m") == 3

    run(tmp_path, story)


def test_large_answers_to_a_slow_reader_are_neither_lost_nor_in_the_way_of_others(tmp_path: Path) -> None:
    body = bytes(5_000_000)

    async def story(engine: LocalEngine, _told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        with socket.socket(socket.AF_UNIX) as slow:
            slow.connect(placement.address.removeprefix("unix:"))
            await asyncio.to_thread(slow.sendall, frames.encode(frames.CALL, 1, {}, body))
            channel = await Channel.open(placement.address, 20)
            for _ in range(5):
                assert (await channel.call({}, b"quick", 20))[1] == b"quick"

            def read_all() -> list[frames.Frame]:
                decoder, received = frames.Decoder(), list[frames.Frame]()
                while len(received) < 2:
                    received += decoder.feed(slow.recv(65536))
                return received

            hello, answer = await asyncio.to_thread(read_all)
            assert (hello.kind, answer.kind, answer.body) == (frames.HELLO, frames.RESULT, body)

    run(tmp_path, story)


def test_a_connection_that_speaks_nonsense_is_closed_and_the_others_stay(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, _told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        channel = await Channel.open(placement.address, 20)
        for nonsense in (b"GET /ping HTTP/1.1\r\n\r\n", frames.encode(frames.HELLO, 0, {})):
            reader, writer = await asyncio.open_unix_connection(placement.address.removeprefix("unix:"))
            writer.write(nonsense)
            await reader.read()
            writer.close()
        reader, writer = await asyncio.open_unix_connection(placement.address.removeprefix("unix:"))
        writer.write(frames.encode(frames.CALL, 1, {}, b"half of a frame")[:-4])
        writer.close()
        assert (await channel.call({}, b"fine", 20))[1] == b"fine"

    run(tmp_path, story)
