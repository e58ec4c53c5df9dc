"""Case 40 at the operations: none of the places that a caller can name makes the server ask somebody else.

The guard for places that a later operation does open is tested in ``http.test_destinations``, the proxy in ``front.test_proxy``.
"""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from services.identities import make_role, unique

from stagedoor.testing import Server

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


class Trap:
    """A listener on this machine that nobody has any business with."""

    def __init__(self) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            do_POST = do_HEAD = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.server.shutdown()
    assert made.asked == []


def places(server: Server, trap: Trap) -> list[str]:
    own = server.api.removeprefix("http://")
    return [
        f"http://{trap.place}/x",
        f"http://{own}/x",
        "http://169.254.169.254/latest/",
        "http://[::1]/x",
        "file:///etc/passwd",
    ]


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Message"]
    except ParamValidationError as error:
        return 400, str(error)
    raise AssertionError(f"{arguments} was accepted")


def test_case_40_model_data_comes_from_s3_alone(stagedoor: Server, trap: Trap) -> None:
    sagemaker, role = stagedoor.client("sagemaker"), make_role(stagedoor)["Arn"]
    for place in places(stagedoor, trap):
        status, _ = refused(
            sagemaker.create_model,
            ModelName=unique("model"),
            ExecutionRoleArn=role,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": place},
        )
        assert status == 400


def test_case_40_images_are_names_and_nobody_pulls_them(stagedoor: Server, trap: Trap) -> None:
    sagemaker, role = stagedoor.client("sagemaker"), make_role(stagedoor)["Arn"]
    for image in (f"{trap.place}/xgboost:1", f"http://{trap.place}/xgboost:1", "169.254.169.254/xgboost:1"):
        status, _ = refused(
            sagemaker.create_model,
            ModelName=unique("model"),
            ExecutionRoleArn=role,
            PrimaryContainer={"Image": image},
        )
        assert status == 400
    status, _ = refused(
        stagedoor.client("lambda").create_function,
        FunctionName=unique("function"),
        PackageType="Image",
        Role=role,
        Code={"ImageUri": f"{trap.place}/image:1"},
    )
    assert status == 400


@pytest.mark.parametrize("kind", ["HTTP", "HTTP_PROXY"])
def test_case_40_http_integrations_are_refused_by_name(stagedoor: Server, trap: Trap, kind: str) -> None:
    apis = stagedoor.client("apigateway")
    api = apis.create_rest_api(name=unique("api"))
    place = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "GET"}
    apis.put_method(**place, authorizationType="NONE")
    for uri in places(stagedoor, trap):
        status, message = refused(
            apis.put_integration, **place, type=kind, integrationHttpMethod="GET", uri=uri
        )
        assert status == 400
        assert kind in message


def test_case_40_copies_come_from_buckets_alone(stagedoor: Server, trap: Trap) -> None:
    s3, bucket = stagedoor.client("s3"), unique("copies")
    s3.create_bucket(Bucket=bucket)
    for place in places(stagedoor, trap):
        status, _ = refused(s3.copy_object, Bucket=bucket, Key="k", CopySource=place)
        assert status in (400, 403, 404)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_case_40_training_data_comes_from_s3_alone(stagedoor: Server, trap: Trap) -> None:
    sagemaker, role = stagedoor.client("sagemaker"), make_role(stagedoor)["Arn"]
    for place in places(stagedoor, trap):
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": place}}
        job: dict[str, Any] = {
            "TrainingJobName": unique("job"),
            "RoleArn": role,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "InputDataConfig": [{"ChannelName": "train", "DataSource": source, "ContentType": "text/csv"}],
            "OutputDataConfig": {"S3OutputPath": "s3://any/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        status, _ = refused(sagemaker.create_training_job, **job)
        assert status == 400
        job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://any/in"
        job["OutputDataConfig"]["S3OutputPath"] = place
        assert refused(sagemaker.create_training_job, **job)[0] == 400


def test_case_40_signing_keys_of_federations_are_not_fetched(stagedoor: Server, trap: Trap) -> None:
    sts, role = stagedoor.client("sts"), make_role(stagedoor)["Arn"]
    header, claims = "eyJhbGciOiJSUzI1NiJ9", json.dumps({"iss": f"http://{trap.place}", "sub": "x"})
    token = f"{header}.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"
    status, _ = refused(
        sts.assume_role_with_web_identity, RoleArn=role, RoleSessionName="x", WebIdentityToken=token
    )
    assert status in (400, 403, 501)
