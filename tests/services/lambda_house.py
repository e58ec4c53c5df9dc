"""A house in this process with real stores, a real engine and the function reconciler, and its operations as calls.

``run(tmp_path, story)`` opens it on uvloop, tells the story, closes it. No listener: operations are called as the front calls
them, with requests as the wire layer gives them.
"""

import asyncio
import inspect
import io
import json
import uuid
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from stagedoor.authz.caller import Caller
from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.domain.clock import Clock, SystemClock
from stagedoor.engine.interface import Engine
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime
from stagedoor.reconcile.functions.act import FunctionReconciler, FunctionSettings
from stagedoor.reconcile.loop import Loop
from stagedoor.services.call import Call, House
from stagedoor.services.lambda_.routing import resolver
from stagedoor.services.principals import Principals, RootAccount
from stagedoor.services.registry import operation
from stagedoor.settings import Settings
from stagedoor.store.contents import Contents
from stagedoor.store.function_packages import FunctionPackages
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Key, SqliteRecords
from stagedoor.store.step_metrics import StepMetrics
from stagedoor.traffic.endpoint_routes import EndpointRoutes
from stagedoor.traffic.function_pools import FunctionPools
from stagedoor.traffic.invocation_metrics import InvocationMetrics
from stagedoor.traffic.log_writer import LogWriter

ACCOUNT, REGION = "000000000000", "us-east-1"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/service-role/reviews"
ROOT = RootAccount(ACCOUNT, "AKIAROOTROOTROOTROOT", "root-secret")
ROOT_CALLER = Caller("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
PATIENCE_S = 20.0


def zipped(source: str | Mapping[str, str | bytes]) -> bytes:
    """A package: ``app.py`` with this source, or these files."""
    files = {"app.py": source} if isinstance(source, str) else source
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def described(name: str, source: str | Mapping[str, str | bytes], **members: Any) -> dict[str, Any]:
    """The request that creates a function whose handler is ``app.handler``."""
    return {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Role": ROLE_ARN,
        "Code": {"ZipFile": zipped(source)},
        **members,
    }


def trust(*services: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
            ],
        }
    )


class LambdaHouse:
    """One house. ``ask`` calls an operation as root; ``function`` creates one."""

    def __init__(
        self, root: Path, engine: Engine | None = None, clock: Clock | None = None, **settings: Any
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(data=root, **settings)
        clock = clock or SystemClock()
        self.records = SqliteRecords(root / "state.sqlite")
        contents = Contents(root / "contents")
        session_tokens = SessionTokens(b"x" * 32)
        self.log_events = LogEvents(root / "logs.sqlite", clock)
        self.pools = FunctionPools(
            self.records, LogWriter(self.log_events), clock, self.settings.function_concurrency
        )
        self.house = House(
            settings=self.settings,
            clock=clock,
            records=self.records,
            objects=ObjectRows(root / "state.sqlite", contents),
            contents=contents,
            log_events=self.log_events,
            metric_points=(metric_points := MetricPoints(root / "metrics.sqlite", clock)),
            invocation_metrics=InvocationMetrics(metric_points, clock),
            step_metrics=StepMetrics(root / "metrics.sqlite"),
            session_tokens=session_tokens,
            principals=Principals(self.records, session_tokens, [ROOT]),
            endpoint_routes=EndpointRoutes(),
            function_pools=self.pools,
        )
        runtimes = {"python": Runtime(modules=("stagedoor.worker.warm_boto3",))}
        self.engine: Engine = engine or LocalEngine(root / "scratch", runtimes)
        self.add_role(ROLE_ARN, "lambda.amazonaws.com")

    def add_role(self, arn: str, *trusted: str) -> None:
        name = arn.rpartition("/")[2]
        document = {
            "RoleName": name,
            "RoleId": f"AROA{name.upper():0<17}"[:21],
            "Arn": arn,
            "AssumeRolePolicyDocument": trust(*trusted),
        }
        with self.records.transaction() as transaction:
            transaction.put(Key("iam.role", ACCOUNT, "", name), document)

    async def open(self) -> None:
        await self.engine.open(self.pools.on_output, self.pools.on_exit)
        delays = tuple(float(part) for part in self.settings.function_retry_delays_s.split(","))
        reconciler = FunctionReconciler(
            self.records,
            self.engine,
            self.pools,
            FunctionPackages(self.settings.data / "functions"),
            self.house.principals.role_credentials,
            resolver(self.house),
            FunctionSettings(self.settings.function_idle_s, delays, "http://127.0.0.1:1"),
            self.house.clock,
        )
        self.loop = Loop(reconciler, self.records)
        self.pools.on_change(self.loop.wake)
        self.loop.start()

    async def close(self) -> None:
        await self.pools.close()
        await self.loop.close()
        await self.engine.close()
        self.close_stores()

    def close_stores(self) -> None:
        self.records.close()
        self.log_events.close()
        self.house.objects.close()

    def call(self, service: str, name: str, region: str = REGION, caller: Caller = ROOT_CALLER) -> Call:
        return Call(service, name, caller.account_id, region, caller, str(uuid.uuid4()), self.house)

    def tell(
        self, service: str, name: str, *, region: str = REGION, caller: Caller = ROOT_CALLER, **request: Any
    ) -> Any:
        """Call an operation that is a plain function, in this thread; needs no ``open``."""
        return operation(service, name)(self.call(service, name, region, caller), request)

    async def ask(self, service: str, name: str, **request: Any) -> dict[str, Any]:
        """Call an operation: ``ask("lambda", "GetFunction", FunctionName="f")``."""
        call = self.call(service, name)
        function = operation(service, name)
        if inspect.iscoroutinefunction(function):
            return await function(call, request)
        return await asyncio.to_thread(function, call, request)  # type: ignore[arg-type, return-value]

    async def function(
        self, name: str, source: str | Mapping[str, str | bytes], **members: Any
    ) -> dict[str, Any]:
        """Create a function whose handler is ``app.handler``."""
        return await self.ask("lambda", "CreateFunction", **described(name, source, **members))

    async def invoke(self, name: str, event: Any = None, **members: Any) -> dict[str, Any]:
        """Invoke; ``Payload`` of the answer is decoded JSON."""
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        answer = await self.ask("lambda", "Invoke", FunctionName=name, Payload=payload, **members)
        body = answer.get("Payload", b"")
        return {**answer, "Payload": json.loads(body) if body else None}

    async def messages(self, group: str) -> list[str]:
        """All that was logged to a group so far, streams one after the other."""
        await self.pools.log_writer.drained()
        found = self.log_events.group(ACCOUNT, REGION, group)
        if found is None:
            return []
        return [
            event.message
            for stream in self.log_events.streams(found.id)
            for event in self.log_events.read(found, streams=[stream], max_bytes=1 << 30)
        ]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens by itself; the time limit only guards against waiting for ever."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for are other processes
            await asyncio.sleep(0.005)


Story = Callable[[LambdaHouse], Awaitable[None]]


def run(root: Path, story: Story, **settings: Any) -> None:
    """Open a house, tell the story, close it."""

    async def whole() -> None:
        house = LambdaHouse(root, **settings)
        await house.open()
        try:
            async with asyncio.timeout(60):
                await story(house)
        finally:
            await house.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())
