"""A house in this process with real stores, a real engine and the endpoints' reconciler, and its operations as calls.

``play(tmp_path, story)`` opens it, tells the story, closes it. Operations are called as the front calls them, and requests
have been through the wire layer's validation there. With ``processes=True`` the workers are real ones.
"""

import asyncio
import inspect
import io
import json
import tarfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
import xgboost

from stagedoor.authz.caller import Caller
from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.domain.clock import Clock, SystemClock
from stagedoor.domain.errors import AwsError
from stagedoor.engine.fake import FakeEngine
from stagedoor.engine.interface import Engine
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import default_runtimes
from stagedoor.reconcile.endpoints.act import EndpointReconciler
from stagedoor.reconcile.loop import Loop
from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.services.call import Call, House
from stagedoor.services.principals import Principals, RootAccount
from stagedoor.services.sagemaker import endpoint_configs, endpoints, models, tags
from stagedoor.services.sagemaker_runtime import invocations
from stagedoor.settings import Settings
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.object_rows import Bucket, ObjectRows
from stagedoor.store.records import Key, SqliteRecords
from stagedoor.store.step_metrics import StepMetrics
from stagedoor.traffic.endpoint_routes import EndpointRoutes
from stagedoor.traffic.function_pools import FunctionPools
from stagedoor.traffic.invocation_metrics import InvocationMetrics
from stagedoor.traffic.log_writer import LogWriter

ACCOUNT, REGION = "000000000000", "us-east-1"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/service-role/AmazonSageMaker-ExecutionRole"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET, MODEL_KEY = "models", "word/model.tar.gz"
MODEL_URL = f"s3://{BUCKET}/{MODEL_KEY}"
ROOT_CALLER = Caller("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
FEATURES = 6

_OPERATIONS: dict[str, Any] = {
    name: function
    for module in (models, endpoint_configs, endpoints, tags, invocations)
    for name, function in vars(module).items()
    if getattr(function, "__module__", "") == module.__name__
}


def train(seed: int = 0) -> xgboost.Booster:
    random = np.random.default_rng(seed)
    rows = random.poisson(1, (200, FEATURES)).astype(np.float32)
    labels = (rows[:, 0] + random.random(200) > 1).astype(int)
    return xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, labels), 5
    )


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("_", "-"))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def model_archive(booster: xgboost.Booster) -> bytes:
    return archive(xgboost_model=bytes(booster.save_raw("ubj")))


def scores(booster: xgboost.Booster, rows: list[list[float]]) -> list[float]:
    return booster.predict(xgboost.DMatrix(np.array(rows, dtype=np.float32))).tolist()


