"""Whether what is registered and does nothing costs anything: ``python -m bench.growth [--endpoints 1000] [--functions 10000]``.

Two servers with one live endpoint and one function each, and in the second many more of both beside them, registered and at rest. The
same requests go to both in turns; CPU time of the server process for each, medians of the rounds, and the ratio. Beside that, both
servers' CPU and wall time from their start to ready, and their memory.
"""

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.invoke import IMAGE
from bench.s3 import memory_mb
from bench.signed_load import cpu_s, send, signed
from stagedoor.store.records import Key, SqliteRecords
from stagedoor.testing import Server

_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
_JSON = {"Content-Type": "application/x-amz-json-1.1"}


def _model() -> bytes:
    import xgboost

    random = np.random.default_rng(3)
    rows = random.normal(size=(200, 13)).astype(np.float32)
    booster = xgboost.train(
        {"objective": "binary:logistic"}, xgboost.DMatrix(rows, (rows.sum(axis=1) > 0).astype(float)), 10
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        data = bytes(booster.save_raw("ubj"))
        entry = tarfile.TarInfo("xgboost-model")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def _furnish(server: Server) -> None:
    """One endpoint and one function, both answering."""
    s3, iam, sagemaker, functions = (server.client(name) for name in ("s3", "iam", "sagemaker", "lambda"))
    s3.create_bucket(Bucket="growth")
    s3.put_object(Bucket="growth", Key="model.tar.gz", Body=_model())
    role = iam.create_role(RoleName="growth", AssumeRolePolicyDocument=_TRUST)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="growth", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://growth/model.tar.gz"}
    sagemaker.create_model(ModelName="one", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "one", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="one", ProductionVariants=[variant | {"InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName="one", EndpointConfigName="one")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
    functions.create_function(
        FunctionName="one",
        Runtime="python3.11",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
    )


def _register(server: Server, endpoints: int, functions: int) -> None:
    """Copies of the endpoint (as failed ones, which have no workers) and of the function, written while the server is down."""
    records = SqliteRecords(server.data / "state.sqlite")
    place = (server.account_id, server.region)
    endpoint = records.get(Key("sagemaker.endpoint", *place, "one"))
    function = records.get(Key("lambda.function", *place, "one"))
    assert endpoint is not None
    assert function is not None
    idle = {name: value for name, value in endpoint.document.items() if name not in ("serving", "coming")}
    with records.transaction() as transaction:
        for number in range(endpoints - 1):
            name = f"more-{number:05}"
            arn = endpoint.document["EndpointArn"].rpartition("/")[0] + "/" + name
            document = idle | {"EndpointName": name, "EndpointArn": arn, "EndpointStatus": "Failed"}
            transaction.insert(
                Key("sagemaker.endpoint", *place, name), document | {"FailureReason": "registered only"}
            )
        for number in range(functions - 1):
            name = f"more-{number:05}"
            text = json.dumps(function.document).replace(":function:one", f":function:{name}")
            document = json.loads(text.replace('"FunctionName": "one"', f'"FunctionName": "{name}"'))
            transaction.insert(Key("lambda.function", *place, name), document)
    records.close()


def _started(server: Server) -> dict[str, float]:
    begun_s = time.perf_counter()
    server.start()
    wall_s = time.perf_counter() - begun_s
    return {"wall_s": round(wall_s, 3), "cpu_s": cpu_s(server.pid)}


def _wait(server: Server) -> None:
    sagemaker, deadline_s = server.client("sagemaker"), time.monotonic() + 120
    while sagemaker.describe_endpoint(EndpointName="one")["EndpointStatus"] != "InService":
        if time.monotonic() > deadline_s:
            raise RuntimeError("the endpoint did not get in service")
        time.sleep(0.2)
    row = b",".join([b"0.5"] * 13)
    send(server, [_invoke_endpoint(server, row)] * 50, 1)


def _invoke_endpoint(server: Server, row: bytes) -> bytes:
    return signed(server, "sagemaker", "/endpoints/one/invocations", row, {"Content-Type": "text/csv"})


def _sagemaker(server: Server, operation: str, document: dict[str, Any]) -> bytes:
    target = {"X-Amz-Target": f"SageMaker.{operation}"}
    return signed(server, "sagemaker", "/", json.dumps(document).encode(), _JSON | target)


Make = Callable[[Server, str], bytes]


def _requests(names: int) -> dict[str, tuple[int, Make]]:
    """How many of each request make a round, and how each is made; ``names`` differ from call to call."""
    row = b",".join([b"0.5"] * 13)
    model = {"VariantName": "v", "ModelName": "one", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    return {
        "InvokeEndpoint": (names, lambda server, _: _invoke_endpoint(server, row)),
        "Invoke (function)": (
            names // 4,
            lambda server, _: signed(server, "lambda", "/2015-03-31/functions/one/invocations", b"{}"),
        ),
        "CreateEndpointConfig": (
            names // 10,
            lambda server, name: _sagemaker(
                server, "CreateEndpointConfig", {"EndpointConfigName": name, "ProductionVariants": [model]}
            ),
        ),
        "PutFunctionConcurrency": (
            names // 20,
            lambda server, name: signed(
                server,
                "lambda",
                "/2017-10-31/functions/one/concurrency",
                json.dumps({"ReservedConcurrentExecutions": 10 + int(name.rpartition("-")[2]) % 7}).encode(),
                method="PUT",
            ),
        ),
        "DescribeEndpoint": (
            names // 10,
            lambda server, _: _sagemaker(server, "DescribeEndpoint", {"EndpointName": "one"}),
        ),
        "ListEndpoints (10)": (
            names // 10,
            lambda server, _: _sagemaker(server, "ListEndpoints", {"MaxResults": 10}),
        ),
        "ListFunctions (50)": (
            names // 10,
            lambda server, _: signed(server, "lambda", "/2015-03-31/functions/", method="GET"),
        ),
    }


def measure(
    endpoints: int = 1000, functions: int = 10_000, rounds: int = 5, size: int = 400
) -> dict[str, Any]:
    """The figures by request: µs of CPU with one of each and with many, and the ratio; start and memory of both servers."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        few, many = Server(Path(folder) / "few" / "data"), Server(Path(folder) / "many" / "data")
        try:
            for server in (few, many):
                _furnish(server.start())
                _wait(server)
                server.stop()
            _register(many, endpoints, functions)
            starts: dict[str, Any] = {"few": _started(few), "many": _started(many)}
            for name, server in (("few", few), ("many", many)):
                _wait(server)
                time.sleep(2)
                starts[name]["rss_mb"] = memory_mb(server.pid, "VmRSS")
            found: dict[str, Any] = {"start": starts}
            for title, (count, make) in _requests(size).items():
                spent: dict[str, list[float]] = {"few": [], "many": []}
                for turn in range(rounds + 1):
                    for name, server in (("few", few), ("many", many)):
                        requests = [make(server, f"n-{turn * size + number}") for number in range(count)]
                        cpu_us = send(server, requests, 1).cpu_us
                        if turn:
                            spent[name].append(cpu_us)
                medians = {name: round(statistics.median(values), 1) for name, values in spent.items()}
                ratio = round(medians["many"] / medians["few"], 3) if medians["few"] else None
                found[title] = {**medians, "ratio": ratio}
            return found
        finally:
            few.close()
            many.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--endpoints", type=int, default=1000, help="(1000)")
    parser.add_argument("--functions", type=int, default=10_000, help="(10000)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--size", type=int, default=400, help="invocations in a round (400)")
    given = parser.parse_args()
    found = measure(given.endpoints, given.functions, given.rounds, given.size)
    print("start:", json.dumps(found.pop("start")))
    print(f"{'CPU µs':26}{'one':>10}{'many':>10}{'ratio':>8}")
    for title, row in found.items():
        print(f"{title:26}{row['few']:>10}{row['many']:>10}{row['ratio']!s:>8}")


if __name__ == "__main__":
    main()
