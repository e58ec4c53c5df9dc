"""What only real processes show: families of processes, crashes of parents and servers, isolation, memory, descriptors."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from engine import houses
from engine.houses import Told

from stagedoor.engine import process_memory
from stagedoor.engine.interface import EngineError, Placement, Workload
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime, default_runtimes
from stagedoor.traffic.channel import Channel, WorkerFailedError

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the system's own means are Linux's")
LocalStory = Callable[[LocalEngine, Told], Awaitable[None]]


def run(
    tmp_path: Path, story: LocalStory, start: Literal["fork", "spawn"] = "fork", **runtimes: Runtime
) -> None:
    every = {"plain": Runtime(path=(houses.PROBES,), start=start), **runtimes}
    engine = LocalEngine(tmp_path / "scratch", every)
    houses.run(engine, lambda _, told: story(engine, told))


async def seen(engine: LocalEngine, workload_id: str, expression: str) -> object:
    """The value of an expression inside a model worker."""
    placement = next(place for place in await engine.list() if place.workload_id == workload_id)
    channel = await Channel.open(placement.address, 20)
    _, body = await channel.call({}, b"eval " + expression.encode(), 20)
    channel.close()
    return eval(body)


async def family(told: Told, placement: Placement) -> list[int]:
    text = partial(told.text, placement.workload_id)
    await told.until(lambda: "family" in text() and text().endswith("\n"))
    return houses.outside(placement.pid, [int(word) for word in text().split()[1:]])


@pytest.mark.parametrize("start", ["fork", "spawn"])
@linux_only
def test_stop_kills_the_whole_family_daemons_too(tmp_path: Path, start: Literal["fork", "spawn"]) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        job = await engine.start(houses.job("j", "leave_family", options={"stay": True}))
        other = await engine.start(houses.job("other", "leave_family", options={"stay": True}))
        pids = await family(told, job)
        others = await family(told, other)
        assert all(map(houses.is_alive, pids + others))
        await engine.stop("j", 0.1)
        assert not [pid for pid in pids if houses.is_alive(pid)]
        assert all(map(houses.is_alive, others))
        await engine.stop("other", 0)

    run(tmp_path, story, start)


@linux_only
def test_what_a_workload_leaves_behind_at_its_exit_is_killed(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.job("j", "leave_family", options={"wait_for": "go"}))
        pids = await family(told, placement)
        assert all(map(houses.is_alive, pids))
        (Path(placement.scratch) / "go").touch()
        assert await told.exit_of("j") == 0
        assert not [pid for pid in pids if houses.is_alive(pid)]

    run(tmp_path, story)


def test_a_killed_parent_takes_its_workloads_along_and_is_replaced(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.model("m"))
        channel = await Channel.open(placement.address, 20)
        parent = engine.parent_pids()["plain"]
        assert placement.pid is not None
        os.kill(parent, signal.SIGKILL)
        assert await told.exit_of("m") == -9
        await channel.wait_closed()
        houses.wait_gone(parent, placement.pid)
        await engine.stop("m", 5)
        # It rests a moment after an early death; then another one serves.
        async with asyncio.timeout(20):
            while True:
                try:
                    placement = await engine.start(houses.model("m"))
                    break
                except EngineError as error:
                    assert "pause" in str(error)
                    await asyncio.sleep(0.05)
        assert engine.parent_pids()["plain"] != parent
        assert await seen(engine, "m", "1 + 1") == 2

    run(tmp_path, story)


_SERVER = """
import asyncio, sys, uvloop
from pathlib import Path
from engine import houses
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime, default_runtimes

async def main():
    told = houses.Told()
    engine = LocalEngine(Path(sys.argv[1]), {"plain": Runtime(path=(houses.PROBES,), start=sys.argv[2])})
    await engine.open(told.on_output, told.on_exit)
    model = await engine.start(houses.model("m"))
    job = await engine.start(houses.job("j", "leave_family", options={"stay": True}))
    await told.until(lambda: "family" in told.text("j") and told.text("j").endswith("\\n"))
    family = houses.outside(job.pid, [int(word) for word in told.text("j").split()[1:]])
    print(engine.parent_pids()["plain"], model.pid, job.pid, *family, flush=True)
    await asyncio.sleep(600)

