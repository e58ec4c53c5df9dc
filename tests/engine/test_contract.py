"""The contract of ``engine.interface``, for every engine: what reconcilers and traffic rely on."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import houses
from engine.houses import Told

from stagedoor.engine.fake import Behaviour, FakeEngine
from stagedoor.engine.interface import Engine, EngineError, Workload
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime
from stagedoor.traffic.channel import Channel, ChannelLostError, WorkerFailedError

House = Callable[[houses.Story], None]


def _fake_behaviour(workload: Workload) -> Behaviour:
    """What the probes do, said to the fake engine."""
    if workload.kind == "job":
        return {
            "probes.jobs:succeed": Behaviour(
                output=b"first\nsecond\nthird\n", exits_after_s=0.0, work=_write_model
            ),
            "probes.jobs:exit_with": Behaviour(output=b"about to leave\n", exits_after_s=0.0, exit_code=7),
            "probes.jobs:run_until_stopped": Behaviour(output=b"running\n", work=_write_model),
            "probes.jobs:never_stop": Behaviour(output=b"running\n"),
        }[workload.spec["entry"]]
    return {
        None: Behaviour(output=b"loaded\n"),
        "slow": Behaviour(ready_after_s=0.05),
        "fail": Behaviour(fails_at_load="RuntimeError: the file is not a model"),
        "crash": Behaviour(crashes_on_call=True),
        "stubborn": Behaviour(ignores_sigterm=True),
    }[workload.spec["options"]["act"]]


def _write_model(scratch: Path) -> None:
    (scratch / "opt/ml/output").mkdir(parents=True)
    (scratch / "opt/ml/output/model.tar.gz").write_bytes(b"packed")


@pytest.fixture(params=["local", "local-spawn", "fake"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    engine: Engine
    if request.param == "fake":
        engine = FakeEngine(tmp_path / "scratch", _fake_behaviour)
    else:
        start = "fork" if request.param == "local" else "spawn"
        engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime(path=(houses.PROBES,), start=start)})
    return lambda story: houses.run(engine, story)


def test_a_model_serves_at_its_address_once_it_is_ready(house: House) -> None:
    async def story(engine: Engine, _told: Told) -> None:
        placement = await engine.start(houses.model("m", "slow"))
        channel = await Channel.open(placement.address, 20)
        assert channel.hello["ready"] is True
        meta, body = await channel.call({"content_type": "text/plain"}, b"hello", 20)
        assert body == b"hello"
        assert meta["content_type"]
        assert (await engine.inspect("m")).state == "running"
        channel.close()

    house(story)


def test_starting_the_same_id_again_gives_the_same_placement(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        first, second = await asyncio.gather(engine.start(houses.model("m")), engine.start(houses.model("m")))
        assert first == second == await engine.start(houses.model("m"))
        assert await engine.list() == [first]
        done = await engine.start(houses.job("j", "succeed"))
        assert await told.exit_of("j") == 0
        assert await engine.start(houses.job("j", "succeed")) == done
        assert (await engine.inspect("j")).state == "exited"

    house(story)


def test_an_exit_is_told_once_and_after_the_last_output_which_is_in_order(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        await engine.start(houses.job("j", "succeed"))
        assert await told.exit_of("j") == 0
        assert told.text("j") == "first\nsecond\nthird\n"
        assert told.order[-1] == ("exit", "j")
        await engine.stop("j", 1)
        assert told.exits == [("j", 0)]

    house(story)


def test_exit_codes_are_told_and_kept_until_the_stop(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        await engine.start(houses.job("j", "exit_with", options={"code": 7}))
        assert await told.exit_of("j") == 7
        condition = await engine.inspect("j")
        assert (condition.state, condition.exit_code) == ("exited", 7)
        assert [placement.workload_id for placement in await engine.list()] == ["j"]
        await engine.stop("j", 1)
        assert (await engine.inspect("j")).state == "unknown"
        assert await engine.list() == []

    house(story)


def test_a_jobs_scratch_stays_until_it_is_stopped(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "succeed", pack_model=True))
        assert placement.address == ""
        assert await told.exit_of("j") == 0
        assert (Path(placement.scratch) / "opt/ml/output/model.tar.gz").stat().st_size
        await engine.stop("j", 1)
        assert not houses.exists(placement.scratch)

    house(story)


def test_a_model_that_cannot_be_loaded_says_why_and_exits(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        placement = await engine.start(houses.model("m", "fail"))
        with pytest.raises(WorkerFailedError, match="RuntimeError: the file is not a model"):
            await Channel.open(placement.address, 20)
        assert await told.exit_of("m") == 1
        await engine.stop("m", 1)
        assert not houses.exists(placement.scratch)

    house(story)


def test_a_crash_loses_the_call_and_tells_the_signal(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        placement = await engine.start(houses.model("m", "crash"))
        channel = await Channel.open(placement.address, 20)
        with pytest.raises(ChannelLostError):
            await channel.call({}, b"crash", 20)
        assert await told.exit_of("m") == -11

    house(story)


def test_stop_ends_it_and_is_no_error_when_repeated(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        channel = await Channel.open(placement.address, 20)
        await asyncio.gather(engine.stop("m", 5), engine.stop("m", 5))
        await channel.wait_closed()
        assert told.exits == [("m", -15)]
        assert not houses.exists(placement.scratch)
        await engine.stop("m", 5)
        await engine.stop("never heard of", 5)
        assert (await engine.inspect("m")).state == "unknown"

    house(story)


def test_terminate_asks_for_the_end_and_leaves_the_results(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "run_until_stopped", pack_model=True))
        await told.until(lambda: "running" in told.text("j"))
        await engine.terminate("j")
        assert await told.exit_of("j") == 0
        await engine.terminate("j")
        assert (Path(placement.scratch) / "opt/ml/output/model.tar.gz").exists()
        await engine.stop("j", 5)
        assert not houses.exists(placement.scratch)
        await engine.terminate("never heard of")

    house(story)


def test_what_ignores_the_stop_is_killed_after_the_grace(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        placement = await engine.start(houses.model("m", "stubborn"))
        await Channel.open(placement.address, 20)
        await engine.stop("m", 0.05)
        assert told.exits == [("m", -9)]

    house(story)


def test_an_id_can_be_started_again_after_its_stop(house: House) -> None:
    async def story(engine: Engine, told: Told) -> None:
        first = await engine.start(houses.job("j", "run_until_stopped"))
        await engine.stop("j", 5)
        second = await engine.start(houses.job("j", "run_until_stopped"))
        assert second.scratch != first.scratch
        assert (await engine.inspect("j")).state == "running"
        assert len(told.exits) == 1

    house(story)


def test_files_are_linked_into_the_scratch_directory(house: House, tmp_path: Path) -> None:
    source = tmp_path / "object"
    source.write_text("content")

    async def story(engine: Engine, told: Told) -> None:
        workload = houses.job("j", "never_stop")
        placement = await engine.start(
            Workload(
                workload.id, "job", "plain", workload.spec, files={"opt/ml/input/data/train/a.csv": source}
            )
        )
        assert (Path(placement.scratch) / "opt/ml/input/data/train/a.csv").read_text() == "content"
        await engine.stop("j", 0)
        assert source.read_text() == "content"

    house(story)


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "."])
def test_files_cannot_be_linked_outside_of_it(house: House, tmp_path: Path, name: str) -> None:
    async def story(engine: Engine, _told: Told) -> None:
        with pytest.raises(EngineError):
            await engine.start(
                Workload("j", "job", "plain", houses.job("j", "succeed").spec, files={name: Path(__file__)})
            )
        assert (await engine.inspect("j")).state == "unknown"
        assert not (tmp_path / "outside").exists()
        assert not [
            path for path in (tmp_path / "scratch").iterdir() if path.is_dir() and not path.is_symlink()
        ]

    house(story)


def test_a_missing_file_is_refused_and_leaves_nothing(house: House, tmp_path: Path) -> None:
    async def story(engine: Engine, _told: Told) -> None:
        spec = houses.job("j", "succeed").spec
        with pytest.raises(EngineError, match="does not exist"):
            await engine.start(Workload("j", "job", "plain", spec, files={"a": tmp_path / "missing"}))
        assert await engine.list() == []

    house(story)


def test_close_ends_everything_and_leaves_no_file(house: House, tmp_path: Path) -> None:
    sockets: list[Path] = []

    async def story(engine: Engine, _told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        await engine.start(houses.job("j", "run_until_stopped"))
        sockets.append(Path(placement.address.removeprefix("unix:")).parent)
        assert sockets[0].stat().st_mode & 0o777 == 0o700

    house(story)
    assert not sockets[0].exists()
    assert not [path for path in (tmp_path / "scratch").iterdir() if path.is_dir()]