class HostingHouse:
    """One house. ``ask`` calls an operation as root of the account."""

    def __init__(
        self, root: Path, clock: Clock | None = None, *, processes: bool = False, **settings: Any
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.settings = Settings(data=root, **settings)
        self.clock = clock or SystemClock()
        self.records = SqliteRecords(root / "state.sqlite")
        self.contents = Contents(root / "contents")
        self.objects = ObjectRows(root / "state.sqlite", self.contents)
        self.log_events = LogEvents(root / "logs.sqlite")
        tokens = SessionTokens(b"x" * 32)
        self.writer = LogWriter(self.log_events)
        root_account = RootAccount(ACCOUNT, "AKIAROOTROOTROOTROOT", "root-secret")
        self.house = House(
            settings=self.settings,
            clock=self.clock,
            records=self.records,
            objects=self.objects,
            contents=self.contents,
            log_events=self.log_events,
            metric_points=(metric_points := MetricPoints(root / "metrics.sqlite")),
            invocation_metrics=InvocationMetrics(metric_points, self.clock),
            step_metrics=StepMetrics(root / "metrics.sqlite"),
            session_tokens=tokens,
            principals=Principals(self.records, tokens, [root_account]),
            endpoint_routes=EndpointRoutes(),
            function_pools=FunctionPools(self.records, self.writer, SystemClock(), 1),
        )
        runtimes = {"xgboost": default_runtimes()["xgboost"]}
        self.engine: Engine = (
            LocalEngine(root / "scratch", runtimes) if processes else FakeEngine(root / "scratch")
        )
        self.add_role(ROLE_ARN, "sagemaker.amazonaws.com", "s3:*")
        if self.objects.find_bucket(BUCKET) is None:
            self.objects.create_bucket(Bucket(BUCKET, ACCOUNT, REGION, 1.0))

    def add_role(self, arn: str, trusted: str, *actions: str) -> None:
        name = arn.rpartition("/")[2]
        trust = {"Effect": "Allow", "Principal": {"Service": trusted}, "Action": "sts:AssumeRole"}
        allow = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        with self.records.transaction() as transaction:
            transaction.put(
                Key("iam.role", ACCOUNT, "", name),
                {
                    "RoleName": name,
                    "RoleId": "AROAEXAMPLEEXAMPLE000",
                    "Arn": arn,
                    "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
                    "inlinePolicies": {"p": json.dumps({"Version": "2012-10-17", "Statement": [allow]})},
                },
            )

    def upload(self, data: bytes, key: str = MODEL_KEY) -> None:
        objects_io.put_bytes(self.objects, self.contents, BUCKET, key, data, now=1.0)

    async def open(self) -> None:
        house = self.house
        logs = WorkerLogs(self.writer, self.clock)
        files = ModelFiles(self.root / "models", self.objects, self.contents)
        reconciler = EndpointReconciler(
            self.records,
            self.engine,
            house.endpoint_routes,
            logs,
            files,
            SystemClock(),
            start_timeout_s=30.0,
            invoke_timeout_s=self.settings.invoke_timeout_s,
        )
        self.loop = Loop(reconciler, self.records)
        reconciler.wake = self.loop.wake
        await self.engine.open(logs.output, reconciler.worker_exited)
        self.loop.start()

    async def close(self) -> None:
        if hasattr(self, "loop"):
            await self.loop.close()
            await self.engine.close()
        self.objects.close()
        self.records.close()
        self.log_events.close()

    def call(self, operation: str, account_id: str = ACCOUNT) -> Call:
        return Call("sagemaker", operation, account_id, REGION, ROOT_CALLER, str(uuid.uuid4()), self.house)

    def ask(self, name: str, account_id: str = ACCOUNT, /, **request: Any) -> Any:
        """Call a control plane operation."""
        return _OPERATIONS[name](self.call(name, account_id), request)

    async def invoke(self, endpoint: str, body: bytes, **request: Any) -> Any:
        answer = invocations.invoke_endpoint(
            self.call("InvokeEndpoint"), {"EndpointName": endpoint, "Body": body, **request}
        )
        assert inspect.isawaitable(answer)
        return await answer

    def refusal(self, name: str, /, **request: Any) -> str:
        """The message of the ValidationException that an operation answers; nothing may be stored."""
        before = self.everything()
        try:
            self.ask(name, **request)
        except AwsError as error:
            assert (error.code, error.status) == ("ValidationException", 400), error
            assert self.everything() == before
            return error.message
        raise AssertionError(f"{name} was not refused")

    def everything(self) -> list[Any]:
        kinds = ("model", "endpoint_config", "endpoint", "tags")
        return [self.records.list(f"sagemaker.{kind}") for kind in kinds]

    def make_model(self, name: str = "word", **more: Any) -> Any:
        container = {"Image": IMAGE, "ModelDataUrl": MODEL_URL, **more}
        return self.ask("create_model", ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE_ARN)

    def make_config(self, name: str, model: str = "word", count: int = 1) -> Any:
        return self.ask(
            "create_endpoint_config", EndpointConfigName=name, ProductionVariants=[variant(model, count)]
        )

    async def reaches(self, name: str, status: str) -> Any:
        """DescribeEndpoint's answer once it has that status."""
        async with asyncio.timeout(20):
            while True:
                answer = await asyncio.to_thread(self.ask, "describe_endpoint", EndpointName=name)
                if answer["EndpointStatus"] == status:
                    return answer
                await asyncio.sleep(0.01)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(20):
            while self.records.get(Key("sagemaker.endpoint", ACCOUNT, REGION, name.lower())) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def variant(model: str = "word", count: int = 1, name: str = "AllTraffic", **more: Any) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        **more,
    }


def play(root: Path, story: Callable[[HostingHouse], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        house = HostingHouse(root, **options)
        try:
            await house.open()
            await story(house)
        finally:
            await house.close()

    uvloop.run(main())
