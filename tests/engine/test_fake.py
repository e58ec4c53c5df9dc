"""What the fake engine offers beyond the contract: behaviours, and events at a test's word."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from engine import houses
from engine.houses import Told

from stagedoor.engine.fake import Behaviour, CallFault, FakeEngine
from stagedoor.engine.interface import EngineError, Workload
from stagedoor.traffic.channel import (
    CallFaultError,
    CallTimeoutError,
    Channel,
    ChannelLostError,
    WorkerFailedError,
)


def open_fake(tmp_path: Path, **behaviours: Behaviour) -> FakeEngine:
    return FakeEngine(tmp_path / "scratch", lambda workload: behaviours.get(workload.id, Behaviour()))


def test_a_start_can_be_refused_and_a_load_can_fail(tmp_path: Path) -> None:
    engine = open_fake(tmp_path, no=Behaviour(refused="no room"), bad=Behaviour(fails_at_load="broken file"))

    async def story(_: object, told: Told) -> None:
        with pytest.raises(EngineError, match="no room"):
            await engine.start(houses.model("no"))
        placement = await engine.start(houses.model("bad"))
        with pytest.raises(WorkerFailedError, match="broken file"):
            await Channel.open(placement.address, 5)
        assert await told.exit_of("bad") == 1
        assert [workload.id for workload in engine.started] == ["bad"]

    houses.run(engine, story)


def test_calls_can_be_answered_refused_and_left_hanging(tmp_path: Path) -> None:
    async def answer(meta: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        await asyncio.sleep(0)
        if body == b"bad":
            raise CallFault({"status": 415, "reason": "not that"})
        return {"content_type": "text/plain"}, body.upper()

    engine = open_fake(tmp_path, m=Behaviour(answer=answer), h=Behaviour(hangs_on_call=True))

    async def story(_: object, _told: Told) -> None:
        channel = await Channel.open((await engine.start(houses.model("m"))).address, 5)
        assert await channel.call({}, b"good", 5) == ({"content_type": "text/plain"}, b"GOOD")
        with pytest.raises(CallFaultError, match="not that"):
            await channel.call({}, b"bad", 5)
        assert await channel.ping(5) == {"calls": 2}
        hanging = await Channel.open((await engine.start(houses.model("h"))).address, 5)
        with pytest.raises(CallTimeoutError):
            await hanging.call({}, b"", 0.01)

    houses.run(engine, story)


def test_a_test_decides_when_something_crashes_prints_or_finishes(tmp_path: Path) -> None:
    def work(scratch: Path) -> None:
        (scratch / "result").write_text("done")

    engine = open_fake(tmp_path, j=Behaviour(work=work))

    async def story(_: object, told: Told) -> None:
        channel = await Channel.open((await engine.start(houses.model("m"))).address, 5)
        await engine.print("m", b"hello\n")
        assert told.text("m") == "hello\n"
        await engine.crash("m", -11)
        assert told.exits == [("m", -11)]
        await channel.wait_closed()
        with pytest.raises(ChannelLostError):
            await channel.call({}, b"", 5)
        placement = await engine.start(Workload("j", "job", "any", {}))
        await engine.finish("j")
        assert told.exits[-1] == ("j", 0)
        assert houses.exists(f"{placement.scratch}/result")
        await engine.finish("j")
        assert len(told.exits) == 2

    houses.run(engine, story)
