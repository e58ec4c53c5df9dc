"""Describe answers are held for clients that sleep for long, and for nobody else; a commit lets them go."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from services.job_clients import Desk, as_csv, rows

from stagedoor.front.held_answers import HeldAnswers, waits_long
from stagedoor.store.records import Key, SqliteRecords
from stagedoor.testing import Server

BOTO3 = "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1 lang/python#3.11.7 m/E,e,Z,b,N cfg/retry-mode#standard"
WAITER = BOTO3.replace("Z,b", "Z,B,b")
SDK_V1 = f"AWS-SageMaker-Python-SDK/1.72.0 Python/3.11.7 Linux/6.1 {BOTO3}"
KEY = Key("sagemaker.training_job", "000000000000", "us-east-1", "job")
FOREVER_S = 1_000.0


@pytest.mark.parametrize(
    ("user_agent", "waits"),
    [
        (SDK_V1, True),
        (WAITER, True),
        (WAITER.replace("m/E,e,Z,B,b,N", "m/B"), True),
        (BOTO3, None),
        (SDK_V1.replace("1.72.0", "2.257.7"), False),
        (f"{BOTO3} lib/AWS-SageMaker-Python-SDK#2.257.7", False),
        (f"{BOTO3} lib/AWS-SageMaker-Python-SDK#3.27.0", False),
        (f"{BOTO3} lib/AWS-SageMakerCore#1.0.30", False),
        (f"{SDK_V1} app/stagedoor-no-hold", False),
        ("", None),
        ("xm/B", None),
    ],
)
def test_a_user_agent_says_whether_its_client_sleeps(user_agent: str, waits: bool | None) -> None:
    assert waits_long(user_agent) is waits


class Counter:
    """Records, a job in them, and held answers about it."""

    def __init__(self, folder: Path, hold_s: float) -> None:
        self.records = SqliteRecords(folder / "state.sqlite")
        self.held = HeldAnswers(self.records, hold_s)
        self.put("InProgress")
        self.looks = 0

    def put(self, status: str, name: str = "job", **members: Any) -> None:
        document = {"TrainingJobName": name, "TrainingJobStatus": status} | members
        with self.records.transaction() as transaction:
            transaction.put(KEY._replace(name=name), document)

    async def describe(self) -> dict[str, Any]:
        record = await asyncio.to_thread(self.records.get, KEY)
        assert record is not None
        # Not before it was read: who counts looks wants to write something that none of them has seen.
        self.looks += 1
        return record.document

    def ask(self) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(
            self.held.settled(
                "DescribeTrainingJob", {"TrainingJobName": "Job"}, KEY.account_id, KEY.region, self.describe
            )
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - looks at what other tasks do
                await asyncio.sleep(0.001)


Story = Callable[[Counter], Awaitable[None]]


def tell(folder: Path, story: Story, hold_s: float = FOREVER_S) -> None:
    async def run() -> None:
        desk = Counter(folder, hold_s)
        try:
            await story(desk)
        finally:
            desk.records.close()

    asyncio.run(run())


def test_a_commit_that_ends_the_job_lets_the_answer_go(tmp_path: Path) -> None:
    async def story(desk: Counter) -> None:
        asked = [desk.ask() for _ in range(3)]
        await desk.until(lambda: desk.looks == 3)
        await asyncio.to_thread(desk.put, "InProgress", SecondaryStatus="Training")
        await desk.until(lambda: desk.looks == 6)
        await asyncio.to_thread(desk.put, "Completed", "another")
        assert desk.held.count == 3, "a passing status and other jobs end no wait"
        await asyncio.to_thread(desk.put, "Completed")
        answers = await asyncio.gather(*asked)
        assert [answer["TrainingJobStatus"] for answer in answers] == ["Completed"] * 3
        assert desk.held.count == 0
        assert desk.looks == 9, "woken by commits, not by looking again and again"

    tell(tmp_path, story)


def test_the_answer_goes_when_its_time_is_over(tmp_path: Path) -> None:
    async def story(desk: Counter) -> None:
        assert (await desk.ask())["TrainingJobStatus"] == "InProgress"
        assert desk.held.count == 0

    tell(tmp_path, story, hold_s=0.01)


def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story(desk: Counter) -> None:
        asked = desk.ask()
        await desk.until(lambda: desk.looks == 1)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert desk.held.count == 0

    tell(tmp_path, story)


def test_the_end_of_the_server_lets_all_answers_go(tmp_path: Path) -> None:
    async def story(desk: Counter) -> None:
        asked = desk.ask()
        await desk.until(lambda: desk.looks == 1)
        desk.held.release()
        assert (await asked)["TrainingJobStatus"] == "InProgress"
        assert not desk.held.holds("DescribeTrainingJob", {"TrainingJobStatus": "InProgress"}, "AKIA", SDK_V1)

    tell(tmp_path, story)


def test_what_has_ended_is_told_at_once_and_a_setting_turns_it_all_off(tmp_path: Path) -> None:
    async def story(desk: Counter) -> None:
        held = desk.held
        assert held.holds("DescribeTrainingJob", {"TrainingJobStatus": "InProgress"}, "AKIA", SDK_V1)
        assert held.holds("DescribeEndpoint", {"EndpointStatus": "Creating"}, "AKIA", WAITER)
        assert not held.holds("DescribeTrainingJob", {"TrainingJobStatus": "Completed"}, "AKIA", SDK_V1)
        assert not held.holds("DescribeEndpoint", {"EndpointStatus": "InService"}, "AKIA", SDK_V1)
        assert not held.holds("DescribeModel", {"ModelName": "m"}, "AKIA", SDK_V1)
        off = HeldAnswers(desk.records, 0)
        assert not off.holds("DescribeTrainingJob", {"TrainingJobStatus": "InProgress"}, "AKIA", SDK_V1)

    tell(tmp_path, story)


MADE_UP = "xgboost-2026-01-31-23-59-59-123"


@pytest.mark.parametrize(
    ("name", "created_by", "asked_by", "held"),
    [
        (MADE_UP, BOTO3, BOTO3, True),
        (MADE_UP, BOTO3, BOTO3.replace("E,e,Z,b,N", "b,E"), True),
        ("xgboost-260131-2359", BOTO3, BOTO3, True),
        ("xgboost-260131-2359-001-1a2b3c4d", BOTO3, BOTO3, True),
        ("my-job", BOTO3, BOTO3, False),
        (MADE_UP.removesuffix("-123"), BOTO3, BOTO3, False),
        (MADE_UP, SDK_V1.replace("1.72.0", "2.257.7"), BOTO3, False),
        (MADE_UP, BOTO3, BOTO3.replace("3.11.7", "3.12.1"), False),
        (MADE_UP, BOTO3, f"{BOTO3} app/stagedoor-no-hold", False),
    ],
)
def test_version_1_of_the_sdk_is_known_by_the_names_it_makes_up(
    tmp_path: Path, name: str, created_by: str, asked_by: str, held: bool
) -> None:
    async def story(desk: Counter) -> None:
        answers, in_progress = desk.held, {"TrainingJobStatus": "InProgress"}
        assert not answers.holds("DescribeTrainingJob", in_progress, "AKIA", asked_by)
        answers.note("CreateTrainingJob", {"TrainingJobName": name}, "AKIA", created_by)
        assert answers.holds("DescribeTrainingJob", in_progress, "AKIA", asked_by) is held
        assert not answers.holds("DescribeTrainingJob", in_progress, "AKIB", asked_by)

    tell(tmp_path, story)


def test_a_waiter_of_boto3_sees_the_end_of_a_job_without_sleeping(
    stagedoor_server: Callable[..., Server],
) -> None:
    desk = Desk(stagedoor_server({"STAGEDOOR_DESCRIBE_HOLD_S": "20"}))
    features, labels = rows()
    desk.put("train/rows.csv", as_csv(features, labels))
    desk.sagemaker.create_training_job(**desk.training_request("held"))
    waiter = desk.sagemaker.get_waiter("training_job_completed_or_stopped")
    # A single question: there is no sleep, so its answer must tell of the end.
    waiter.wait(TrainingJobName=desk.name("held"), WaiterConfig={"MaxAttempts": 1, "Delay": 3600})


def test_held_answers_take_no_thread_from_others(stagedoor_server: Callable[..., Server]) -> None:
    # No slot is free while the first job runs, so the others stay in progress for as long as they are asked for.
    server = stagedoor_server({"STAGEDOOR_DESCRIBE_HOLD_S": "20", "STAGEDOOR_JOB_CORES": "1"})
    desk = Desk(server)
    features, labels = rows()
    desk.put("train/rows.csv", as_csv(features, labels))
    rounds = {"num_round": "1000000", "objective": "binary:logistic"}
    name = desk.name("long")
    desk.sagemaker.create_training_job(**desk.training_request("long", HyperParameters=rounds))
    old = Config(user_agent_extra="AWS-SageMaker-Python-SDK/1.72.0", max_pool_connections=40)
    waiting = server.client("sagemaker", config=old)

    def describe(_: int) -> str:
        return waiting.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]

    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(describe, number) for number in range(40)]
        # More answers are held than the server has threads, and everybody else is served.
        status = desk.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
        assert status == "InProgress"
        assert not any(one.done() for one in asked)
        desk.sagemaker.stop_training_job(TrainingJobName=name)
        assert {one.result() for one in asked} == {"Stopped"}
