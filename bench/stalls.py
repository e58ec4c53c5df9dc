"""How long heavy control operations keep the event loop from anything else: ``python -m bench.stalls``.

A server in this process; a heartbeat on its event loop reads the CPU time of the loop's own thread, so that what the machine does besides
does not count: what the loop's thread computes between two beats is what an invocation would have waited for.
"""

import argparse
import asyncio
import base64
import datetime as dt
import gc
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import uvloop
from botocore.config import Config
from botocore.exceptions import ClientError

from stagedoor import app
from stagedoor.settings import Settings

KEYS = 100_000
_BEAT_S = 0.001


class _Loop(threading.Thread):
    """The server, and the most CPU time between two beats since ``reset``."""

    def __init__(self, data: Path) -> None:
        super().__init__(daemon=True)
        self._settings = Settings(data=data, api="127.0.0.1:0", public="127.0.0.1:0")
        self.application: Any = None
        self.running: Any = None
        self.ready, self.end = threading.Event(), threading.Event()
        self.most_s = 0.0

    def run(self) -> None:
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        self.application = app.Application(self._settings)
        self.running = await self.application.open()
        self.ready.set()
        last_s = time.thread_time()
        while not self.end.is_set():
            await asyncio.sleep(_BEAT_S)
            now_s = time.thread_time()
            self.most_s = max(self.most_s, now_s - last_s)
            last_s = now_s
        await self.application.close()


def _fill(data: Path) -> None:
    """100,000 rows of keys; their bytes are none."""
    from stagedoor.store.contents import Contents
    from stagedoor.store.object_rows import NewObject, ObjectRows

    contents = Contents(data / "contents")
    objects = ObjectRows(data / "state.sqlite", contents)
    new = NewObject(0, "d41d8cd98f00b204e9800998ecf8427e", 1.0, ())
    with objects._database.transaction() as transaction:  # pyright: ignore[reportPrivateUsage]
        for number in range(KEYS):
            objects.put_within(transaction, "stalls", f"{number % 10}/{number:06}", new, lambda _: None)
    objects.close()


def _package(size: int) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
        archive.writestr("data.bin", os.urandom(size))
    return target.getvalue()


def _operations(client: Callable[[str], Any]) -> dict[str, Callable[[], object]]:
    s3, functions, sagemaker = client("s3"), client("lambda"), client("sagemaker")
    cloudwatch, logs, iam = client("cloudwatch"), client("logs"), client("iam")
    trust = {
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ]
    }
    role = iam.create_role(
        RoleName="stalls", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17"} | trust)
    )["Role"]["Arn"]
    package = _package(6_000_000)
    upload = s3.create_multipart_upload(Bucket="stalls", Key="parts")["UploadId"]
    parts = [{"PartNumber": number, "ETag": f'"{number:032x}"'} for number in range(1, 10_001)]
    now = dt.datetime.now(dt.UTC)
    body = base64.b64encode(os.urandom(24_000_000))
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    events = [{"timestamp": int(now.timestamp() * 1000), "message": "m" * 80} for _ in range(8_000)]
    data = [{"MetricName": f"m{number % 20}", "Value": float(number)} for number in range(1000)]
    query = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {"Namespace": "n", "MetricName": f"m{number}"},
                "Period": 3600,
                "Stat": "Average",
            },
        }
        for number in range(20)
    ]
    s3.put_object(Bucket="stalls", Key="big", Body=body)

    def pages() -> None:
        for _ in s3.get_paginator("list_objects_v2").paginate(
            Bucket="stalls", PaginationConfig={"MaxItems": 20_000}
        ):
            pass

    def get() -> None:
        s3.get_object(Bucket="stalls", Key="big")["Body"].read()

    def complete() -> None:
        try:
            s3.complete_multipart_upload(
                Bucket="stalls", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidPart"

    return {
        "list 20,000 of 100,000 keys": pages,
        "CreateFunction, package of 6 MB": lambda: functions.create_function(
            FunctionName="f",
            Runtime="python3.11",
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": package},
        ),
        "CompleteMultipartUpload, 10,000 parts": complete,
        "PutObject of 32 MB, signed": lambda: s3.put_object(Bucket="stalls", Key="big", Body=body),
        "GetObject of 32 MB": get,
        "DeleteObjects of 1,000 keys": lambda: s3.delete_objects(
            Bucket="stalls", Delete={"Objects": [{"Key": f"1/{number:06}"} for number in range(1000)]}
        ),
        "PutLogEvents, 8,000 events": lambda: logs.put_log_events(
            logGroupName="g", logStreamName="s", logEvents=events
        ),
        "PutMetricData, 1,000 values": lambda: cloudwatch.put_metric_data(Namespace="n", MetricData=data),
        "GetMetricData over a year": lambda: cloudwatch.get_metric_data(
            MetricDataQueries=query, StartTime=now - dt.timedelta(days=365), EndTime=now
        ),
        "Search": lambda: sagemaker.search(Resource="TrainingJob", MaxResults=100),
    }


def measure() -> dict[str, float]:
    """By operation: the most ms of CPU time that the event loop's thread spent between two beats."""
    with TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        data = Path(folder) / "data"
        (data / "logs").mkdir(parents=True)
        loop = _Loop(data)
        loop.start()
        loop.ready.wait(60)

        def client(service: str) -> Any:
            make: Any = boto3.client
            return make(
                service,
                endpoint_url=loop.running.api,
                region_name="us-east-1",
                aws_access_key_id=loop.running.keys.root_access_key_id,
                aws_secret_access_key=loop.running.keys.root_secret_access_key,
                config=Config(retries={"max_attempts": 0, "mode": "standard"}, read_timeout=120),
            )

        client("s3").create_bucket(Bucket="stalls")
        _fill(data)
        found: dict[str, float] = {}
        operations = _operations(client)
        time.sleep(2)
        gc.collect()
        gc.freeze()  # the clients of this process are none of the server's
        for title, act in operations.items():
            loop.most_s = 0.0
            act()
            time.sleep(0.05)
            found[title] = round(loop.most_s * 1e3, 2)
        loop.end.set()
        loop.join(20)
        return found


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench.stalls", description=__doc__).parse_args()
    for title, most_ms in measure().items():
        print(f"{title:42}{most_ms:8.2f} ms")


if __name__ == "__main__":
    main()
