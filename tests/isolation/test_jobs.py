"""Hostile jobs, on the engine itself."""

import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine import houses
from engine.houses import Told
from isolation import attempts
from isolation.attempts import failed

from stagedoor.engine.interface import Workload
from stagedoor.engine.isolation import Mode
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime
from stagedoor.traffic.channel import Channel, WorkerFailedError
from stagedoor.worker import descendants

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="this system has no sandbox that user code is put into"
)
Story = Callable[[LocalEngine, Told], Awaitable[None]]


def run(
    tmp_path: Path, story: Story, mode: Mode = "auto", *path: Path, memory_max_bytes: int | None = None
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "keys.json").write_text("secret")
    runtime = Runtime(path=(houses.PROBES, *path))
    engine = LocalEngine(
        data / "scratch",
        {"plain": runtime},
        mode=mode,
        private=[data],
        memory_max_bytes=memory_max_bytes,
    )
    houses.run(engine, lambda _, told: story(engine, told))


def hostile(workload_id: str, code: str, **members: object) -> Workload:
    spec = {"entry": "probes.hostile:run", "options": {"code": attempts.SOURCE + code}}
    return Workload(workload_id, "job", "plain", spec, **members)  # type: ignore[arg-type]


async def results(engine: LocalEngine, told: Told, workload: Workload) -> list[str]:
    await engine.start(workload)
    assert await told.exit_of(workload.id) == 0, told.text(workload.id)
    return json.loads(told.text(workload.id).partition("result ")[2])


