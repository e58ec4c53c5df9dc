"""The function reconciler with the fake engine: what it starts with what, and what becomes of starts that fail."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from services.lambda_house import ACCOUNT, REGION, LambdaHouse, until

from stagedoor.domain.clock import ManualClock
from stagedoor.domain.errors import AwsError
from stagedoor.engine.fake import Behaviour, FakeEngine
from stagedoor.engine.interface import Workload
from stagedoor.worker.specs import INIT_OUTPUT_END, output_end

SOURCE = "def handler(event, context):\n    return event\n"


class Stage:
    """A house on a fake engine whose functions answer with the name of their worker."""

    def __init__(self, root: Path, **behaviour: Any) -> None:
        self.behaviour = behaviour
        self.clock = ManualClock(1_714_566_000.0)
        self.engine = FakeEngine(root / "scratch", self._behave)
        self.house = LambdaHouse(root, self.engine, self.clock)

    def _behave(self, workload: Workload) -> Behaviour:
        async def answer(meta: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
            await self.engine.print(workload.id, output_end(meta["request_id"]))
            return {}, f'"{workload.id}"'.encode()

        return Behaviour(**{"output": INIT_OUTPUT_END, "answer": answer, **self.behaviour})


def run(root: Path, story: Callable[[Stage], Awaitable[None]], **behaviour: Any) -> None:
    async def whole() -> None:
        stage = Stage(root, **behaviour)
        await stage.house.open()
        try:
            async with asyncio.timeout(30):
                await stage.house.function(
                    "f", SOURCE, Environment={"Variables": {"STAGE": "test"}}, MemorySize=256
                )
                await story(stage)
        finally:
            await stage.house.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


def test_a_worker_is_started_with_the_functions_package_role_and_variables(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.house.invoke("f")
        (workload,) = stage.engine.started
        assert (workload.kind, workload.runtime, workload.memory_limit_bytes) == (
            "function",
            "python",
            256 << 20,
        )
        spec = dict(workload.spec)
        assert spec.pop("log_stream_name").startswith("2024/05/01/[$LATEST]")
        package = workload.files[spec["package"]]
        assert package.parent == stage.house.settings.data / "functions"
        assert spec == {
            "function_name": "f",
            "function_version": "$LATEST",
            "function_arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
            "handler": "app.handler",
            "package": spec["package"],
            "memory_limit_mb": 256,
            "log_group_name": "/aws/lambda/f",
        }
        assert workload.environment["STAGE"] == "test"
        assert workload.environment["AWS_REGION"] == REGION
        assert workload.environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")

    run(tmp_path, story)


def test_a_workload_that_cannot_be_started_is_the_answer(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        answer = await stage.house.invoke("f")
        assert answer["FunctionError"] == "Unhandled"
        assert "no more processes" in answer["Payload"]["errorMessage"]
        assert stage.house.pools.workers == []

    run(tmp_path, story, refused="no more processes")


def test_a_worker_that_never_loads_fails_every_waiting_event_once(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        answers = await asyncio.gather(*(stage.house.invoke("f") for _ in range(3)))
        assert {answer["FunctionError"] for answer in answers} == {"Unhandled"}
        await until(lambda: not stage.house.pools.workers)
        started = len(stage.engine.started)
        await asyncio.sleep(0.05)
        assert len(stage.engine.started) == started, "nothing is started that nobody waits for"

    run(tmp_path, story, fails_at_load="broken", output=INIT_OUTPUT_END)


def test_a_worker_that_dies_of_a_signal_is_an_exit_error(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        answer = await stage.house.invoke("f")
        assert answer["Payload"]["errorType"] == "Runtime.ExitError"
        assert "signal: segmentation fault" in answer["Payload"]["errorMessage"]

    run(tmp_path, story, crashes_on_call=True)


def test_who_waits_while_the_code_changes_is_served_by_the_new_code(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        waiting = asyncio.ensure_future(stage.house.invoke("f"))
        await until(lambda: len(stage.engine.started) == 1)
        stage.behaviour["ready_after_s"] = 0.0
        await stage.house.ask("lambda", "UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
        answer = await waiting
        assert answer["Payload"] == stage.engine.started[1].id
        await until(
            lambda: [worker.id for worker in stage.house.pools.workers] == [stage.engine.started[1].id]
        )

    run(tmp_path, story, ready_after_s=0.3)


def test_who_waits_while_the_function_is_deleted_is_told(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        waiting = asyncio.ensure_future(stage.house.invoke("f"))
        await until(lambda: len(stage.engine.started) == 1)
        await stage.house.ask("lambda", "DeleteFunction", FunctionName="f")
        with pytest.raises(AwsError, match="Function not found"):
            await waiting
        await until(lambda: not stage.house.pools.workers)

    run(tmp_path, story, ready_after_s=0.2)


def test_a_worker_is_replaced_before_its_credentials_expire(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        first = await stage.house.invoke("f")
        stage.house.pools.workers[0].since = 1e9  # never idle for too long
        stage.clock.advance(12 * 3600 - 600)
        stage.house.loop.wake()
        await until(lambda: not stage.house.pools.workers)
        assert (await stage.house.invoke("f"))["Payload"] != first["Payload"]

    run(tmp_path, story)


def test_an_idle_worker_that_crashes_is_taken_away(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.house.invoke("f")
        await stage.engine.crash(stage.engine.started[0].id, -signal.SIGKILL)
        await until(lambda: not stage.house.pools.workers)
        assert await stage.engine.list() == []

    run(tmp_path, story)


def test_packages_that_no_function_names_are_removed(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        folder = stage.house.settings.data / "functions"
        await until(lambda: len(list(folder.iterdir())) == 1)
        (kept,) = folder.iterdir()

        async def sweep(number: int) -> None:
            orphan = folder / f"{number:02}.zip"
            orphan.write_bytes(b"x")
            os.utime(orphan, (0, 0))
            stage.clock.advance(3601)
            await until(lambda: stage.house.loop.wake() is None and not orphan.exists())

        # The first may be the one of the start, which looked before the function was there; the second has looked after it.
        await sweep(1)
        await sweep(2)
        os.utime(kept, (0, 0))
        await sweep(3)
        assert kept.exists()

    run(tmp_path, story)


def test_shutting_down_while_a_worker_starts_leaves_nobody_waiting(tmp_path: Path) -> None:
    waiting: list[asyncio.Future[Any]] = []

    async def story(stage: Stage) -> None:
        waiting.append(asyncio.ensure_future(stage.house.invoke("f")))
        await until(lambda: len(stage.engine.started) == 1)

    run(tmp_path, story, ready_after_s=60)
    assert waiting[0].done()
