"""S3 alone on a real socket: the connection, the wire layer and the operations, without signatures and policies.

For tests that look at stored bytes or need a clock or a body of their own; journeys through the whole server use the
``stagedoor`` fixture.
"""

import asyncio
import inspect
import threading
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.config import Config

from stagedoor.authz.caller import Caller
from stagedoor.domain.clock import SystemClock
from stagedoor.domain.errors import AwsError
from stagedoor.domain.ids import request_id
from stagedoor.front import s3_addressing
from stagedoor.http.message import Request, Response
from stagedoor.http.server import Server
from stagedoor.services import registry
from stagedoor.services.call import Call, House
from stagedoor.services.s3 import integrity
from stagedoor.settings import Settings
from stagedoor.store.contents import Contents
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import SqliteRecords
from stagedoor.wire import answers, errors, models, parse, routes, validate
from stagedoor.wire.requests import WireRequest

ACCOUNT = "000000000000"
OTHER_ACCOUNT = "111111111111"


def make_house(folder: Path) -> House:
    contents = Contents(folder / "contents")
    absent = cast(Any, None)
    return House(
        **dict.fromkeys(House.__dataclass_fields__, absent)
        | {
            "settings": Settings(data=folder),
            "clock": SystemClock(),
            "records": SqliteRecords(folder / "state.sqlite"),
            "objects": ObjectRows(folder / "state.sqlite", contents),
            "contents": contents,
        }
    )


class S3Server:
    """Runs in a thread of its own. ``account_id`` says who calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.house = make_house(folder)
        self.account_id = ACCOUNT
        self.loop = asyncio.new_event_loop()
        self._server = Server(self._handle)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.listen("127.0.0.1", 0), self.loop).result()
        self.url = f"http://127.0.0.1:{self._server.port}"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(1.0), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.house.objects.close()
        self.house.records.close()

    def client(self, region: str = "us-east-1", **config: Any) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 0}, **config),
        )

    async def _handle(self, request: Request) -> Response:
        service = models.service("s3")
        operation = None
        try:
            path = s3_addressing.path_style(request.header.get("host", ""), request.path)
            wire = WireRequest(request.method, path, request.query, request.header, request.body)
            operation, protocol, labels = routes.operation_of(service, wire)
            function = registry.operation("s3", operation.name)
            if not operation.has_streaming_input:
                body = await request.body.read(1 << 24)
                integrity.check_document(operation.name, request.header, body)
                wire = WireRequest(request.method, path, request.query, request.header, body)
            parameters = parse.request(operation, protocol, wire, labels)
            validate.request(operation, parameters)
            scope = request.header["authorization"].split("/")[2]
            caller = Caller("root", self.account_id, f"arn:aws:iam::{self.account_id}:root", self.account_id)
            call = Call(
                "s3", operation.name, self.account_id, scope, caller, request_id(), self.house, request
            )
            if inspect.iscoroutinefunction(function):
                result = await function(call, parameters)
            else:
                result = cast(Any, await asyncio.to_thread(function, call, parameters))
            answer = answers.serialise(operation, protocol, result, call.request_id)
            status = 206 if "ContentRange" in result else answer.status
            return Response(status, answer.headers, answer.body)  # type: ignore[arg-type]
        except AwsError as error:
            said = errors.serialise(
                service, operation, "rest-xml", error, request_id(), request.path, method=request.method
            )
            return Response(said.status, [*said.headers, *error.headers.items()], said.body)  # type: ignore[arg-type]