def test_the_hosts_of_a_job_find_each_other_by_name(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        if "private-root" not in (await engine.isolation()).rungs:
            pytest.skip(str((await engine.isolation()).missing))
        code = """
import socket
result = [socket.gethostbyname(name) for name in ("algo-2", "localhost")]
"""
        workload = hostile("j", code, connect_ports=None)
        config = {"resourceconfig": {"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"}}
        workload = replace(workload, spec={**workload.spec, "config": config})
        assert await results(engine, told, workload) == ["127.0.0.1", "127.0.0.1"]

    run(tmp_path, story)


def test_a_job_reaches_nothing_but_its_own_folder_and_its_inputs(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        if not {"private-root", "landlock-files"} & set((await engine.isolation()).rungs):
            pytest.skip(str((await engine.isolation()).missing))
        (tmp_path / "data/input.csv").write_text("1,2\n")
        neighbour = await engine.start(houses.job("neighbour", "never_stop"))
        code = f"""
result = [attempt(action) for action in (
    lambda: read("{tmp_path}/data/keys.json"),
    lambda: os.listdir("{neighbour.scratch}"),
    lambda: read("/proc/{os.getpid()}/environ"),
    lambda: read("/proc/{neighbour.pid}/mem"),
    lambda: write(os.path.realpath("opt/ml/input/data/train/input.csv")),
    lambda: write("{tmp_path}/written"),
    lambda: write("/usr/written"),
    lambda: os.kill({neighbour.pid}, 9),
    lambda: connect_tcp(9),
    lambda: os.link("{tmp_path}/data/keys.json", "keys"),
    lambda: os.mknod("device", 0o20666, os.makedev(1, 1)),
    lambda: read("opt/ml/input/data/train/input.csv"),
    lambda: write("opt/ml/model/weights"),
    lambda: write(os.environ["TMPDIR"] + "/x"),
)]
"""
        workload = hostile(
            "j", code, files={"opt/ml/input/data/train/input.csv": tmp_path / "data/input.csv"}
        )
        *outside, reads, weights, scratch = await results(engine, told, workload)
        assert all(map(failed, outside)), outside
        assert not any(map(failed, (reads, weights, scratch)))
        assert houses.is_alive(neighbour.pid or 0)

    run(tmp_path, story)


def test_a_job_finds_its_folders_where_aws_has_them(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        if "private-root" not in (await engine.isolation()).rungs:
            pytest.skip((await engine.isolation()).missing["private-root"])
        code = "write('/opt/ml/model/weights'); result = [sorted(os.listdir('/opt/ml')), os.path.exists(str(job.model_dir / 'weights'))]"
        folders, same = await results(engine, told, hostile("j", code))
        assert "input" in folders and "model" in folders
        assert same is True

    run(tmp_path, story)


def test_many_inputs_are_granted_as_one_folder(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        folder = tmp_path / "data" / "inputs"
        folder.mkdir(mode=0o700)
        files = {}
        for number in range(200):
            (folder / str(number)).write_text(str(number))
            (folder / str(number)).chmod(0o600)
            files[f"opt/ml/input/data/train/{number}"] = folder / str(number)
        code = "result = [open(f'opt/ml/input/data/train/{n}').read() for n in range(200)]"
        assert await results(engine, told, hostile("j", code, files=files)) == [str(n) for n in range(200)]

    run(tmp_path, story)


def test_a_gigabyte_of_output_of_a_job_is_never_held(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        received = 0

        def count(_workload_id: str, data: bytes) -> None:
            nonlocal received
            received += len(data)

        engine._on_output = count  # what the server's own listener would be told
        before = _rss_bytes()
        code = "result = [os.write(1, b'x' * 2**20) for _ in range(1024)] and 0"
        await engine.start(hostile("j", code))
        assert await told.exit_of("j") == 0
        assert received >= 2**30
        assert _rss_bytes() < before + 32 * 2**20

    run(tmp_path, story)


def _rss_bytes() -> int:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


def test_a_fork_bomb_and_its_daemons_are_gone_when_the_job_is_stopped(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        if not {"own-process-numbers", "process-limit"} & set((await engine.isolation()).rungs):
            pytest.skip(str((await engine.isolation()).missing))
        code = """
import time
print("begun", flush=True)
for _ in range(300):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(600)
print("forked", flush=True)
while True:
    time.sleep(1)
"""
        await engine.start(hostile("j", code))
        await told.until(lambda: "forked" in told.text("j"))
        ((tag, pids),) = [(tag, pids) for tag, pids in descendants.tagged().items() if len(pids) > 250]
        began = time.monotonic()
        await engine.stop("j", 0)
        assert time.monotonic() - began < 10
        assert tag not in descendants.tagged()
        assert not any(map(houses.is_alive, pids))

    run(tmp_path, story)


def test_a_memory_hog_ends_alone_also_when_its_children_are_the_hog(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        hog = "import time\nheld = [b'x' * 2**20 for _ in range(200)]\ntime.sleep(60)\n"
        # Each child stays below the limit; together they are beyond it.
        family = f"import subprocess\nfor _ in range(4): subprocess.Popen([sys.executable, '-c', {hog!r}])\n"
        neighbour = await engine.start(houses.job("neighbour", "never_stop"))
        for name, code in (("itself", hog.replace("200", "600")), ("family", family + "while True: pass\n")):
            await engine.start(hostile(name, code))
        assert await told.exit_of("itself") == -9
        assert await told.exit_of("family") == -9
        assert houses.is_alive(neighbour.pid or 0)

    run(tmp_path, story, memory_max_bytes=512 * 2**20)


def test_a_job_sees_no_secret_and_no_socket_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        if not {"private-root", "landlock-files"} & set((await engine.isolation()).rungs):
            pytest.skip(str((await engine.isolation()).missing))
        model = await engine.start(houses.model("m"))
        folder = Path(model.address.removeprefix("unix:")).parent
        code = f"""
import glob
result = [attempt(lambda: connect_unix({model.address.removeprefix("unix:")!r})), attempt(lambda: os.listdir("{folder}"))]
shown = " ".join(os.environ.values())
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    shown += attempt(lambda: open(path, "rb").read())
result.append([word for word in ("unlikely-secret", "PYTEST_CURRENT_TEST") if word in shown])
"""
        socket, listing, words = await results(engine, told, hostile("j", code))
        assert failed(socket), socket
        assert failed(listing), listing
        assert words == []

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unlikely-secret")
    run(tmp_path, story)


def test_strict_starts_nothing_when_a_rung_is_missing_and_names_it(tmp_path: Path) -> None:
    """Here the runtime's own folder holds the data directory, so it cannot be hidden."""

    async def story(engine: LocalEngine, told: Told) -> None:
        found = await engine.isolation()
        assert "data lies in a folder that the runtime needs" in found.missing["private-root"]
        placement = await engine.start(hostile("j", "result = 1"))
        assert await told.exit_of("j") == 1
        failure = houses.text(placement.scratch, "opt/ml/output/failure")
        # Where bubblewrap is installed it was tried, too, and that it cannot is why the first could not.
        assert re.search("the isolation rung (private-root|bubblewrap) is not available", failure)
        assert "data lies in a folder that the runtime needs" in failure
        assert "--isolation auto" in failure
        assert "result" not in told.text("j")
        model = await engine.start(houses.model("m"))
        with pytest.raises(WorkerFailedError, match=r"isolation rung (private-root|bubblewrap)"):
            await Channel.open(model.address, 20)

    run(tmp_path, story, "strict", tmp_path)


def test_auto_goes_on_without_what_is_missing_and_says_so(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        found = await engine.isolation()
        assert {"private-root", "landlock-files"} <= set(found.missing)
        assert "no-new-privileges" in found.rungs
        assert await results(engine, told, hostile("j", "result = [1]")) == [1]

    run(tmp_path, story, "auto", tmp_path)


def test_none_leaves_the_limits_alone(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        found = await engine.isolation()
        assert "no-core-dumps" in found.rungs
        assert not {"private-root", "landlock-files", "separate-user"} & set(found.rungs)
        assert found.missing == {}
        seen = await results(
            engine, told, hostile("j", f"result = [attempt(lambda: read('{tmp_path}/data/keys.json'))]")
        )
        assert not failed(seen[0])

    run(tmp_path, story, "none")
