"""The endpoints' reconciler with the shipped fake engine: real records, real sockets, real frames, no processes."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stagedoor.domain.clock import SystemClock
from stagedoor.engine.fake import Behaviour, FakeEngine
from stagedoor.engine.interface import Workload
from stagedoor.reconcile.endpoints import act
from stagedoor.reconcile.endpoints.act import EndpointReconciler
from stagedoor.reconcile.endpoints.plan import Route
from stagedoor.reconcile.loop import Loop
from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.log_events import LogEvents
from stagedoor.store.object_rows import Bucket, ObjectRows
from stagedoor.store.records import Document, Key, SqliteRecords
from stagedoor.traffic.channel import CallTimeoutError, Channel, ChannelLostError
from stagedoor.traffic.endpoint_routes import (
    EndpointKey,
    EndpointRoutes,
    StartFailedError,
    UnknownEndpointError,
    VariantRoute,
)
from stagedoor.traffic.log_writer import LogWriter

ACCOUNT, REGION = "000000000000", "us-east-1"
KEY = Key("sagemaker.endpoint", ACCOUNT, REGION, "words")
ROUTE = EndpointKey(ACCOUNT, REGION, "Words")
GROUP = "/aws/sagemaker/Endpoints/Words"


class MovableClock(SystemClock):
    """The time, and how far a test has moved it."""

    moved_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.moved_s


class Scene:
    """One server's worth of everything that endpoints need; ``restart`` is what a kill leaves behind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = SqliteRecords(root / "state.sqlite")
        self.contents = Contents(root / "contents")
        self.objects = ObjectRows(root / "objects.sqlite", self.contents)
        self.log_events = LogEvents(root / "logs.sqlite")
        self.objects.create_bucket(Bucket("models", ACCOUNT, REGION, 1.0))
        self.artifact = self.upload(b"archive")
        self.behaviour: Callable[[Workload], Behaviour] = lambda _: Behaviour()
        self.boots = 0
        self.idle_s = 0.0

    def upload(self, data: bytes) -> dict[str, Any]:
        row = objects_io.put_bytes(self.objects, self.contents, "models", "model.tar.gz", data, now=1.0)
        return {
            "bucket": "models",
            "key": "model.tar.gz",
            "versionId": row.version_id,
            "sequence": row.sequence,
            "etag": row.etag,
            "sizeBytes": row.size_bytes,
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    async def boot(self) -> None:
        """Start the server; ``idle_s`` as it is then."""
        self.boots += 1
        self.engine = FakeEngine(self.root / f"scratch{self.boots}", self._behave)
        self.routes = EndpointRoutes()
        self.clock = clock = MovableClock()
        self.logs = WorkerLogs(LogWriter(self.log_events), clock)
        files = ModelFiles(self.root / "models", self.objects, self.contents)
        self.reconciler = EndpointReconciler(
            self.records,
            self.engine,
            self.routes,
            self.logs,
            files,
            clock,
            start_timeout_s=5.0,
            invoke_timeout_s=5.0,
            idle_s=self.idle_s,
        )
        self.loop = Loop(self.reconciler, self.records)
        self.reconciler.wake = self.loop.wake
        await self.engine.open(self.logs.output, self.reconciler.worker_exited)
        self.loop.start()

    def _behave(self, workload: Workload) -> Behaviour:
        return self.behaviour(workload)

    async def halt(self) -> None:
        await self.loop.close()
        await self.engine.close()

    async def restart(self) -> None:
        await self.halt()
        await self.boot()

    def pass_time(self, seconds: float) -> None:
        """It is later now."""
        self.clock.moved_s += seconds
        self.loop.wake()

    # Records, as the operations write them

    def fleet(self, generation: int, **counts: int) -> Document:
        variants = [
            {
                "name": name,
                "weight": 1.0,
                "count": count,
                "modelName": f"model{generation}",
                "algorithm": "xgboost",
                "environment": {"A": "1"},
                "artifact": self.artifact,
                "startTimeoutS": None,
            }
            for name, count in (counts or {"AllTraffic": 1}).items()
        ]
        return {
            "generation": generation,
            "configName": f"config{generation}",
            "resolved": 1.0,
            "variants": variants,
        }

    def write(self, **changes: Any) -> None:
        with self.records.transaction() as transaction:
            record = transaction.get(KEY)
            transaction.put(KEY, (record.document if record else {}) | changes)

    def create(self, fleet: Document | None = None) -> None:
        self.write(
            EndpointName="Words",
            EndpointArn="arn:aws:sagemaker:us-east-1:000000000000:endpoint/words",
            EndpointStatus="Creating",
            CreationTime=1.0,
            LastModifiedTime=1.0,
            coming=fleet or self.fleet(1),
            comingSince=1.0,
        )

    def update(self, fleet: Document) -> None:
        self.write(EndpointStatus="Updating", coming=fleet, comingSince=2.0)

    def delete(self) -> None:
        self.write(EndpointStatus="Deleting")

    @property
    def document(self) -> Document | None:
        record = self.records.get(KEY)
        return record.document if record else None

    @property
    def status(self) -> str:
        document = self.document
        return document["EndpointStatus"] if document else "gone"

    async def reaches(self, status: str) -> None:
        await eventually(lambda: self.status == status)

    # Invocations

    async def invoke(
        self, body: bytes = b"hello", variant: str | None = None, timeout_s: float = 5.0
    ) -> bytes:
        choice = await self.routes.choose(ROUTE, variant, 5.0)
        _, answer = await choice.channel.call({}, body, timeout_s)
        return answer

    def messages(self) -> list[tuple[str, str]]:
        group = self.log_events.group(ACCOUNT, REGION, GROUP)
        return [(event.stream, event.message) for event in self.log_events.read(group)] if group else []


def routed(scene: Scene) -> tuple[Route, ...]:
    return scene.reconciler._endpoints[KEY].routes or ()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the conditions are about records and processes, not one event
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(root: Path) -> AsyncIterator[Scene]:
    scene = Scene(root)
    await scene.boot()
    try:
        yield scene
    finally:
        await scene.halt()
        scene.objects.close()
        scene.records.close()
        scene.log_events.close()


def play(root: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running(root) as scene:
            await story(scene)

    asyncio.run(main())


def idle(root: Path, story: Callable[[Scene], Awaitable[None]], *, idle_s: float) -> None:
    async def resting(scene: Scene) -> None:
        scene.idle_s = idle_s
        await scene.restart()
        await story(scene)

    play(root, resting)


def says(text: bytes, **more: Any) -> Behaviour:
    def answer(meta: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        return {}, text

    return Behaviour(answer=answer, **more)


def by_model(**behaviours: Behaviour) -> Callable[[Workload], Behaviour]:
    return lambda workload: behaviours.get(str(workload.spec["name"]), Behaviour())


def test_a_new_endpoint_comes_into_service_and_answers(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create(scene.fleet(1, A=2, B=1))
        await scene.reaches("InService")
        assert await scene.invoke(b"abc") == b"abc"
        assert len(scene.engine.started) == 3
        workload = scene.engine.started[0]
        assert workload.spec == {
            "algorithm": "xgboost_serving",
            "name": "model1",
            "model_archive": "model.tar.gz",
        }
        assert workload.environment == {"A": "1"}
        assert workload.files["model.tar.gz"].read_bytes() == b"archive"
        assert scene.document is not None
        assert scene.document["EndpointConfigName"] == "config1"
        assert scene.document["LastModifiedTime"] > 1.0
        assert "coming" not in scene.document

    play(tmp_path, story)


def test_invocations_before_service_find_no_endpoint(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: Behaviour(ready_after_s=0.3)
        scene.create()
        await eventually(lambda: bool(scene.engine.started))
        with pytest.raises(UnknownEndpointError):
            await scene.invoke()
        await scene.reaches("InService")
        assert await scene.invoke() == b"hello"

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(fails_at_load="ModelFileError: no model"), "did not pass the ping health check"),
        (Behaviour(fails_at_load="ModelFileError: no model"), "Reason: ModelFileError: no model"),
        (Behaviour(fails_at_load="ArchiveError: not a tar"), "Failed to extract model data archive"),
        (Behaviour(refused="no runtime xgboost"), "Reason: no runtime xgboost"),
        (Behaviour(ready_after_s=60, exits_after_s=0.0, exit_code=3), "did not pass the ping health check"),
    ],
)
def test_a_model_that_does_not_come_up_fails_the_endpoint_with_its_reason(
    tmp_path: Path, behaviour: Behaviour, reason: str
) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: behaviour
        scene.create()
        if behaviour.exits_after_s is not None:
            await eventually(lambda: bool(scene.engine.started))
            await scene.engine.print(scene.engine.started[0].id, b"Segmentation fault\n")
            await scene.engine.crash(scene.engine.started[0].id, -11)
        await scene.reaches("Failed")
        assert scene.document is not None
        assert reason in scene.document["FailureReason"]
        if behaviour.exits_after_s is not None:
            assert "by signal 11" in scene.document["FailureReason"]
            assert "Segmentation fault" in scene.document["FailureReason"]
        assert await scene.engine.list() == []
        assert any(reason in message for _, message in scene.messages())
        scene.delete()
        await scene.reaches("gone")

    play(tmp_path, story)


def test_model_data_that_is_gone_or_replaced_fails_the_endpoint(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.upload(b"another archive")
        scene.create()
        await scene.reaches("Failed")
        assert scene.document is not None
        assert "was replaced after CreateModel" in scene.document["FailureReason"]
        scene.delete()
        await scene.reaches("gone")
        scene.objects.delete("models", "model.tar.gz", now=2.0)
        scene.create()
        await scene.reaches("Failed")
        assert "Failed to download model data" in scene.document["FailureReason"]
        assert scene.engine.started == []

    play(tmp_path, story)


def test_what_workers_print_is_in_the_log_of_their_instance(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: Behaviour(output=b"loaded\n")
        scene.create()
        await scene.reaches("InService")
        await scene.logs.drained()
        ((stream, message),) = scene.messages()
        assert message == "loaded"
        assert stream.startswith("AllTraffic/i-")

    play(tmp_path, story)


def test_an_update_switches_to_the_new_fleet_and_stops_the_old_one(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = by_model(model1=says(b"old"), model2=says(b"new", ready_after_s=0.2))
        scene.create()
        await scene.reaches("InService")
        scene.update(scene.fleet(2, AllTraffic=2))
        seen: list[bytes] = []
        while scene.status == "Updating":
            seen.append(await scene.invoke())
        assert seen[0] == b"old"
        assert seen == sorted(seen, reverse=True), "an old answer after a new one"
        assert [await scene.invoke() for _ in range(4)] == [b"new"] * 4
        await eventually(lambda: len(scene.reconciler._workers) == 2)
        assert scene.document is not None
        assert scene.document["EndpointConfigName"] == "config2"

    play(tmp_path, story)


def test_calls_in_flight_are_finished_before_the_old_fleet_stops(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def slow(_meta: Mapping[str, Any], _body: bytes) -> tuple[Mapping[str, Any], bytes]:
        await release.wait()
        return {}, b"old"

    async def story(scene: Scene) -> None:
        scene.behaviour = by_model(model1=Behaviour(answer=slow), model2=says(b"new"))
        scene.create()
        await scene.reaches("InService")
        call = asyncio.ensure_future(scene.invoke())
        await asyncio.sleep(0)
        scene.update(scene.fleet(2))
        await scene.reaches("InService")
        assert await scene.invoke() == b"new"
        release.set()
        assert await call == b"old"
        await eventually(lambda: len(scene.reconciler._workers) == 1)

    play(tmp_path, story)


def test_a_failed_update_leaves_the_old_fleet_and_says_why(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = by_model(model1=says(b"old"), model2=Behaviour(fails_at_load="broken"))
        scene.create()
        await scene.reaches("InService")
        scene.update(scene.fleet(2, AllTraffic=2))
        await scene.reaches("InService")
        assert scene.document is not None
        assert "broken" in scene.document["FailureReason"]
        assert scene.document["EndpointConfigName"] == "config1"
        assert await scene.invoke() == b"old"
        await eventually(lambda: len(scene.reconciler._workers) == 1)
        scene.behaviour = by_model(model1=says(b"old"), model3=says(b"newer"))
        scene.update(scene.fleet(3))
        await scene.reaches("InService")
        assert await scene.invoke() == b"newer"
        assert "FailureReason" not in scene.document

    play(tmp_path, story)


def test_more_and_fewer_workers_keep_those_that_run(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        first = set(scene.reconciler._workers)
        scene.update(scene.fleet(1, AllTraffic=3))
        await scene.reaches("InService")
        assert first < set(scene.reconciler._workers)
        assert len(scene.reconciler._workers) == 3
        scene.update(scene.fleet(1, AllTraffic=1))
        await scene.reaches("InService")
        await eventually(lambda: set(scene.reconciler._workers) == first)

    play(tmp_path, story)


def test_a_failed_resize_can_be_tried_again(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        scene.behaviour = lambda _: Behaviour(fails_at_load="no room")
        scene.update(scene.fleet(1, AllTraffic=2))
        await scene.reaches("InService")
        assert scene.document is not None
        assert "no room" in scene.document["FailureReason"]
        scene.behaviour = lambda _: Behaviour()
        scene.update(scene.fleet(1, AllTraffic=2))
        await scene.reaches("InService")
        assert "FailureReason" not in scene.document
        assert len(scene.reconciler._workers) == 2

    play(tmp_path, story)


def test_a_crashed_worker_is_replaced_while_the_others_serve(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create(scene.fleet(1, AllTraffic=2))
        await scene.reaches("InService")
        victim = scene.engine.started[0].id
        await scene.engine.crash(victim)
        await eventually(lambda: victim not in {w for route in routed(scene) for w in route.worker_ids})
        assert [await scene.invoke(b"x") for _ in range(20)] == [b"x"] * 20
        await eventually(lambda: len(scene.engine.started) == 3)
        await eventually(lambda: all(len(route.channels) == 2 for route in scene.routes.routes(ROUTE) or ()))
        assert victim not in scene.reconciler._workers
        assert scene.status == "InService"

    play(tmp_path, story)


def test_the_request_that_killed_its_worker_fails_and_the_next_waits_for_the_replacement(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: Behaviour(crashes_on_call=not scene.reconciler._endpoints[KEY].attempts)
        scene.create()
        await scene.reaches("InService")
        with pytest.raises(ChannelLostError):
            await scene.invoke()
        assert await scene.invoke(b"again") == b"again"

    play(tmp_path, story)


def test_a_worker_that_does_not_answer_in_time_is_replaced(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: Behaviour(hangs_on_call=not scene.reconciler._endpoints[KEY].attempts)
        scene.create()
        await scene.reaches("InService")
        choice = await scene.routes.choose(ROUTE, None, 1.0)
        with pytest.raises(CallTimeoutError):
            await choice.channel.call({}, b"", 0.05)
        scene.routes.report_unresponsive(choice.channel)
        assert await scene.invoke(b"again") == b"again"

    play(tmp_path, story)


def test_an_idle_worker_that_hangs_is_found_and_replaced(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(act, "_PING_EVERY_S", 0.05)
    monkeypatch.setattr(act, "_PING_TIMEOUT_S", 0.05)

    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: Behaviour(hangs_on_call=not scene.reconciler._endpoints[KEY].attempts)
        scene.create()
        await scene.reaches("InService")
        await eventually(lambda: len(scene.engine.started) == 2)
        assert await scene.invoke(b"again") == b"again"

    play(tmp_path, story)


def test_a_worker_that_keeps_crashing_is_started_ever_more_slowly(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(act, "_FIRST_PAUSE_S", 0.01)

    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        scene.behaviour = lambda _: Behaviour(fails_at_load="broken disk")
        await scene.engine.crash(scene.engine.started[0].id)
        await eventually(lambda: len(scene.engine.started) >= 4)
        (slot,) = scene.reconciler._endpoints[KEY].attempts
        assert scene.reconciler._endpoints[KEY].attempts[slot] >= 3
        assert scene.status == "InService"
        assert "broken disk" in str(scene.document and scene.document["startFailure"])
        with pytest.raises(StartFailedError, match="broken disk"):
            await scene.invoke()
        scene.behaviour = lambda _: Behaviour()
        await eventually(lambda: any(route.worker_ids for route in routed(scene)))
        assert await scene.invoke(b"back") == b"back"
        await eventually(lambda: "startFailure" not in (scene.document or {}))

    play(tmp_path, story)


def test_a_deleted_endpoint_leaves_no_worker_and_no_record(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create(scene.fleet(1, A=1, B=2))
        await scene.reaches("InService")
        with scene.records.transaction() as transaction:
            tags = Key("sagemaker.tags", ACCOUNT, REGION, "endpoint/words")
            transaction.put(tags, {"Tags": []})
        scene.delete()
        await scene.reaches("gone")
        assert await scene.engine.list() == []
        assert scene.records.get(tags) is None
        with pytest.raises(UnknownEndpointError):
            await scene.invoke()

    play(tmp_path, story)


def test_an_endpoint_is_deleted_while_its_workers_start(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.behaviour = lambda _: Behaviour(ready_after_s=60)
        scene.create()
        await eventually(lambda: bool(scene.engine.started))
        scene.delete()
        await scene.reaches("gone")
        assert await scene.engine.list() == []

    play(tmp_path, story)


def test_after_a_restart_invocations_wait_for_the_first_worker(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        modified = scene.document["LastModifiedTime"] if scene.document else 0
        scene.objects.delete("models", "model.tar.gz", now=2.0)  # the copy is still there
        scene.behaviour = lambda _: Behaviour(ready_after_s=0.1)
        await scene.restart()
        assert await scene.invoke(b"back") == b"back"
        assert scene.status == "InService"
        assert scene.document is not None
        assert scene.document["LastModifiedTime"] == modified

    play(tmp_path, story)


@pytest.mark.parametrize("status", ["Creating", "Updating", "Deleting"])
def test_whatever_was_under_way_when_the_server_died_is_finished_by_the_next(
    tmp_path: Path, status: str
) -> None:
    async def story(scene: Scene) -> None:
        if status != "Creating":
            scene.create()
            await scene.reaches("InService")
        await scene.halt()
        if status == "Creating":
            scene.create()
        elif status == "Updating":
            scene.update(scene.fleet(2))
        else:
            scene.delete()
        await scene.boot()
        await scene.reaches("gone" if status == "Deleting" else "InService")
        if status != "Deleting":
            assert await scene.invoke() == b"hello"

    play(tmp_path, story)


# Endpoints that nobody uses -----------------------------------------------------------------------------------------


async def rests(scene: Scene) -> None:
    """Nobody uses the endpoint for as long as it takes."""
    await eventually(lambda: any(route.worker_ids for route in routed(scene)))
    async with asyncio.timeout(10):
        while await scene.engine.list() or routed(scene) != (Route("AllTraffic", 1.0, ()),):
            scene.pass_time(scene.idle_s)
            await asyncio.sleep(0.01)


def test_an_endpoint_that_nobody_uses_gives_its_workers_back_and_the_next_request_wakes_it(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        scene.create(scene.fleet(1, AllTraffic=2))
        await scene.reaches("InService")
        modified = scene.document["LastModifiedTime"] if scene.document else 0
        for _ in range(3):
            await rests(scene)
            assert scene.status == "InService"
            assert await asyncio.gather(*(scene.invoke(b"x") for _ in range(30))) == [b"x"] * 30
            await eventually(lambda: sum(len(route.worker_ids) for route in routed(scene)) == 2)
        assert len(scene.engine.started) == 8, "each time one set of workers"
        assert scene.document is not None
        assert scene.document["LastModifiedTime"] == modified

    idle(tmp_path, story, idle_s=60)


def test_an_endpoint_in_use_keeps_its_workers(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def slow(_meta: Mapping[str, Any], _body: bytes) -> tuple[Mapping[str, Any], bytes]:
        await release.wait()
        return {}, b"slow"

    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        for _ in range(6):
            scene.pass_time(40)
            await scene.invoke()
        assert len(scene.engine.started) == 1
        scene.behaviour = lambda _: Behaviour(answer=slow)
        scene.update(scene.fleet(2))
        await scene.reaches("InService")
        call = asyncio.ensure_future(scene.invoke())
        for _ in range(3):
            await asyncio.sleep(0.01)
            scene.pass_time(0.5)
        release.set()
        assert await call == b"slow"
        assert len(scene.engine.started) == 2

    idle(tmp_path, story, idle_s=60)


def test_who_reaches_a_worker_by_another_connection_keeps_it_too(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        (placement,) = await scene.engine.list()
        channel = await Channel.open(placement.address, 5.0)
        (worker,) = scene.reconciler._workers.values()
        for count in range(1, 7):
            await channel.call({}, b"", 5.0)
            scene.pass_time(40)
            await eventually(lambda count=count: worker.calls_by_others == count)
        assert await scene.engine.list() == [placement]
        channel.close()
        await rests(scene)

    idle(tmp_path, story, idle_s=60)


def test_a_worker_that_others_have_not_let_go_yet_does_not_wake_its_endpoint(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        (worker,) = scene.reconciler._workers.values()
        channel = worker.channel
        assert channel is not None

        def published(_key: EndpointKey, _variants: tuple[VariantRoute, ...]) -> None:
            channel.calls_elsewhere = 1  # as while a front process has not hung up

        scene.routes.follow(published)
        scene.pass_time(scene.idle_s)
        await eventually(lambda: routed(scene) == (Route("AllTraffic", 1.0, ()),))
        for _ in range(5):
            scene.pass_time(0.5)
            await asyncio.sleep(0.01)
        assert worker.phase == "draining"
        assert scene.reconciler._is_resting(scene.reconciler._endpoints[KEY])
        channel.calls_elsewhere = 0
        await eventually(lambda: not scene.reconciler._workers)
        assert len(scene.engine.started) == 1

    idle(tmp_path, story, idle_s=2)


def test_after_a_restart_endpoints_rest_until_somebody_asks(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        await scene.restart()
        await eventually(lambda: scene.routes.routes(ROUTE) is not None)
        assert scene.engine.started == []
        assert await scene.invoke(b"back") == b"back"
        assert len(scene.engine.started) == 1

    idle(tmp_path, story, idle_s=60.0)


def test_a_request_that_comes_before_the_first_look_after_a_restart_wakes_the_endpoint(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        await scene.halt()
        await scene.boot()
        assert await scene.invoke(b"early") == b"early"

    idle(tmp_path, story, idle_s=60.0)


def test_a_wake_that_fails_tells_those_who_wait_and_the_record(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        await rests(scene)
        scene.behaviour = lambda _: Behaviour(fails_at_load="no memory", ready_after_s=0.02)
        answers = await asyncio.gather(*(scene.invoke() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(each, StartFailedError) and "no memory" in str(each) for each in answers)
        await eventually(lambda: "no memory" in (scene.document or {}).get("startFailure", ""))
        assert scene.status == "InService"
        scene.behaviour = lambda _: Behaviour()
        scene.pass_time(60)
        await eventually(lambda: not scene.reconciler._workers)
        assert await scene.invoke(b"well") == b"well"
        await eventually(lambda: "startFailure" not in (scene.document or {}))

    idle(tmp_path, story, idle_s=60)


@pytest.mark.parametrize("what", ["update", "resize", "delete", "crash"])
def test_a_resting_endpoint_can_be_changed(tmp_path: Path, what: str) -> None:
    async def story(scene: Scene) -> None:
        scene.create()
        await scene.reaches("InService")
        await rests(scene)
        if what == "delete":
            scene.delete()
            await scene.reaches("gone")
            with pytest.raises(UnknownEndpointError):
                await scene.invoke()
            return
        if what == "crash":
            await scene.invoke()
            await scene.engine.crash(scene.engine.started[-1].id)
            await eventually(lambda: not any(route.worker_ids for route in routed(scene)))
        else:
            scene.update(scene.fleet(2) if what == "update" else scene.fleet(1, AllTraffic=3))
        assert await scene.invoke(b"x") == b"x"
        await scene.reaches("InService")
        await rests(scene)

    idle(tmp_path, story, idle_s=60)


def test_requests_updates_and_rests_in_any_order_lose_no_request(tmp_path: Path) -> None:
    """Everything happens at once: clients at different rates, updates, crashes, and rests as short as a worker's start."""
    random = Random(5)

    async def client(scene: Scene, number: int) -> int:
        lost = 0
        for count in range(40):
            await asyncio.sleep(random.choice([0, 0.001, 0.01, 0.03, 0.06]))
            body = f"{number}.{count}".encode()
            try:
                assert await scene.invoke(body) == body
            except ChannelLostError:
                lost += 1  # its worker was killed while it had the call
        return lost

    async def story(scene: Scene) -> None:
        scene.create(scene.fleet(1, AllTraffic=2))
        await scene.reaches("InService")
        clients = asyncio.gather(*(client(scene, number) for number in range(6)))
        kills = 0
        for generation in range(2, 8):
            await asyncio.sleep(random.random() * 0.15)
            if generation % 3 == 0 and (running := await scene.engine.list()):
                kills += 1
                await scene.engine.crash(random.choice(running).workload_id)
            scene.update(scene.fleet(generation, AllTraffic=1 + generation % 2))
            await scene.reaches("InService")
        assert sum(await clients) <= kills * 6
        await eventually(lambda: not scene.reconciler._workers)
        scene.delete()
        await scene.reaches("gone")

    idle(tmp_path, story, idle_s=0.02)
