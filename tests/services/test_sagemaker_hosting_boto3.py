"""Hosting through an unmodified boto3, against a whole server: the wire's texts, times and status codes."""

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from services.hosting_house import IMAGE, model_archive, scores, train

from stagedoor.testing import Server

BODY = "1,0,2,0,0,3"
ROW = [1.0, 0.0, 2.0, 0.0, 0.0, 3.0]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


class Account:
    """Clients, a role, a bucket, and names that no other test has."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.prefix = f"h{uuid.uuid4().hex[:10]}"
        self.sagemaker = server.client("sagemaker")
        config = Config(retries={"max_attempts": 1})
        self.runtime = server.client("sagemaker-runtime", config=config)
        self.bucket = f"{self.prefix}-models"
        server.client("s3").create_bucket(Bucket=self.bucket)
        iam = server.client("iam")
        role = iam.create_role(RoleName=f"{self.prefix}-role", AssumeRolePolicyDocument=json.dumps(TRUST))
        self.role_arn = role["Role"]["Arn"]
        iam.attach_role_policy(
            RoleName=f"{self.prefix}-role", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess"
        )

    def model(
        self, seed: int = 0, content: bytes | None = None, environment: dict[str, str] | None = None
    ) -> tuple[str, Any]:
        """A model made from a booster of this seed, and the booster."""
        booster = train(seed)
        name = f"{self.prefix}-{uuid.uuid4().hex[:6]}"
        self.server.client("s3").put_object(
            Bucket=self.bucket, Key=f"{name}.tar.gz", Body=content or model_archive(booster)
        )
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"s3://{self.bucket}/{name}.tar.gz",
                "Environment": environment or {},
            },
            ExecutionRoleArn=self.role_arn,
        )
        return name, booster

    def config(self, *models: str, count: int = 1) -> str:
        name = f"{self.prefix}-{uuid.uuid4().hex[:6]}"
        variants = [
            {
                "VariantName": f"V{number}",
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": count,
            }
            for number, model in enumerate(models)
        ]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        return name

    def endpoint(self, config: str) -> str:
        name = f"{self.prefix}-Endpoint"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name

    def wait(self, name: str, status: str = "InService") -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            described = self.sagemaker.describe_endpoint(EndpointName=name)
            if described["EndpointStatus"] == status:
                return described
            assert described["EndpointStatus"] != "Failed", described["FailureReason"]
            time.sleep(0.02)
        raise AssertionError(f"{name} never became {status}")

    def score(self, endpoint: str) -> float:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=BODY)
        return float(answer["Body"].read())


@pytest.fixture
def account(stagedoor: Server) -> Account:
    return Account(stagedoor)


def error_of(call: Callable[..., Any], **request: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_from_a_model_to_an_answer_and_back_to_nothing(account: Account) -> None:
    model, booster = account.model()
    config = account.config(model)
    name = f"{account.prefix}-Endpoint"
    sagemaker = account.sagemaker
    tags = [{"Key": "stage", "Value": "test"}]
    arn = sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=tags)["EndpointArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:{account.server.account_id}:endpoint/{name.lower()}"
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    described = sagemaker.describe_endpoint(EndpointName=name)
    assert (
        described["CreationTime"] < described["LastModifiedTime"] <= datetime.now(UTC) + timedelta(seconds=1)
    )
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    answer = account.runtime.invoke_endpoint(
        EndpointName=name, ContentType="text/csv", Body=BODY, CustomAttributes="trace=7"
    )
    assert abs(float(answer["Body"].read()) - scores(booster, [ROW])[0]) < 1e-6
    assert answer["ContentType"] == "text/csv; charset=utf-8"
    assert answer["InvokedProductionVariant"] == "V0"
    assert answer["CustomAttributes"] == "trace=7"
    listed = sagemaker.list_endpoints(NameContains=account.prefix, StatusEquals="InService")["Endpoints"]
    assert [endpoint["EndpointName"] for endpoint in listed] == [name]
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    code, message, status = error_of(account.runtime.invoke_endpoint, EndpointName=name, Body=BODY)
    assert (code, status) == ("ValidationError", 400)
    assert message == f"Endpoint {name} of account {account.server.account_id} not found."
    sagemaker.delete_endpoint_config(EndpointConfigName=config)
    sagemaker.delete_model(ModelName=model)
    assert error_of(sagemaker.describe_model, ModelName=model)[0] == "ValidationException"


def test_many_rows_in_every_format_get_the_boosters_answers(account: Account) -> None:
    model, booster = account.model()
    name = account.endpoint(account.config(model))
    account.wait(name)
    rows = np.random.default_rng(0).poisson(2, (40, 6)).astype(float)
    expected = scores(booster, rows.tolist())
    csv = "\n".join(",".join(str(int(cell)) for cell in row) for row in rows)
    answer = account.runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv)
    assert np.allclose([float(text) for text in answer["Body"].read().split(b",")], expected, atol=1e-6)
    answer = account.runtime.invoke_endpoint(
        EndpointName=name,
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps({"instances": [{"features": row} for row in rows.tolist()]}),
    )
    found = [entry["score"] for entry in json.loads(answer["Body"].read())["predictions"]]
    assert np.allclose(found, expected, atol=1e-6)


def test_errors_have_awss_codes_and_texts(account: Account) -> None:
    model, _ = account.model()
    config = account.config(model)
    name = account.endpoint(config)
    account.wait(name)
    sagemaker, runtime = account.sagemaker, account.runtime
    arn = f"arn:aws:sagemaker:us-east-1:{account.server.account_id}:endpoint/{name.lower()}"
    assert error_of(sagemaker.create_endpoint, EndpointName=name, EndpointConfigName=config) == (
        "ValidationException",
        f'Cannot create already existing endpoint "{arn}".',
        400,
    )
    assert error_of(sagemaker.describe_endpoint, EndpointName="no-such-endpoint")[1].startswith(
        "Could not find"
    )
    code, message, status = error_of(
        runtime.invoke_endpoint, EndpointName=name, ContentType="text/csv", Body="1,2"
    )
    assert (code, status) == ("ModelError", 424)
    assert message.startswith(
        'Received client error (400) from primary with message "Unable to evaluate payload'
    )
    code, message, status = error_of(runtime.invoke_endpoint, EndpointName=name, Body=b"1" * 6_291_457)
    assert (code, status) == ("413", 413)
    assert message == "HTTP content length exceeded 6291456 bytes."
    code, message, _ = error_of(runtime.invoke_endpoint, EndpointName=name, Body=BODY, TargetModel="m")
    assert (code, "not a multi-model endpoint" in message) == ("ValidationError", True)
    code, message, _ = error_of(sagemaker.list_endpoints, NextToken="bm9wZQ==")
    assert (code, "NextToken" in message) == ("ValidationException", True)


def test_model_errors_carry_what_the_model_said(account: Account) -> None:
    model, _ = account.model()
    name = account.endpoint(account.config(model))
    account.wait(name)
    with pytest.raises(account.runtime.exceptions.ModelError) as caught:
        account.runtime.invoke_endpoint(EndpointName=name, ContentType="image/png", Body=b"x")
    response = caught.value.response
    assert response["OriginalStatusCode"] == 415
    assert "image/png" in response["OriginalMessage"]
    assert response["LogStreamArn"].endswith(f":log-group:/aws/sagemaker/Endpoints/{name}")


def test_a_broken_model_fails_and_its_log_says_why(account: Account) -> None:
    model, _ = account.model(content=b"no archive")
    name = account.endpoint(account.config(model))
    deadline = time.monotonic() + 30
    while (described := account.sagemaker.describe_endpoint(EndpointName=name))[
        "EndpointStatus"
    ] == "Creating":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert described["EndpointStatus"] == "Failed"
    assert "valid tar.gz archive" in described["FailureReason"]
    logs = account.server.client("logs")
    group = f"/aws/sagemaker/Endpoints/{name}"
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"].startswith("V0/i-")
    events = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
    )
    assert any("valid tar.gz archive" in event["message"] for event in events["events"])
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_updates_and_weights_take_effect(account: Account) -> None:
    (first, one), (second, two) = account.model(1), account.model(2)
    name = account.endpoint(account.config(first))
    account.wait(name)
    assert abs(account.score(name) - scores(one, [ROW])[0]) < 1e-6
    both = account.config(first, second)
    account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=both)
    described = account.wait(name)
    assert described["EndpointConfigName"] == both
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "V0", "DesiredWeight": 0.0},
            {"VariantName": "V1", "DesiredInstanceCount": 2},
        ],
    )
    described = account.wait(name)
    assert [variant["CurrentInstanceCount"] for variant in described["ProductionVariants"]] == [1, 2]
    assert {round(account.score(name), 6) for _ in range(10)} == {round(scores(two, [ROW])[0], 6)}
    answer = account.runtime.invoke_endpoint(EndpointName=name, Body=BODY, TargetVariant="V0")
    assert answer["InvokedProductionVariant"] == "V0"
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_an_invocation_needs_permission(account: Account) -> None:
    model, _ = account.model()
    name = account.endpoint(account.config(model))
    account.wait(name)
    iam = account.server.client("iam")
    iam.create_user(UserName=account.prefix)
    key = iam.create_access_key(UserName=account.prefix)["AccessKey"]
    runtime = boto3.client(
        "sagemaker-runtime",
        endpoint_url=account.server.api,
        region_name="us-east-1",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    code, message, status = error_of(runtime.invoke_endpoint, EndpointName=name, Body=BODY)
    assert (code, status) == ("AccessDeniedException", 403)
    assert f"user/{account.prefix}" in message
    assert "sagemaker:InvokeEndpoint" in message
    assert f"endpoint/{name.lower()}" in message


@pytest.mark.crash
def test_endpoints_come_back_after_the_server_was_killed(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server()
    account = Account(server)
    model, booster = account.model()
    name = account.endpoint(account.config(model, count=2))
    account.wait(name)
    server.kill()
    server.start()
    assert account.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"
    assert abs(account.score(name) - scores(booster, [ROW])[0]) < 1e-6


@pytest.mark.crash
@pytest.mark.parametrize("pause_s", [0.0, 0.02, 0.1, 0.3])
def test_an_endpoint_whose_creation_was_interrupted_is_finished(
    stagedoor_server: Callable[..., Server], pause_s: float
) -> None:
    server = stagedoor_server()
    account = Account(server)
    model, booster = account.model()
    name = account.endpoint(account.config(model))
    time.sleep(pause_s)
    server.kill()
    server.start()
    account.wait(name)
    assert abs(account.score(name) - scores(booster, [ROW])[0]) < 1e-6
    account.sagemaker.delete_endpoint(EndpointName=name)
    account.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_a_model_may_have_its_requests_wait_for_a_batch(account: Account) -> None:
    environment = {"SAGEMAKER_TS_BATCH_SIZE": "2", "SAGEMAKER_TS_MAX_BATCH_DELAY": "3600000"}
    model, booster = account.model(environment=environment)
    endpoint = account.endpoint(account.config(model))
    account.wait(endpoint)
    with ThreadPoolExecutor(2) as clients:
        alone = clients.submit(account.score, endpoint)
        assert not wait([alone], timeout=0.3).done
        together = clients.submit(account.score, endpoint)
        expected = pytest.approx(scores(booster, [ROW])[0], abs=1e-6)
        assert [alone.result(30), together.result(30)] == [expected, expected]


@pytest.mark.parametrize(
    ("variable", "value", "least"),
    [
        ("SAGEMAKER_TS_BATCH_SIZE", "0", 1),
        ("SAGEMAKER_TS_BATCH_SIZE", "many", 1),
        ("SAGEMAKER_TS_MAX_BATCH_DELAY", "-1", 0),
        ("SAGEMAKER_TS_MAX_BATCH_DELAY", "0.5", 0),
        ("SAGEMAKER_TS_MAX_BATCH_DELAY", "2147483648", 0),
    ],
)
def test_a_batch_size_or_delay_that_is_none_is_refused_by_its_name(
    account: Account, variable: str, value: str, least: int
) -> None:
    with pytest.raises(ClientError) as caught:
        account.model(environment={variable: value})
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert f"PrimaryContainer.Environment: {variable} is '{value}'" in error["Message"]
    assert error["Message"].endswith(f"a whole number from {least} to 2147483647.")
