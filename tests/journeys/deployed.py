"""The whole path as a user deploys it: model, endpoint, function, REST API, website; with boto3 and nothing else."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any, Literal

import xgboost
from journeys import made
from services.hosting_house import IMAGE, model_archive, scores, train

from stagedoor.testing import Server

ROWS = [[1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [0.0, 1.0, 0.0, 4.0, 1.0, 0.0]]
CSV = "\n".join(",".join(f"{value:g}" for value in row) for row in ROWS)
PAGE = b"<!doctype html><title>reviews</title><h1>Reviews</h1>"
# No region, no endpoint, no credentials: what a function on AWS may rely on.
HANDLER = """
import boto3, json, os
from botocore.exceptions import ClientError

runtime = boto3.client("sagemaker-runtime")

def handler(event, context):
    name = os.environ["ENDPOINT"]
    try:
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=event["body"])
    except ClientError as error:
        body = {**error.response["Error"], "Status": error.response["ResponseMetadata"]["HTTPStatusCode"]}
        return {"statusCode": 502, "body": json.dumps(body)}
    return {"statusCode": 200, "body": answer["Body"].read().decode()}
"""
INVOKE = "AmazonSageMakerFullAccess"


def fetch(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """The status and body that an unsigned request gets."""
    request = urllib.request.Request(
        url, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def numbers(text: str | bytes) -> list[float]:
    given = text.decode() if isinstance(text, bytes) else text
    return [float(value) for value in given.split(",")]


class Deployed:
    """One deployed app; each part has the name ``name``, so that several live on one server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.booster: xgboost.Booster = train(seed=1)
        self.expected = scores(self.booster, ROWS)
        self.api_id = ""

    def bucket(self) -> "Deployed":
        s3 = self.server.client("s3")
        s3.create_bucket(Bucket=self.name)
        s3.put_object(Bucket=self.name, Key="model.tar.gz", Body=model_archive(self.booster))
        return self

    def model(self) -> "Deployed":
        role = made.role(self.server, f"{self.name}-model", "sagemaker", "AmazonS3ReadOnlyAccess")
        self.server.client("sagemaker").create_model(
            ModelName=self.name,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{self.name}/model.tar.gz"},
            ExecutionRoleArn=role,
        )
        return self

    def endpoint(self, *, wait: bool = True) -> "Deployed":
        sagemaker = self.server.client("sagemaker")
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": self.name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        sagemaker.create_endpoint_config(EndpointConfigName=self.name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.name)
        return self.in_service() if wait else self

    def in_service(self) -> "Deployed":
        self.wait("endpoint_in_service")
        return self

    def wait(self, waiter: Literal["endpoint_in_service", "endpoint_deleted"]) -> None:
        """With the client's own waiter, asking more often than it does by itself."""
        config = {"Delay": 0.05, "MaxAttempts": 1200}
        self.server.client("sagemaker").get_waiter(waiter).wait(EndpointName=self.name, WaiterConfig=config)

    def function(self, *policies: str) -> "Deployed":
        """A function whose role has these managed policies; it invokes the endpoint."""
        made.function(self.server, self.name, HANDLER, *policies)
        functions = self.server.client("lambda")
        functions.get_waiter("function_active_v2").wait(FunctionName=self.name)
        functions.update_function_configuration(
            FunctionName=self.name, Environment={"Variables": {"ENDPOINT": self.name}}
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=self.name)
        return self

    def rest_api(self) -> "Deployed":
        apis, account = self.server.client("apigateway"), self.server.account_id
        created = apis.create_rest_api(name=self.name)
        self.api_id = created["id"]
        resource = apis.create_resource(
            restApiId=self.api_id, parentId=created["rootResourceId"], pathPart="score"
        )
        place = {"restApiId": self.api_id, "resourceId": resource["id"], "httpMethod": "POST"}
        function = f"arn:aws:lambda:us-east-1:{account}:function:{self.name}"
        apis.put_method(**place, authorizationType="NONE")
        apis.put_integration(
            **place,
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations",
        )
        self.server.client("lambda").add_permission(
            FunctionName=self.name,
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:us-east-1:{account}:{self.api_id}/*/POST/score",
        )
        apis.create_deployment(restApiId=self.api_id, stageName="prod")
        return self

    def website(self) -> "Deployed":
        s3 = self.server.client("s3")
        s3.put_object(Bucket=self.name, Key="page/index.html", Body=PAGE, ContentType="text/html")
        s3.put_bucket_website(
            Bucket=self.name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
        )
        s3.delete_public_access_block(Bucket=self.name)
        allow = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{self.name}/page/*",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        s3.put_bucket_policy(Bucket=self.name, Policy=document)
        return self

    def invoke_endpoint(self) -> list[float]:
        answer = self.server.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.name, ContentType="text/csv", Body=CSV
        )
        return numbers(answer["Body"].read())

    def invoke_function(self) -> dict[str, Any]:
        answer = self.server.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps({"body": CSV})
        )
        return json.loads(answer["Payload"].read())

    def call_api(self) -> tuple[int, bytes]:
        port = self.server.public.rpartition(":")[2]
        host = f"{self.api_id}.execute-api.localhost:{port}"
        return fetch(f"{self.server.public}/prod/score", CSV.encode(), Host=host, Content_Type="text/plain")

    def page(self) -> tuple[int, bytes]:
        return fetch(f"{self.server.public}/_aws/s3-website/{self.name}/page/")


def descendants(pid: int) -> set[int]:
    """The processes below ``pid``, at any depth."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    children: dict[int, list[int]] = {}
    for line in listed.stdout.splitlines():
        child, parent = (int(word) for word in line.split())
        children.setdefault(parent, []).append(child)
    found, open_ = set[int](), [pid]
    while open_:
        below = children.get(open_.pop(), [])
        found.update(below)
        open_.extend(below)
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run (a zombie that nobody has buried yet does not)."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True)
    running = {
        int(pid) for pid, state in map(str.split, listed.stdout.splitlines()) if not state.startswith("Z")
    }
    return pids & running


def all_end(pids: set[int], within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while alive(pids):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True