uvloop.run(main())
"""


@pytest.mark.crash
@linux_only
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_nothing_outlives_a_killed_server_and_the_next_one_cleans_up(
    tmp_path: Path, start: Literal["fork", "spawn"]
) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(tmp_path / "scratch"), start],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert server.stdout is not None
    with server.stdout:
        pids = [int(word) for word in server.stdout.readline().split()]
        assert len(pids) == 7
        sockets = (tmp_path / "scratch/.sockets").readlink()
        server.kill()
        server.wait()
        houses.wait_gone(*pids)

    async def story(engine: LocalEngine, _told: Told) -> None:
        assert not sockets.exists()
        assert await engine.list() == []
        assert [path.name for path in (tmp_path / "scratch").iterdir()] == [".sockets"]

    run(tmp_path, story)


@linux_only
def test_fifty_starts_and_stops_leave_no_descriptor_and_no_child(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        async def once(number: int) -> None:
            placement = await engine.start(houses.model(f"m{number}"))
            channel = await Channel.open(placement.address, 20)
            assert (await channel.call({}, b"x", 20))[1] == b"x"
            channel.close()
            await engine.stop(f"m{number}", 5)

        parent = engine.parent_pids
        await once(0)
        before, parents_before = houses.count("/dev/fd"), houses.count(f"/proc/{parent()['plain']}/fd")
        for number in range(1, 51, 5):
            await asyncio.gather(*(once(number + step) for step in range(5)))
        assert houses.count("/dev/fd") == before
        assert houses.count(f"/proc/{parent()['plain']}/fd") == parents_before
        assert houses.proc(parent()["plain"], f"task/{parent()['plain']}/children") == b""
        assert len(told.exits) == 51

    run(tmp_path, story)


@linux_only
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_worker_has_nothing_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Literal["fork", "spawn"]
) -> None:
    monkeypatch.setenv("STAGEDOOR_ROOT_SECRET_ACCESS_KEY", "very secret")
    secret = (tmp_path / "secret").open("w")
    os.set_inheritable(secret.fileno(), True)

    async def story(engine: LocalEngine, _told: Told) -> None:
        workload = houses.model("m")
        placement = await engine.start(
            Workload(
                "m",
                "model",
                "plain",
                workload.spec,
                environment={"AWS_REGION": "eu-west-1", "LANG": "C"},
                threads=3,
            )
        )
        environment = await seen(engine, "m", "dict(__import__('os').environ)")
        assert isinstance(environment, dict)
        assert set(environment) <= {
            *("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "AWS_REGION"),
            *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS"),
        }
        assert (environment["AWS_REGION"], environment["LANG"], environment["OMP_NUM_THREADS"]) == (
            "eu-west-1",
            "C",
            "3",
        )
        assert environment["HOME"] == placement.scratch
        assert b"very secret" not in houses.proc(placement.pid, "environ")
        assert "secret" not in str(
            await seen(
                engine,
                "m",
                "[__import__('os').readlink(f'/proc/self/fd/{n}') for n in range(200) if __import__('os').path.exists(f'/proc/self/fd/{n}')]",
            )
        )
        assert await seen(engine, "m", "__import__('os').getcwd()") == placement.scratch
        assert await seen(engine, "m", "__import__('os').umask(0o077)") == 0o077
        assert await seen(
            engine,
            "m",
            "__import__('os').getpgrp() == __import__('os').getsid(0) == __import__('os').getpid()",
        )
        assert await seen(engine, "m", "__import__('signal').getsignal(15) == __import__('signal').SIG_DFL")
        assert await seen(
            engine, "m", "__import__('resource').getrlimit(__import__('resource').RLIMIT_CORE)"
        ) == (0, 0)
        assert (
            await seen(engine, "m", "open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0]")
            == "1"
        )
        assert await seen(engine, "m", "'stagedoor.engine' in __import__('sys').modules") is False
        assert houses.mode(placement.scratch) == 0o700

    run(tmp_path, story, start)
    secret.close()


def test_a_runtime_that_is_seldom_needed_is_ended_when_idle_and_comes_back(tmp_path: Path) -> None:
    async def story() -> None:
        seldom = Runtime(path=(houses.PROBES,), warm_up="when needed")
        often = Runtime(path=(houses.PROBES,))
        engine = LocalEngine(tmp_path / "scratch", {"plain": seldom, "often": often}, runtime_idle_s=0.3)
        told = Told()
        await engine.open(told.on_output, told.on_exit)
        try:
            assert "plain" not in engine.parent_pids()
            for number in range(2):
                await engine.start(houses.model(f"m{number}"))
                await asyncio.sleep(0.7)
                assert "plain" in engine.parent_pids(), "it has a workload"
                await engine.stop(f"m{number}", 5)
                async with asyncio.timeout(10):
                    while "plain" in engine.parent_pids():  # noqa: ASYNC110 - a process goes
                        await asyncio.sleep(0.02)
            assert "often" in engine.parent_pids()
        finally:
            await engine.close()

    asyncio.run(story())


@linux_only
def test_ps_shows_what_a_process_is_for(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, _told: Told) -> None:
        placement = await engine.start(houses.model("my-endpoint"))
        await seen(engine, "my-endpoint", "0")
        command = houses.proc(placement.pid, "cmdline").rstrip(b"\0")
        assert command == b"stagedoor: model my-endpoint"
        parent = engine.parent_pids()["plain"]
        assert houses.proc(parent, "cmdline").rstrip(b"\0") == b"stagedoor: warm plain"

    run(tmp_path, story)


def test_much_output_is_neither_lost_nor_piled_up(tmp_path: Path) -> None:
    lines = 32 * 1024  # 32 MiB
    received: list[int] = []

    async def take_slowly(_workload_id: str, data: bytes) -> None:
        received.append(len(data))
        await asyncio.sleep(0)

    async def story() -> None:
        engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime(path=(houses.PROBES,))})
        told = Told()
        await engine.open(take_slowly, told.on_exit)
        try:
            placement = await engine.start(houses.model("m", "flood", lines=lines))
            channel = await Channel.open(placement.address, 40)
            assert (await channel.call({}, b"x", 20))[1] == b"x"
            await engine.stop("m", 5)
        finally:
            await engine.close()

    asyncio.run(story())
    assert sum(received) == lines * 1024 + len("loaded\n")
    assert max(received) <= 64 * 1024


def test_a_listener_that_does_not_take_output_holds_the_writer(tmp_path: Path) -> None:
    async def story() -> None:
        engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime(path=(houses.PROBES,))})
        taken = asyncio.Event()
        pieces: list[bytes] = []

        async def hold(_workload_id: str, data: bytes) -> None:
            pieces.append(data)
            await taken.wait()

        await engine.open(hold, Told().on_exit)
        try:
            placement = await engine.start(houses.model("m", "flood", lines=1024))
            opening = asyncio.ensure_future(Channel.open(placement.address, 40))
            done, _ = await asyncio.wait([opening], timeout=0.5)
            assert not done  # it cannot get on: its output is not taken
            assert len(pieces) == 1
            taken.set()
            (await opening).close()
            await engine.stop("m", 5)  # by then all of it is read
            assert sum(map(len, pieces)) >= 1024 * 1024
        finally:
            await engine.close()

    asyncio.run(story())


def test_a_runtime_that_cannot_be_imported_says_which_module(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, _told: Told) -> None:
        workload = Workload("m", "model", "broken", {"algorithm": "probes.serving"})
        with pytest.raises(
            EngineError,
            match=r"runtime broken cannot be started.*No module named 'no_such_library'. Install it so",
        ):
            await engine.start(workload)
        with pytest.raises(EngineError, match="runtime missing cannot be started"):
            await engine.start(Workload("n", "model", "missing", {}))
        with pytest.raises(EngineError, match="there is no runtime 'unheard'"):
            await engine.start(Workload("o", "model", "unheard", {}))
        assert await engine.list() == []
        await engine.start(houses.model("fine"))

    run(
        tmp_path,
        story,
        broken=Runtime(modules=("no_such_library",), hint="Install it so"),
        missing=Runtime(python=tmp_path / "no" / "python"),
    )


@linux_only
def test_memory_beyond_the_limit_ends_the_workload(tmp_path: Path) -> None:
    mebibyte = 2**20

    async def story(engine: LocalEngine, told: Told) -> None:
        for workload_id, size, hold_s in (
            ("small", 16 * mebibyte, 0),
            ("large", 128 * mebibyte, 600),
            ("huge", 4096 * mebibyte, 600),
        ):
            spec = houses.job(workload_id, "take_memory", options={"bytes": size, "hold_s": hold_s}).spec
            await engine.start(Workload(workload_id, "job", "plain", spec, memory_limit_bytes=64 * mebibyte))
        threads = houses.job("threads", "many_threads").spec
        await engine.start(Workload("threads", "job", "plain", threads, memory_limit_bytes=64 * mebibyte))
        assert await told.exit_of("small") == 0
        assert await told.exit_of("large") == -9
        assert await told.exit_of("huge") == 1
        assert "MemoryError" in told.text("huge")
        assert await told.exit_of("threads") == 0

    run(tmp_path, story)


def test_forked_siblings_draw_different_numbers(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        for number in range(3):
            await engine.start(houses.job(f"j{number}", "numbers"))
        for number in range(3):
            assert await told.exit_of(f"j{number}") == 0
        assert len({told.text(f"j{number}") for number in range(3)}) == 3

    run(tmp_path, story)


def test_a_start_whose_caller_gives_up_can_still_be_stopped(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        starting = asyncio.ensure_future(engine.start(houses.model("m")))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await engine.stop("m", 5)
        assert (await engine.inspect("m")).state == "unknown"
        assert len(told.exits) == 1

    run(tmp_path, story)


def test_memory_is_told_per_process(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, _told: Told) -> None:
        await engine.start(houses.model("m"))
        await seen(engine, "m", "0")
        found = await asyncio.to_thread(process_memory.of_server, os.getpid())
        assert (found[0].pid, found[0].name) == (os.getpid(), "server")
        sizes = {each.name: each.size_bytes for each in found}
        assert 100_000 < sizes["model m"] < 200_000_000
        assert 100_000 < sizes["warm plain"] < 200_000_000
        kinds = {each.measure for each in found}
        assert kinds <= ({"PSS", "own"} if sys.platform == "linux" else {"RSS"})

    run(tmp_path, story)


@linux_only
def test_parents_have_one_thread_so_that_forks_are_safe(tmp_path: Path) -> None:
    """The server may have as many as it likes: parents are programs of their own."""
    pytest.importorskip("xgboost")
    idle = threading.Event()
    threading.Thread(target=idle.wait, daemon=True).start()

    async def story(engine: LocalEngine, _told: Told) -> None:
        for runtime in ("xgboost", "python"):
            workload = Workload(
                runtime, "model", runtime, {"algorithm": "probes.serving", "options": {}}, threads=2
            )
            await engine.start(workload)
            parent = engine.parent_pids()[runtime]
            assert houses.count(f"/proc/{parent}/task") == 1
        assert await seen(engine, "xgboost", "'xgboost' in __import__('sys').modules") is True
        assert await seen(engine, "xgboost", "'pandas' in __import__('sys').modules") is False
        fitted = await seen(
            engine,
            "xgboost",
            "(lambda x, n: x.train({'nthread': 2}, x.DMatrix(n.arange(2000.).reshape(-1, 2), n.arange(1000.)), 2).num_boosted_rounds())"
            "(__import__('xgboost'), __import__('numpy'))",
        )
        assert fitted == 2
        assert await seen(engine, "python", "'boto3' in __import__('sys').modules") is True

    from stagedoor.engine.runtimes import default_runtimes

    warm = {
        name: Runtime(modules=runtime.modules, hidden_modules=runtime.hidden_modules, path=(houses.PROBES,))
        for name, runtime in default_runtimes().items()
    }
    run(tmp_path, story, **warm)
    idle.set()


def test_threads_are_set_in_libraries_that_were_loaded_before(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    if sys.platform != "linux":
        pytest.skip("libraries are found by Linux's means")

    async def story(engine: LocalEngine, _told: Told) -> None:
        await engine.start(
            Workload("m", "model", "xgb", {"algorithm": "probes.serving", "options": {}}, threads=5)
        )
        library = "next(line.split()[5] for line in open('/proc/self/maps') if 'libgomp' in line and line.rstrip()[-1] != 'x')"
        assert await seen(engine, "m", f"__import__('ctypes').CDLL({library}).omp_get_max_threads()") == 5

    run(tmp_path, story, xgb=Runtime(modules=("xgboost",), hidden_modules=("pandas",), path=(houses.PROBES,)))


def test_a_worker_that_dies_while_loading_fails_the_open_at_once(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        placement = await engine.start(houses.model("m", "die"))
        with pytest.raises(WorkerFailedError, match="before it was ready"):
            await Channel.open(placement.address, 20)
        assert await told.exit_of("m") == -9
        await engine.start(houses.model("n", "exit"))
        assert await told.exit_of("n") == 5

    run(tmp_path, story)


def test_a_listener_that_fails_does_not_hold_a_stop(tmp_path: Path) -> None:
    async def story() -> None:
        engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime(path=(houses.PROBES,))})
        failures: list[object] = []
        exited = asyncio.Event()

        def fail(*told: object) -> None:
            failures.append(told)
            if len(told) == 2 and told[1] == 0:
                exited.set()
            raise RuntimeError("a listener's own mistake")

        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
        await engine.open(fail, fail)
        try:
            async with asyncio.timeout(20):
                await engine.start(houses.job("j", "succeed"))
                await exited.wait()
                await engine.stop("j", 5)
            assert (await engine.inspect("j")).state == "unknown"
        finally:
            await engine.close()
        assert len(failures) > 2

    asyncio.run(story())


def test_closing_does_not_wait_for_imports(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(3600)\n")
    refused: list[str] = []

    async def story(engine: LocalEngine, _told: Told) -> None:
        async def start() -> None:
            try:
                await engine.start(Workload("m", "model", "slow", {"algorithm": "probes.serving"}))
            except EngineError as error:
                refused.append(str(error))

        starting.append(asyncio.ensure_future(start()))
        await asyncio.sleep(0.1)

    starting: list[asyncio.Future[None]] = []
    run(tmp_path, story, slow=Runtime(modules=("endless",), path=(tmp_path,)))
    assert "closing" in refused[0]


def test_large_specs_arrive_whole(tmp_path: Path) -> None:
    async def story(engine: LocalEngine, told: Told) -> None:
        def start(number: int) -> Awaitable[object]:
            options = {"code": 7, "padding": "x" * 1_000_000}
            return engine.start(houses.job(f"j{number}", "exit_with", options=options))

        await asyncio.gather(*(start(number) for number in range(8)))
        for number in range(8):
            assert await told.exit_of(f"j{number}") == 7

    run(tmp_path, story)


def test_a_closed_engine_starts_nothing(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime()})

    async def story(_engine: LocalEngine, _told: Told) -> None:
        pass

    houses.run(engine, lambda _, told: story(engine, told))
    with pytest.raises(EngineError, match="not open"):
        asyncio.run(engine.start(houses.model("m")))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_an_algorithm_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, start: Literal["fork", "spawn"]
) -> None:
    missing = replace(default_runtimes()["kmeans"], modules=("no_such_library",), start=start)

    async def story(engine: LocalEngine, told: Told) -> None:
        for name in ("kmeans", "pca"):  # which share a parent
            with pytest.raises(EngineError) as refusal:
                await engine.start(Workload(name, "job", name, houses.job("j", "finish").spec))
            assert "No module named 'no_such_library'" in str(refusal.value)
            assert str(refusal.value).endswith(
                "Install the algorithms with: pip install 'stagedoor[algorithms]'"
            )

    run(tmp_path, story, kmeans=missing, pca=missing)


def test_parents_that_are_seldom_needed_start_with_their_first_workload(tmp_path: Path) -> None:
    seldom = Runtime(path=(houses.PROBES,), warm_up="when needed")

    async def story(engine: LocalEngine, told: Told) -> None:
        await engine.start(houses.model("m"))
        assert set(engine.parent_pids()) == {"plain"}
        await engine.start(replace(houses.model("one"), runtime="seldom"))
        await engine.start(replace(houses.model("two"), runtime="rare"))
        pids = engine.parent_pids()
        assert pids["seldom"] == pids["rare"] != pids["plain"]

    run(tmp_path, story, seldom=seldom, rare=seldom)
