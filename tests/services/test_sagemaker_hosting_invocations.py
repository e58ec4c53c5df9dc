"""Endpoints end to end: real worker processes, real boosters, real frames; operations called as the front calls them."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from services.hosting_house import ACCOUNT, HostingHouse, archive, model_archive, play, scores, train, variant

from stagedoor.domain.errors import AwsError
from stagedoor.engine.local import LocalEngine

ROW = [1.0, 0.0, 2.0, 0.0, 0.0, 3.0]
BODY = b"1,0,2,0,0,3"
GROUP = "/aws/sagemaker/Endpoints/e"


async def serve(house: HostingHouse, name: str = "e", count: int = 1, seed: int = 0) -> Any:
    booster = train(seed)
    house.upload(model_archive(booster))
    house.make_model(f"{name}-model")
    house.make_config(f"{name}-config", f"{name}-model", count)
    house.ask("create_endpoint", EndpointName=name, EndpointConfigName=f"{name}-config")
    await house.reaches(name, "InService")
    return booster


def number(answer: Any) -> float:
    return float(answer["Body"])


async def worker_pids(house: HostingHouse) -> list[int]:
    return [placement.pid for placement in await cast(LocalEngine, house.engine).list() if placement.pid]


def messages(house: HostingHouse) -> str:
    group = house.log_events.group(ACCOUNT, "us-east-1", GROUP)
    return "\n".join(event.message for event in house.log_events.read(group)) if group else ""


def test_an_endpoint_answers_as_its_booster_does(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        booster = await serve(house)
        answer = await house.invoke("e", BODY, ContentType="text/csv")
        assert answer["ContentType"] == "text/csv; charset=utf-8"
        assert answer["InvokedProductionVariant"] == "AllTraffic"
        assert "CustomAttributes" not in answer
        assert abs(number(answer) - scores(booster, [ROW])[0]) < 1e-6
        rows = np.random.default_rng(1).poisson(1, (50, 6)).tolist()
        bodies = [",".join(map(str, row)).encode() for row in rows]
        answers = await asyncio.gather(*(house.invoke("e", body, ContentType="text/csv") for body in bodies))
        assert np.allclose([number(each) for each in answers], scores(booster, rows), atol=1e-6)
        as_json = await house.invoke("e", BODY, ContentType="text/csv", Accept="application/json")
        assert as_json["ContentType"] == "application/json"
        assert json.loads(as_json["Body"])["predictions"][0]["score"] == pytest.approx(number(answer))
        traced = await house.invoke("e", BODY, ContentType="text/csv", CustomAttributes="trace=1")
        assert traced["CustomAttributes"] == "trace=1"
        await house.writer.drained()
        assert "Model loaded from xgboost-model" in messages(house)

    play(tmp_path, story, processes=True)


def test_refusals_of_the_model_are_model_errors_with_its_words(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        await serve(house)
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", b"1,2", ContentType="text/csv")
        error = caught.value
        assert (error.code, error.status) == ("ModelError", 424)
        assert error.message.startswith(
            'Received client error (400) from primary with message "Unable to evaluate'
        )
        assert error.members["OriginalStatusCode"] == 400
        assert "Feature size" in str(error.members["OriginalMessage"])
        assert error.members["LogStreamArn"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{GROUP}"
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", b"x", ContentType="image/png")
        assert caught.value.members["OriginalStatusCode"] == 415

    play(tmp_path, story, processes=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not an archive", "Failed to extract model data archive"),
        (archive(readme_txt=b"hello"), "cannot be loaded"),
        (archive(xgboost_model=b"garbage"), "Model at xgboost-model cannot be loaded"),
    ],
)
def test_a_broken_model_fails_its_endpoint_with_the_reason_and_the_log(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    async def story(house: HostingHouse) -> None:
        house.upload(content)
        house.make_model()
        house.make_config("c")
        house.ask("create_endpoint", EndpointName="e", EndpointConfigName="c")
        failed = await house.reaches("e", "Failed")
        assert reason in failed["FailureReason"]
        assert "Traceback" in messages(house)
        assert await worker_pids(house) == []
        with pytest.raises(AwsError, match=f"Endpoint e of account {ACCOUNT} not found"):
            await house.invoke("e", BODY)

    play(tmp_path, story, processes=True)


def test_a_killed_worker_is_replaced_and_the_others_answer_meanwhile(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        booster = await serve(house, count=2)
        before = await worker_pids(house)
        os.kill(before[0], signal.SIGKILL)
        await asyncio.sleep(0.05)
        answers = [await house.invoke("e", BODY, ContentType="text/csv") for _ in range(20)]
        assert {round(number(each), 6) for each in answers} == {round(scores(booster, [ROW])[0], 6)}
        async with asyncio.timeout(10):
            while len([pid for pid in await worker_pids(house) if pid != before[0]]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await house.reaches("e", "InService"))["ProductionVariants"][0]["CurrentInstanceCount"] == 2

    play(tmp_path, story, processes=True)


def test_a_stopped_worker_is_a_timeout_and_is_replaced(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        await serve(house)
        (pid,) = await worker_pids(house)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", BODY)
        assert time.monotonic() - began < 5
        assert caught.value.message.startswith(
            'Received server error (0) from primary with message "Your invocation timed out'
        )
        answer = await house.invoke("e", BODY)
        assert answer["InvokedProductionVariant"] == "AllTraffic"
        async with asyncio.timeout(10):
            while pid in await worker_pids(house):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    play(tmp_path, story, processes=True, invoke_timeout_s=1.0)


def test_an_update_under_load_loses_no_request_and_never_goes_back(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        old = await serve(house)
        new = train(5)
        house.upload(model_archive(new))
        house.make_model("new")
        house.make_config("new", "new")
        seen: list[float] = []

        async def keep_asking() -> None:
            while True:
                seen.append(number(await house.invoke("e", BODY, ContentType="text/csv")))

        clients = [asyncio.ensure_future(keep_asking()) for _ in range(3)]
        house.ask("update_endpoint", EndpointName="e", EndpointConfigName="new")
        described = await house.reaches("e", "InService")
        mark = len(seen) + len(clients)
        await asyncio.sleep(0.1)
        for client in clients:
            assert not client.done() or client.exception() is None
            client.cancel()
        expected = [scores(booster, [ROW])[0] for booster in (old, new)]
        assert abs(seen[0] - expected[0]) < 1e-6
        assert all(min(abs(score - each) for each in expected) < 1e-6 for score in seen)
        assert all(abs(score - expected[1]) < 1e-6 for score in seen[mark:])
        assert described["EndpointConfigName"] == "new"

    play(tmp_path, story, processes=True)


def test_two_variants_share_the_traffic_and_can_be_asked_for(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        for name, seed in (("a", 1), ("b", 2)):
            house.upload(model_archive(train(seed)), f"{name}.tar.gz")
            house.make_model(name, ModelDataUrl=f"s3://models/{name}.tar.gz")
        house.ask(
            "create_endpoint_config",
            EndpointConfigName="c",
            ProductionVariants=[variant("a", name="A"), variant("b", name="B", InitialVariantWeight=3.0)],
        )
        house.ask("create_endpoint", EndpointName="e", EndpointConfigName="c")
        await house.reaches("e", "InService")
        for name, seed in (("A", 1), ("B", 2)):
            answer = await house.invoke("e", BODY, TargetVariant=name)
            assert answer["InvokedProductionVariant"] == name
            assert abs(number(answer) - scores(train(seed), [ROW])[0]) < 1e-6
        served = [(await house.invoke("e", BODY))["InvokedProductionVariant"] for _ in range(100)]
        assert 5 < served.count("A") < 60
        with pytest.raises(AwsError, match="Variant C of endpoint e not found"):
            await house.invoke("e", BODY, TargetVariant="C")
        house.ask(
            "update_endpoint_weights_and_capacities",
            EndpointName="e",
            DesiredWeightsAndCapacities=[{"VariantName": "A", "DesiredWeight": 0.0}],
        )
        await house.reaches("e", "InService")
        assert {(await house.invoke("e", BODY))["InvokedProductionVariant"] for _ in range(50)} == {"B"}

    play(tmp_path, story, processes=True)


def test_a_deleted_endpoint_is_not_found_and_leaves_no_process(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        await serve(house, count=2)
        house.ask("delete_endpoint", EndpointName="e")
        await house.gone("e")
        assert await worker_pids(house) == []
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", BODY)
        assert (caught.value.code, caught.value.status) == ("ValidationError", 400)

    play(tmp_path, story, processes=True)


def test_a_server_that_starts_again_serves_again(tmp_path: Path) -> None:
    expected: list[float] = []

    async def first(house: HostingHouse) -> None:
        expected.append(scores(await serve(house), [ROW])[0])

    async def second(house: HostingHouse) -> None:
        answer = await house.invoke("e", BODY, ContentType="text/csv")
        assert abs(number(answer) - expected[0]) < 1e-6
        assert (await house.reaches("e", "InService"))["EndpointStatus"] == "InService"

    play(tmp_path, first, processes=True)
    play(tmp_path, second, processes=True)


@pytest.mark.parametrize(
    ("request_members", "text"),
    [
        (
            {"TargetModel": "m.tar.gz"},
            "Endpoint e is not a multi-model endpoint and does not support target model header",
        ),
        ({"TargetContainerHostname": "c"}, "not a multi-container endpoint"),
        ({"EnableExplanations": "`true`"}, "EnableExplanations"),
        ({"InferenceComponentName": "c"}, "InferenceComponentName"),
        ({"SessionId": "NEW_SESSION"}, "SessionId"),
        ({"CustomAttributes": "a\r\nX-Evil: 1"}, "CustomAttributes"),
        ({"CustomAttributes": "a" * 1025}, "CustomAttributes"),
    ],
)
def test_members_that_cannot_be_honoured_are_named(
    tmp_path: Path, request_members: dict[str, str], text: str
) -> None:
    async def story(house: HostingHouse) -> None:
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", BODY, **request_members)
        assert (caught.value.code, caught.value.status) == ("ValidationError", 400)
        assert text in caught.value.message

    play(tmp_path, story)


def test_bodies_beyond_the_limit_are_413(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", b"x" * 6_291_457)
        assert (caught.value.code, caught.value.status) == ("413", 413)
        assert caught.value.message == "HTTP content length exceeded 6291456 bytes."

    play(tmp_path, story)


def test_an_endpoint_whose_workers_do_not_come_back_is_unavailable(tmp_path: Path) -> None:
    async def story(house: HostingHouse) -> None:
        from stagedoor.traffic.endpoint_routes import EndpointKey, VariantRoute

        key = EndpointKey(ACCOUNT, "us-east-1", "e")
        house.house.endpoint_routes.publish(key, [VariantRoute("A", 1.0, ())])
        with pytest.raises(AwsError) as caught:
            await house.invoke("e", BODY)
        assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)

    play(tmp_path, story, invoke_timeout_s=0.01)
