"""Kill -9 at any moment, again and again, while clients write: what was acknowledged is there, all that was begun ends."""

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from journeys import made
from journeys.deployed import Deployed, alive, descendants
from services.hosting_house import IMAGE
from services.lambda_house import zipped

from stagedoor.testing import Server

KILLS = 5
WRITERS = 3
MOST_WORKERS = 4
# One attempt each: what the client sent again by itself could not be told from what the server kept.
ONCE = Config(retries={"total_max_attempts": 1})


class Writer:
    """Makes things until told to stop, and remembers what the server said it has."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._number = number
        self._random = random.Random(number)
        self._kinds = (self.put_object, self.model, self.log_events, self.function, self.endpoint)
        self.objects: dict[str, bytes] = {}
        self.models: list[str] = []
        self.log_groups: list[str] = []
        self.functions: list[str] = []
        self.endpoints: dict[str, bool | None] = {}
        self.faults: list[str] = []

    def write(self, stop: threading.Event) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            try:
                self._random.choice(self._kinds)(f"w{self._number}-{count}")
            except BotoCoreError:
                time.sleep(0.05)  # the server is gone; the next one comes
            except ClientError as error:
                self.faults.append(str(error))

    def _client(self, service: str) -> Any:
        return self._server.client(service, config=ONCE)

    def put_object(self, name: str) -> None:
        body = self._random.randbytes(self._random.choice((10, 70_000, 300_000)))
        self._client("s3").put_object(Bucket="app", Key=name, Body=body)
        self.objects[name] = body

    def model(self, name: str) -> None:
        self._client("sagemaker").create_model(
            ModelName=name,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://app/model.tar.gz"},
            ExecutionRoleArn=f"arn:aws:iam::{self._server.account_id}:role/app-model",
        )
        self.models.append(name)

    def log_events(self, name: str) -> None:
        logs = self._client("logs")
        logs.create_log_group(logGroupName=name)
        logs.create_log_stream(logGroupName=name, logStreamName="s")
        event = {"timestamp": int(time.time() * 1000), "message": "kept"}
        logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=[event])
        self.log_groups.append(name)

    def function(self, name: str) -> None:
        if len(self.functions) == MOST_WORKERS:
            return
        self._client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=f"arn:aws:iam::{self._server.account_id}:role/function",
            Handler="app.handler",
            Code={"ZipFile": zipped(f"def handler(event, context):\n    return {name!r}\n")},
        )
        self.functions.append(name)

    def endpoint(self, name: str) -> None:
        """Half of them are deleted again at once. ``endpoints`` says whether they are to be; None: nobody knows."""
        if len(self.endpoints) == MOST_WORKERS:
            return
        sagemaker = self._client("sagemaker")
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="app")
        self.endpoints[name] = True
        if self._random.random() < 0.5:
            self.endpoints[name] = None
            sagemaker.delete_endpoint(EndpointName=name)
            self.endpoints[name] = False


@pytest.mark.crash
def test_what_was_acknowledged_is_kept_and_what_was_begun_is_done(
    stagedoor_server: Callable[..., Server],
) -> None:
    server = stagedoor_server()
    app = Deployed(server, "app").bucket().model().endpoint()
    made.role(server, "function", "lambda")
    writers = [Writer(server, number) for number in range(WRITERS)]
    stop = threading.Event()
    moments = random.Random(7)
    earlier: set[int] = set()
    with ThreadPoolExecutor(WRITERS) as threads:
        writing = [threads.submit(writer.write, stop) for writer in writers]
        try:
            for _ in range(KILLS):
                time.sleep(moments.uniform(0.05, 1.0))
                earlier |= descendants(server.pid)
                server.kill()
                server.start()
        finally:
            stop.set()
        for one in writing:
            one.result()

    assert all(writer.objects or writer.models or writer.log_groups for writer in writers)
    assert [fault for writer in writers for fault in writer.faults] == []
    for writer in writers:
        check_kept(server, writer)
    for name, wanted in [pair for writer in writers for pair in writer.endpoints.items()]:
        app.name = name
        exists = name in names_of_endpoints(server) if wanted is None else wanted
        app.wait("endpoint_in_service" if exists else "endpoint_deleted")
        assert not exists or app.invoke_endpoint() == pytest.approx(app.expected, abs=1e-6)
    assert alive(earlier - descendants(server.pid)) == set()
    assert list((server.data / "contents" / "incoming").iterdir()) == []
    assert server.stop() == 0
    assert not [path for path in (server.data / "scratch").iterdir() if path.exists()]


def names_of_endpoints(server: Server) -> set[str]:
    """Those that are not on their way out."""
    listed = server.client("sagemaker").list_endpoints()["Endpoints"]
    return {one["EndpointName"] for one in listed if one["EndpointStatus"] != "Deleting"}


def check_kept(server: Server, writer: Writer) -> None:
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    for key, body in writer.objects.items():
        assert s3.get_object(Bucket="app", Key=key)["Body"].read() == body
    for name in writer.models:
        sagemaker.describe_model(ModelName=name)
    for group in writer.log_groups:
        events = server.client("logs").filter_log_events(logGroupName=group)["events"]
        assert [event["message"] for event in events] == ["kept"]
    for name in writer.functions:
        answer = server.client("lambda").invoke(FunctionName=name)
        assert json.loads(answer["Payload"].read()) == name
