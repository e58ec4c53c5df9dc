"""A stagedoor server of the benchmark's own, furnished as a team would: a role, models in S3, endpoints, users with and without rights.

Every measured call is signed by a user whose policy has to be read; one in a hundred is forged and one in a hundred comes from a
user who may not.
"""

import io
import json
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials

from bench import load
from bench.load import Asked, BenchError
from bench.work import Work
from stagedoor.testing import Server

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET = "bench-models"
REFUSED_EVERY = 100
LIVE_TIMEOUT_S = 120.0


class Stage:
    """A running server and what was made on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.root = Credentials(server.access_key_id, server.secret_access_key)
        self._clients: dict[str, Any] = {}
        self.role = self._role()
        allowed = {
            "Effect": "Allow",
            "Action": ["sagemaker:InvokeEndpoint", "lambda:InvokeFunction"],
            "Resource": [
                f"arn:aws:sagemaker:us-east-1:{server.account_id}:endpoint/*",
                f"arn:aws:lambda:us-east-1:{server.account_id}:function:*",
            ],
        }
        self.caller = self._user("caller", {"Version": "2012-10-17", "Statement": [allowed]})
        self.stranger = self._user("stranger", None)

    def client(self, service: str) -> Any:
        """boto3 with the root key."""
        if service not in self._clients:
            self._clients[service] = self.server.client(service)
        return self._clients[service]

    def _role(self) -> str:
        services = ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]
        trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        iam = self.client("iam")
        role = iam.create_role(
            RoleName="bench",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]["Arn"]
        for policy in ("AmazonS3ReadOnlyAccess", "AmazonSageMakerFullAccess"):
            iam.attach_role_policy(RoleName="bench", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        return role

    def _user(self, name: str, policy: Mapping[str, object] | None) -> Credentials:
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if policy is not None:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def model(self, work: Work) -> None:
        """The booster in S3, and a model of the work's name."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(work.model, "xgboost-model")
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key=f"{work.name}.tar.gz", Body=packed.getvalue())
        self.client("sagemaker").create_model(
            ModelName=work.name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/{work.name}.tar.gz"},
        )

    def configuration(self, name: str, model: str) -> None:
        variant = {"VariantName": "AllTraffic", "ModelName": model, "InstanceType": "ml.m5.large"}
        self.client("sagemaker").create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant | {"InitialInstanceCount": 1}]
        )

    def endpoint(self, work: Work) -> None:
        """A live endpoint of the work's name."""
        self.model(work)
        self.configuration(work.name, work.name)
        self.client("sagemaker").create_endpoint(EndpointName=work.name, EndpointConfigName=work.name)
        self.wait_in_service(work.name)

    def wait_in_service(self, endpoint: str) -> None:
        sagemaker, deadline_s = self.client("sagemaker"), time.monotonic() + LIVE_TIMEOUT_S
        while (seen := sagemaker.describe_endpoint(EndpointName=endpoint))["EndpointStatus"] != "InService":
            if seen["EndpointStatus"] == "Failed" or time.monotonic() > deadline_s:
                raise BenchError(f"the endpoint did not start: {seen}")
            time.sleep(0.02)

    def function(
        self, name: str, files: Mapping[str, bytes], handler: str, variables: Mapping[str, str]
    ) -> str:
        """A function that is active; its ARN."""
        functions = self.client("lambda")
        made = functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=self.role,
            Handler=handler,
            Code={"ZipFile": zipped(files)},
            Timeout=25,
            MemorySize=512,
            Environment={"Variables": dict(variables)},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=name)
        return made["FunctionArn"]

    def invocations_url(self, endpoint: str) -> str:
        return f"{self.server.api}/endpoints/{endpoint}/invocations"

    def ask(self, work: Work, endpoint: str | None = None) -> list[Asked]:
        """The work's requests to its endpoint, signed now: signatures are good for some minutes."""
        headers = {"Content-Type": work.content_type}
        return with_refusals(
            [
                load.request(
                    "POST",
                    self.invocations_url(endpoint or work.name),
                    body,
                    headers,
                    credentials=self.stranger if _is_stranger(number) else self.caller,
                    is_refused=_is_stranger(number),
                )
                for number, body in enumerate(work.bodies)
            ]
        )

    def ask_function(self, name: str, payload: bytes, count: int = 100) -> list[Asked]:
        """Signed Invoke requests."""
        url = f"{self.server.api}/2015-03-31/functions/{name}/invocations"
        return [
            load.request("POST", url, payload, credentials=self.caller, service="lambda")
            for _ in range(count)
        ]


def _is_stranger(number: int) -> bool:
    return number % REFUSED_EVERY == 66


def with_refusals(asked: Sequence[Asked]) -> list[Asked]:
    """One in a hundred with a false signature, beside those of the stranger."""
    return [load.forged(one) if number % REFUSED_EVERY == 33 else one for number, one in enumerate(asked)]


def zipped(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


@contextmanager
def running(settings: Mapping[str, str] | None = None, *flags: str) -> Iterator[Stage]:
    """A furnished server on free ports, with a data directory of its own; ``settings`` are STAGEDOOR_* variables."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-bench-"))
    server = Server(folder / "data", settings, *flags)
    try:
        yield Stage(server.start())
    finally:
        try:
            server.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
