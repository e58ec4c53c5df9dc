"""A server with the whole web-app path on it: a model behind an endpoint, a function that asks it, a public API in front.

Place in the flow: ``cold_start``, ``web_app`` and ``memory`` measure what this makes. Everything goes through boto3, as a user would do it.
"""

import io
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from stagedoor.testing import Server

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
COLUMNS = 5_000
TREES = 200
BUCKET = "bench-models"

# As a course would write it: the text becomes a bag of words, the endpoint is asked, the verdict goes back.
HANDLER = """
import json, os, re
import boto3

COLUMNS = {f"word{number}": number for number in range(5000)}
runtime = boto3.client("sagemaker-runtime")

def handle(event, context):
    bag = [0] * len(COLUMNS)
    for word in re.findall(r"[a-z0-9]+", event["body"].lower()):
        if word in COLUMNS:
            bag[COLUMNS[word]] += 1
    answer = runtime.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"], ContentType="text/csv", Body=",".join(map(str, bag))
    )
    probability = float(answer["Body"].read())
    verdict = {"verdict": "positive" if probability >= 0.5 else "negative", "probability": probability}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(verdict)}
"""
WITH_BOTO3 = (
    'import boto3\nclient = boto3.client("sagemaker-runtime")\ndef handle(event, context):\n    return "ok"\n'
)


class BenchError(Exception):
    """The benchmark cannot run, or an answer was wrong."""


def train() -> xgboost.Booster:
    """A model like the main job's: 200 trees over 5,000 word counts; the data is drawn, seeded."""
    random = np.random.default_rng(7)
    counts = random.poisson(0.02, (4_000, COLUMNS)).astype(np.float32)
    weights = random.normal(0, 1, COLUMNS) * (random.random(COLUMNS) < 0.1)
    labels = (counts @ weights + random.normal(0, 1, 4_000) > 0).astype(np.float32)
    data = xgboost.DMatrix(counts, labels, nthread=1)
    return xgboost.train(
        {"objective": "binary:logistic", "max_depth": 6, "eta": 0.2, "nthread": 1}, data, TREES
    )


def review() -> str:
    """About 100 words that the model knows."""
    random = np.random.default_rng(11)
    return " ".join(f"word{number}" for number in random.integers(0, COLUMNS, 100))


def row() -> bytes:
    """One review as ``text/csv``: 5,000 counts."""
    random = np.random.default_rng(11)
    return ",".join(map(str, random.poisson(0.02, COLUMNS).tolist())).encode()


class Deployed:
    """A running server and what is on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.role = self._role()
        self.sagemaker = server.client("sagemaker")
        self.lambda_ = server.client("lambda")
        self.runtime = server.client("sagemaker-runtime")
        self.packages: dict[str, Path] = {}

    def _role(self) -> str:
        iam = self.server.client("iam")
        services = ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]
        trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        role = iam.create_role(
            RoleName="bench",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]["Arn"]
        for policy in ("AmazonS3ReadOnlyAccess", "AmazonSageMakerFullAccess"):
            iam.attach_role_policy(RoleName="bench", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        return role

    def model(self, name: str = "bench") -> None:
        """Upload the booster and register it."""
        raw = bytes(train().save_raw("ubj"))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            entry = tarfile.TarInfo("xgboost-model")
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
        s3 = self.server.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=buffer.getvalue())
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"},
        )
        variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant | {"InitialInstanceCount": 1}]
        )

    def endpoint(self, name: str, config: str = "bench") -> None:
        """CreateEndpoint, and return when it is InService."""
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.in_service(name)

    def in_service(self, name: str) -> None:
        """Ask again and again, as quickly as a client can."""
        deadline_s = time.monotonic() + 60
        while (found := self.sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] != "InService":
            if found["EndpointStatus"] == "Failed" or time.monotonic() > deadline_s:
                raise BenchError(f"the endpoint did not start: {found}")
            time.sleep(0.002)

    def function(self, name: str, source: str, **variables: str) -> None:
        """CreateFunction from one file."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", source)
        self.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=self.role,
            Handler="app.handle",
            Code={"ZipFile": buffer.getvalue()},
            Timeout=30,
            MemorySize=256,
            Environment={"Variables": variables},
        )

    def api(self, function: str) -> str:
        """A REST API whose POST goes to a function; gives the public URL."""
        gateway = self.server.client("apigateway")
        api = gateway.create_rest_api(name="bench")["id"]
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        region, account = self.server.region, self.server.account_id
        arn = f"arn:aws:lambda:{region}:{account}:function:{function}"
        gateway.put_method(restApiId=api, resourceId=root, httpMethod="POST", authorizationType="NONE")
        gateway.put_integration(
            restApiId=api,
            resourceId=root,
            httpMethod="POST",
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations",
        )
        self.lambda_.add_permission(
            FunctionName=function,
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
        )
        gateway.create_deployment(restApiId=api, stageName="prod")
        return f"{self.server.public}/_aws/execute-api/{api}/prod/"

    def logs(self) -> list[dict[str, Any]]:
        """The server's own log."""
        path = self.server.data / "logs" / "server.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def deployed(folder: Path, **settings: str) -> Iterator[Deployed]:
    """A server in ``folder``; settings as in ``docs/settings.md``."""
    environment = {f"STAGEDOOR_{name.upper()}": value for name, value in settings.items()}
    server = Server(folder / "data", environment).start()
    try:
        yield Deployed(server)
    finally:
        server.stop()


def pids_of(server: Server) -> list[int]:
    """The server's process and all that descend from it."""
    instance = json.loads((server.data / "stagedoor.json").read_text())
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, pending = [], [instance["pid"]]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children.get(pid, [])
    return [pid for pid in found if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110 - a process
