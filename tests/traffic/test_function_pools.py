"""Leases, waiting and reuse, with channels that are only opened and closed; and what a worker prints, cut into events."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from stagedoor.domain.clock import ManualClock
from stagedoor.domain.errors import AwsError
from stagedoor.store.log_events import LogEvents
from stagedoor.store.records import Key, SqliteRecords
from stagedoor.traffic.channel import Channel
from stagedoor.traffic.function_output import INIT, FunctionOutput
from stagedoor.traffic.function_pools import Demand, FunctionPools, FunctionWorker, StartFailedError
from stagedoor.traffic.function_routes import FunctionRoute, FunctionVersion, RouteKey, VersionKey
from stagedoor.traffic.log_writer import LogPlace, LogWriter
from stagedoor.worker.specs import INIT_OUTPUT_END, one_event, output_end

ACCOUNT, REGION = "000000000000", "us-east-1"
PLACE = LogPlace(ACCOUNT, REGION, "/aws/lambda/f", "s")


class OpenChannel:
    """As much of a channel as the pools look at."""

    def __init__(self) -> None:
        self.is_closed = False
        self._listeners: list[Callable[[], None]] = []

    def on_closed(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            for listener in self._listeners:
                listener()


class Stage:
    """Pools with their stores."""

    def __init__(self, folder: Path, concurrency: int) -> None:
        self.clock = ManualClock()
        self.records = SqliteRecords(folder / "state.sqlite")
        self.log_events = LogEvents(folder / "logs.sqlite", self.clock)
        self.writer = LogWriter(self.log_events)
        self.pools = FunctionPools(self.records, self.writer, self.clock, concurrency)
        self.wakes = 0
        self.pools.on_change(self._woken)
        self._count = 0

    def _woken(self) -> None:
        self.wakes += 1

    def worker(self, version: FunctionVersion, *, is_ready: bool = True) -> FunctionWorker:
        self._count += 1
        worker = self.pools.starting(str(self._count), version.key, version.revision, PLACE, 1e9)
        if is_ready:
            self.ready(worker)
        return worker

    def ready(self, worker: FunctionWorker) -> None:
        self.pools.ready(worker, cast(Channel, OpenChannel()), 0.01)

    async def messages(self) -> list[str]:
        await self.writer.drained()
        group = self.log_events.group(ACCOUNT, REGION, PLACE.group)
        return [] if group is None else [event.message for event in self.log_events.read(group)]


def run(folder: Path, story: Callable[[Stage], Awaitable[None]], concurrency: int = 4) -> None:
    async def whole() -> None:
        stage = Stage(folder, concurrency)
        try:
            async with asyncio.timeout(20):
                await story(stage)
        finally:
            await stage.pools.close()
            stage.records.close()
            stage.log_events.close()

    asyncio.run(whole())


def version(name: str = "f", revision: str = "r1", reserved: int | None = None) -> FunctionVersion:
    return FunctionVersion(VersionKey(ACCOUNT, REGION, name, "$LATEST"), revision, 3, 128, reserved)


def held(stage: Stage, wanted: FunctionVersion) -> "tuple[asyncio.Task[FunctionWorker], asyncio.Event]":
    """A task that holds a lease until its event is set; its result is the worker."""
    done = asyncio.Event()

    async def hold() -> FunctionWorker:
        async with stage.pools.lease(wanted) as worker:
            await done.wait()
            return worker

    return asyncio.ensure_future(hold()), done


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_worker_that_was_used_last_is_used_first(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        first, second = stage.worker(version()), stage.worker(version())
        async with stage.pools.lease(version()) as worker:
            assert worker is second
            assert worker.state == "busy"
            async with stage.pools.lease(version()) as other:
                assert other is first
        async with stage.pools.lease(version()) as worker:
            assert worker is second, "it was put back last"

    run(tmp_path, story)


def test_who_finds_no_worker_waits_and_wakes_the_reconciler(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        task, done = held(stage, version())
        await settle()
        assert stage.pools.demand == [Demand(version().key, "r1", 1)]
        assert stage.wakes == 1
        worker = stage.worker(version())
        done.set()
        assert await task is worker
        assert stage.pools.demand == []
        assert worker.state == "idle"

    run(tmp_path, story)


def test_a_worker_that_becomes_free_goes_to_who_waits_longest(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.worker(version())
        served: list[int] = []

        async def one(number: int) -> None:
            async with stage.pools.lease(version()):
                served.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(number) for number in range(8)))
        assert served == list(range(8))

    run(tmp_path, story)


def test_a_worker_of_another_revision_serves_nobody_until_the_waiting_are_renewed(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.worker(version(revision="r1"))
        task, done = held(stage, version(revision="r2"))
        await settle()
        assert not task.done()
        new = stage.worker(version(revision="r3"))
        await settle()
        assert new.state == "idle"
        stage.pools.renew(version().key, "r3")
        fresh = stage.worker(version(revision="r3"))
        done.set()
        assert await task is fresh

    run(tmp_path, story)


def test_a_waiting_caller_who_gives_up_leaves_no_trace(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        task, _ = held(stage, version())
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert stage.pools.demand == []
        worker = stage.worker(version())
        assert worker.state == "idle"

    run(tmp_path, story)


def test_a_caller_who_gives_up_at_the_very_moment_gives_the_worker_back(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        task, _ = held(stage, version())
        await settle()
        worker = stage.worker(version())
        assert worker.state == "busy"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert worker.state == "idle"

    run(tmp_path, story)


def test_more_than_the_waiting_room_holds_are_refused(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        waiting = [held(stage, version())[0] for _ in range(8)]
        await settle()
        with pytest.raises(AwsError) as raised:
            async with stage.pools.lease(version()):
                pass
        assert (raised.value.code, raised.value.status) == ("TooManyRequestsException", 429)
        assert raised.value.members["Reason"] == "ConcurrentInvocationLimitExceeded"
        other, _ = held(stage, version("g"))
        await settle()
        assert not other.done(), "another function's events have a waiting room of their own"
        waiting.append(other)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(tmp_path, story, concurrency=1)


def test_reserved_concurrency_counts_who_runs_and_who_waits(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.worker(version())
        running, done = held(stage, version(reserved=2))
        waiting, waited = held(stage, version(reserved=2))
        await settle()
        with pytest.raises(AwsError) as raised:
            async with stage.pools.lease(version(reserved=2)):
                pass
        assert raised.value.members["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        done.set()
        waited.set()
        assert await running is await waiting
        async with stage.pools.lease(version(reserved=2)):
            pass

    run(tmp_path, story)


def test_an_idle_worker_whose_connection_is_lost_is_condemned(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        worker = stage.worker(version())
        assert worker.channel is not None
        worker.channel.close()
        assert worker.state == "condemned"
        task, _ = held(stage, version())
        await settle()
        assert not task.done()
        task.cancel()

    run(tmp_path, story)


def test_a_condemned_worker_is_not_put_back(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.worker(version())
        async with stage.pools.lease(version()) as worker:
            stage.pools.condemn(worker)
        assert worker.state == "condemned"
        stage.pools.gone(worker)
        assert stage.pools.workers == []

    run(tmp_path, story)


def test_a_start_that_fails_is_told_to_who_waits_for_that_revision(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        old, _ = held(stage, version(revision="r1"))
        new, _ = held(stage, version(revision="r2"))
        await settle()
        worker = stage.worker(version(revision="r1"), is_ready=False)
        stage.pools.reject(worker.key, StartFailedError("no", worker.output), revision="r1")
        with pytest.raises(StartFailedError):
            await old
        assert not new.done()
        new.cancel()

    run(tmp_path, story)


def test_the_exit_code_of_a_worker_is_kept_for_who_asks(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        worker = stage.worker(version())
        stage.pools.on_exit(worker.id, -9)
        stage.pools.on_exit("not ours", 1)
        assert await worker.exit == -9
        assert worker.state == "condemned"

    run(tmp_path, story)


# Routes ----------------------------------------------------------------------------------------------------------


def test_a_route_is_loaded_once_until_its_function_changes(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        loads: list[int] = []

        def load() -> FunctionRoute:
            loads.append(1)
            return FunctionRoute("arn", ((version(revision=str(len(loads))), 1.0),))

        def commit(kind: str, name: str) -> None:
            with stage.records.transaction() as transaction:
                transaction.put(Key(kind, ACCOUNT, REGION, name), {})

        async def revision() -> str:
            route = await stage.pools.routes.route(RouteKey(ACCOUNT, REGION, "f", "live"), load)
            return route.pick().revision

        assert [await revision(), await revision()] == ["1", "1"]
        commit("lambda.function", "g")
        commit("lambda.event", "f")
        assert await revision() == "1"
        for number, (kind, name) in enumerate(
            [("lambda.function", "f"), ("lambda.version", "f:1"), ("lambda.alias", "f:live")], start=2
        ):
            commit(kind, name)
            assert await revision() == str(number)

    run(tmp_path, story)


def test_a_route_that_was_read_while_the_function_changed_is_not_kept(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        def load() -> FunctionRoute:
            with stage.records.transaction() as transaction:
                transaction.put(Key("lambda.function", ACCOUNT, REGION, "f"), {})
            return FunctionRoute("stale", ((version(), 1.0),))

        key = RouteKey(ACCOUNT, REGION, "f", "")
        assert (await stage.pools.routes.route(key, load)).arn == "stale"
        fresh = FunctionRoute("fresh", ((version(), 1.0),))
        assert (await stage.pools.routes.route(key, lambda: fresh)).arn == "fresh"

    run(tmp_path, story)


def test_weights_share_the_calls() -> None:
    one, two = version(revision="1"), version(revision="2")
    route = FunctionRoute("arn", ((one, 0.75), (two, 0.25)))
    picked = [route.pick().revision for _ in range(2000)]
    assert 1350 < picked.count("1") < 1650


# Output ----------------------------------------------------------------------------------------------------------


def output_of(stage: Stage) -> FunctionOutput:
    return FunctionOutput(stage.writer, stage.clock, PLACE)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_lines_are_events_however_they_arrive(tmp_path: Path, size: int) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        printed = (
            b"loading\n"
            + INIT_OUTPUT_END
            + b"one\ntwo"
            + output_end("r-1")
            + "drei ü\n".encode()
            + output_end("r-2")
        )
        for start in range(0, len(printed), size):
            output.feed(printed[start : start + size])
        await output.complete("r-2", 0.01)
        assert await stage.messages() == ["loading\n", "one\n", "two", "drei ü\n"]

    run(tmp_path, story)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_traceback_is_one_event(tmp_path: Path, size: int) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        output.begin()
        printed = b"before\n" + one_event("[ERROR] E: no\nTraceback\n  in f").encode() + output_end("r-1")
        # A worker that dies within an event, or prints the sign of one that goes on itself, loses nothing.
        printed += b"half\0\n" + output_end("r-2") + b"rest\0\nof it"
        for start in range(0, len(printed), size):
            output.feed(printed[start : start + size])
        output.flush()
        traceback = "[ERROR] E: no\nTraceback\n  in f\n"
        assert await stage.messages() == ["before\n", traceback, "half\n", "rest\nof it"]
        assert output.tail.decode() == "before\n" + traceback + "half\nrest\nof it"

    run(tmp_path, story)


def test_an_event_that_never_ends_is_bounded(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        for _ in range(12):
            waiting = output.feed(b"z" * 65_534 + b"\0\n")
            if waiting is not None:
                await waiting
        output.flush()
        messages = await stage.messages()
        assert sum(message.count("z") for message in messages) == 12 * 65_534
        assert len(messages) > 1

    run(tmp_path, story)


def test_waiting_for_the_end_of_output_ends_with_its_marker_alone(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        waiting = asyncio.ensure_future(output.complete("r-1", 10))
        await settle()
        output.feed(INIT_OUTPUT_END)
        await settle()
        assert not waiting.done()
        output.feed(output_end("r-1"))
        await waiting
        await output.complete("never", 0.001)
        output.feed(INIT_OUTPUT_END)
        await output.complete(INIT, 10)

    run(tmp_path, story)


def test_the_tail_is_the_last_four_kilobytes_since_the_beginning_of_the_event(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        output.feed(b"before\n")
        output.begin()
        output.say("START")
        output.feed(b"inside\n")
        assert output.tail == b"START\ninside\n"
        output.feed(b"x" * 100_000 + b"\nlast\n")
        assert len(output.tail) == 4096
        assert output.tail.endswith(b"x\nlast\n")

    run(tmp_path, story)


def test_a_line_without_end_is_bounded_and_loses_nothing(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        for _ in range(40):
            waiting = output.feed(b"y" * 65_536)
            if waiting is not None:
                await waiting
        output.feed(output_end("r"))
        await output.complete("r", 0.01)
        events: list[Any] = []
        await stage.writer.drained()
        group = stage.log_events.group(ACCOUNT, REGION, PLACE.group)
        assert group is not None
        events = stage.log_events.read(group, max_bytes=1 << 30)
        assert "".join(event.message for event in events) == "y" * (40 * 65_536)
        assert max(len(event.message) for event in events) <= 262_144

    run(tmp_path, story)


def test_a_worker_that_prints_too_fast_is_made_to_wait(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        output = output_of(stage)
        waits = [output.feed(b"z" * 999 + b"\n") for _ in range(5000)]
        pending = [waiting for waiting in waits if waiting is not None]
        assert pending
        await asyncio.gather(*pending)
        assert output.feed(b"more\n") is None
        assert len(await stage.messages()) > 0

    run(tmp_path, story)
