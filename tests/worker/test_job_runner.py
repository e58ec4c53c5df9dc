"""Jobs in real processes: layout, results, failures, stops."""

import io
import os
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engine import houses
from engine.houses import Told

from stagedoor.engine.interface import Workload
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime
from stagedoor.worker import job_runner

Story = Callable[[LocalEngine, Told], Awaitable[None]]


def run(tmp_path: Path, story: Story) -> None:
    engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime(path=(houses.PROBES,))})
    houses.run(engine, lambda _, told: story(engine, told))


def read(scratch: str, name: str) -> bytes:
    return (Path(scratch) / "opt/ml/output" / name).read_bytes()


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as source:
        return source.getnames()


def test_a_job_finds_the_layout_of_a_training_container(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("1,2,3")

    async def story(engine: LocalEngine, told: Told) -> None:
        spec = houses.job(
            "j",
            "look",
            config={"hyperparameters": {"max_depth": "5"}, "inputdataconfig": {}, "resourceconfig": {}},
            channels=["train", "validation"],
        ).spec
        files = {"opt/ml/input/data/train/part.csv": tmp_path / "part"}
        await engine.start(Workload("j", "job", "plain", spec, files=files, threads=2))
        assert await told.exit_of("j") == 0
        text = told.text("j")
        for name in (
            *("code", "input/config/hyperparameters.json", "input/config/inputdataconfig.json"),
            *("input/config/resourceconfig.json", "input/data/train/part.csv", "input/data/validation"),
            *("model", "output", "output/data"),
        ):
            assert f"'{name}'" in text
        assert 'train part.csv 1,2,3\n{"max_depth": "5"}\nthreads 2 2 cwd True\n' in text

    run(tmp_path, story)


def test_success_packs_the_model_and_the_output(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        spec = {"config": {"hyperparameters": {"a": "b"}}, "pack_model": True, "pack_output": True}
        archives: list[bytes] = []
        for name in ("first", "second"):
            placement = await engine.start(houses.job(name, "succeed", **spec))
            assert await told.exit_of(name) == 0
            archives.append(read(placement.scratch, "model.tar.gz"))
            assert names(archives[-1]) == ["empty", "weights"]
            assert names(read(placement.scratch, "output.tar.gz")) == ["report.txt"]
            assert told.text(name) == "first\nsecond\nthird\n"
        assert archives[0] == archives[1]

    run(tmp_path, story)


def test_nothing_is_packed_that_was_not_asked_for_and_an_empty_model_is_an_empty_archive(
    tmp_path: Path,
) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        plain = await engine.start(houses.job("plain", "succeed"))
        empty = await engine.start(
            houses.job("empty", "look", config={"hyperparameters": {}}, pack_model=True)
        )
        assert await told.exit_of("plain") == await told.exit_of("empty") == 0
        assert not houses.exists(f"{plain.scratch}/opt/ml/output/model.tar.gz")
        assert names(read(empty.scratch, "model.tar.gz")) == []

    run(tmp_path, story)


def test_a_failure_is_written_with_its_traceback(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "break_down", pack_model=True))
        assert await told.exit_of("j") == 1
        failure = read(placement.scratch, "failure").decode()
        assert failure.startswith("KeyError: 'label'\n\nTraceback (most recent call last):")
        assert 'raise KeyError("label")' in failure
        assert "Traceback" in told.text("j")
        assert not houses.exists(f"{placement.scratch}/opt/ml/output/model.tar.gz")

    run(tmp_path, story)


def test_a_failure_of_the_user_is_its_text_alone(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "blame_the_user"))
        assert await told.exit_of("j") == 1
        expected = "Hyperparameter max_depth: expected a number, found 'deep'"
        assert read(placement.scratch, "failure").decode() == expected
        assert told.text("j") == expected + "\n"

    run(tmp_path, story)


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (None, 0), (7, 7), ("no more", 1)])
def test_a_job_may_end_itself(tmp_path: Path, code: object, exit_code: int) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "exit_with", options={"code": code}, pack_model=True))
        assert await told.exit_of("j") == exit_code
        output = f"{placement.scratch}/opt/ml/output"
        assert houses.exists(f"{output}/model.tar.gz") is (exit_code == 0)
        assert houses.exists(f"{output}/failure") is (exit_code != 0)

    run(tmp_path, story)


@pytest.mark.parametrize("entry", ["no_colon", "no_such_algorithm:train", "probes.jobs:missing"])
def test_an_entry_that_is_not_there_is_a_failure(tmp_path: Path, entry: str) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(Workload("j", "job", "plain", {"entry": entry}))
        assert await told.exit_of("j") == 1
        assert read(placement.scratch, "failure")

    run(tmp_path, story)


def test_a_job_that_is_asked_to_end_saves_what_it_has(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "run_until_stopped", pack_model=True))
        await told.until(lambda: "running" in told.text("j"))
        await engine.terminate("j")
        assert await told.exit_of("j") == 0
        assert names(read(placement.scratch, "model.tar.gz")) == ["partial"]
        await engine.stop("j", 20)
        assert not houses.exists(placement.scratch)

    run(tmp_path, story)


def test_a_job_that_does_not_listen_is_killed_after_the_grace(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        await engine.start(houses.job("j", "never_stop"))
        await told.until(lambda: "running" in told.text("j"))
        await engine.stop("j", 0.05)
        assert told.exits == [("j", -9)]

    run(tmp_path, story)


def test_packing_leaves_out_what_is_no_file_and_whose_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("x")
    os.mkfifo(folder / "pipe")
    job_runner.pack(folder, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as source:
        entries = source.getmembers()
    assert [entry.name for entry in entries] == ["sub", "sub/a"]
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "", 0)}
    assert not (tmp_path / "model.tar.gz.partial").exists()
