"""Lambda and CloudWatch Logs through unmodified boto3 and the AWS CLI against a running server."""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.lambda_house import trust, zipped

from stagedoor.testing import Server


def read(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def name() -> str:
    return f"f-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def role(stagedoor: Server, name: str) -> Iterator[str]:
    iam = stagedoor.client("iam")
    yield iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))["Role"][
        "Arn"
    ]


def create(stagedoor: Server, name: str, role: str, source: str, **members: Any) -> Any:
    client = stagedoor.client("lambda")
    members = {
        "Handler": "app.handler",
        "Runtime": "python3.12",
        "Code": {"ZipFile": zipped(source)},
        **members,
    }
    client.create_function(FunctionName=name, Role=role, **members)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    return client


def test_a_function_is_created_invoked_and_read_back(stagedoor: Server, name: str, role: str) -> None:
    client = create(
        stagedoor, name, role, "def handler(event, context):\n    print('hi')\n    return {'got': event}\n"
    )
    answer = client.invoke(FunctionName=name, Payload=json.dumps({"a": 1}), LogType="Tail")
    assert json.loads(answer["Payload"].read()) == {"got": {"a": 1}}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert "hi\n" in base64.b64decode(answer["LogResult"]).decode()
    found = client.get_function(FunctionName=name)
    assert found["Configuration"]["State"] == "Active"
    assert name in [
        one["FunctionName"]
        for page in client.get_paginator("list_functions").paginate()
        for one in page["Functions"]
    ]
    client.delete_function(FunctionName=name)
    with pytest.raises(
        client.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda"
    ):
        client.get_function(FunctionName=name)


def test_the_location_of_a_functions_code_gives_its_package_to_whoever_has_the_link(
    stagedoor: Server, name: str, role: str
) -> None:
    source = "def handler(event, context):\n    return 1\n"
    client = create(stagedoor, name, role, source, Publish=True)
    client.update_function_code(FunctionName=name, ZipFile=zipped(source.replace("1", "2")))
    for qualifier, expected in (("1", source), ("$LATEST", source.replace("1", "2"))):
        found = client.get_function(FunctionName=name, Qualifier=qualifier)
        status, package = read(found["Code"]["Location"])
        assert status == 200
        assert (
            base64.b64encode(hashlib.sha256(package).digest()).decode()
            == (found["Configuration"]["CodeSha256"])
        )
        assert zipfile.ZipFile(io.BytesIO(package)).read("app.py").decode() == expected


def test_a_link_to_code_that_was_changed_or_has_expired_gives_nothing(
    stagedoor: Server, name: str, role: str
) -> None:
    client = create(stagedoor, name, role, "def handler(event, context):\n    return 1\n")
    location = client.get_function(FunctionName=name)["Code"]["Location"]
    path, _, query = location.partition("?")
    expires = urllib.parse.parse_qs(query)["Expires"][0]
    for changed in (
        path,
        location.replace(expires, str(int(expires) + 1)),
        location.replace("Signature=", "Signature=0"),
        f"{path[:-70]}{'0' * 64}.zip?{query}",
        f"{path}/../../../keys.json?{query}",
        path.replace("function-code", "nothing"),
    ):
        status, body = read(changed)
        assert status in (403, 404), changed
        assert b"<Error>" in body
        assert b"PK\x03\x04" not in body


def test_the_log_of_a_function_is_read_with_boto3(stagedoor: Server, name: str, role: str) -> None:
    client = create(stagedoor, name, role, "def handler(event, context):\n    print('line', event)\n")
    client.invoke(FunctionName=name, Payload=b'"x"')
    logs = stagedoor.client("logs")
    messages: list[str] = []
    deadline = time.monotonic() + 20
    while not any(message.startswith("REPORT") for message in messages):
        assert time.monotonic() < deadline
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
            messages = [event["message"] for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            continue
    assert [message.split()[0] for message in messages] == ["START", "line", "END", "REPORT"]
    stream = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"][0]["logStreamName"]
    events = logs.get_log_events(
        logGroupName=f"/aws/lambda/{name}", logStreamName=stream, startFromHead=True
    )["events"]
    assert [event["message"] for event in events] == messages


def test_a_functions_error_is_a_header_and_a_payload(stagedoor: Server, name: str, role: str) -> None:
    client = create(stagedoor, name, role, "def handler(event, context):\n    raise ValueError('no')\n")
    answer = client.invoke(FunctionName=name)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"


def test_a_function_calls_the_server_as_its_role(stagedoor: Server, name: str, role: str) -> None:
    source = "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n"
    client = create(stagedoor, name, role, source, Timeout=30)
    answer = client.invoke(FunctionName=name)
    arn = f"arn:aws:sts::{stagedoor.account_id}:assumed-role/{name}/{name}"
    assert json.loads(answer["Payload"].read()) == arn


def test_a_function_may_do_what_its_role_may_and_nothing_else(
    stagedoor: Server, name: str, role: str
) -> None:
    source = """
import boto3
from botocore.exceptions import ClientError
def handler(event, context):
    try:
        return [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]]
    except ClientError as error:
        return error.response["Error"]["Code"]
"""
    client = create(stagedoor, name, role, source, Timeout=30)
    stagedoor.client("s3").create_bucket(Bucket=name)

    def answer() -> Any:
        return json.loads(client.invoke(FunctionName=name)["Payload"].read())

    assert answer() == "AccessDenied"
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}],
    }
    iam = stagedoor.client("iam")
    iam.put_role_policy(RoleName=name, PolicyName="list", PolicyDocument=json.dumps(policy))
    assert name in answer()
    iam.delete_role_policy(RoleName=name, PolicyName="list")
    assert answer() == "AccessDenied"


def test_errors_carry_awss_codes_and_statuses(stagedoor: Server, name: str, role: str) -> None:
    client = create(stagedoor, name, role, "def handler(event, context):\n    return 1\n")

    def refused(call: Any, **request: Any) -> tuple[str, int]:
        with pytest.raises(ClientError) as raised:
            call(**request)
        response: Any = raised.value.response
        return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]

    again = {"FunctionName": name, "Role": role, "Handler": "a.b", "Runtime": "python3.12"}
    code = {"ZipFile": zipped("x = 1\n")}
    assert refused(client.create_function, **again, Code=code) == ("ResourceConflictException", 409)
    assert refused(client.invoke, FunctionName="none") == ("ResourceNotFoundException", 404)
    assert refused(client.invoke, FunctionName=name, Payload=b"{") == ("InvalidRequestContentException", 400)
    assert refused(client.invoke, FunctionName=name, Payload=b"1" * 6_291_457) == (
        "RequestTooLargeException",
        413,
    )
    assert refused(client.publish_version, FunctionName=name, RevisionId="x") == (
        "PreconditionFailedException",
        412,
    )
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    quick = stagedoor.client("lambda", config=_once())
    assert refused(quick.invoke, FunctionName=name) == ("TooManyRequestsException", 429)
    logs = stagedoor.client("logs")
    assert refused(logs.get_log_events, logGroupName="/none", logStreamName="s") == (
        "ResourceNotFoundException",
        400,
    )


def _once() -> Any:
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1})


def test_versions_aliases_and_permissions_with_boto3(stagedoor: Server, name: str, role: str) -> None:
    client = create(stagedoor, name, role, "def handler(event, context):\n    return 1\n", Publish=True)
    client.update_function_code(
        FunctionName=name, ZipFile=zipped("def handler(event, context):\n    return 2\n")
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert json.loads(client.invoke(FunctionName=f"{name}:live")["Payload"].read()) == 1
    assert json.loads(client.invoke(FunctionName=name)["Payload"].read()) == 2
    statement = client.add_permission(
        FunctionName=name,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:{stagedoor.account_id}:x/*",
    )["Statement"]
    assert json.loads(statement)["Sid"] == "api"
    assert json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"] == [json.loads(statement)]
    client.remove_permission(FunctionName=name, StatementId="api")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName=name)


def test_asynchronous_and_dry_invocations_with_boto3(stagedoor: Server, name: str, role: str) -> None:
    client = create(stagedoor, name, role, "def handler(event, context):\n    return 1\n")
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")


def test_the_aws_cli_deploys_invokes_and_reads_logs(
    stagedoor: Server, name: str, role: str, tmp_path: Path
) -> None:
    package = tmp_path / "app.zip"
    package.write_bytes(zipped("def handler(event, context):\n    print('from the cli')\n    return event\n"))
    environment = os.environ | stagedoor.environment | {"AWS_PAGER": "", "HOME": str(tmp_path)}

    def aws(*arguments: str) -> Any:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "aws"), *arguments, "--output", "json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    aws(
        *("lambda", "create-function", "--function-name", name, "--runtime", "python3.12", "--role", role),
        *("--handler", "app.handler", "--zip-file", f"fileb://{package}", "--tags", "team=reviews"),
    )
    out = tmp_path / "out.json"
    aws("lambda", "invoke", "--function-name", name, "--payload", '{"n": 1}', str(out))
    assert json.loads(out.read_text()) == {"n": 1}
    events = aws(
        "logs",
        "filter-log-events",
        "--log-group-name",
        f"/aws/lambda/{name}",
        "--filter-pattern",
        '"from the cli"',
    )
    assert [event["message"] for event in events["events"]] == ["from the cli\n"]


def test_functions_and_queued_events_survive_a_killed_server(
    stagedoor_server: Callable[..., Server], name: str
) -> None:
    server = stagedoor_server({"STAGEDOOR_FUNCTION_RETRY_DELAYS_S": "0.1,0.1"})
    role = server.client("iam").create_role(
        RoleName=name, AssumeRolePolicyDocument=trust("lambda.amazonaws.com")
    )
    source = "import time\ndef handler(event, context):\n    print('seen', event)\n    time.sleep(1)\n    return event\n"
    client = create(server, name, role["Role"]["Arn"], source, Timeout=30)
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"1")
    server.kill()
    server.start()
    assert json.loads(client.invoke(FunctionName=name, Payload=b"2")["Payload"].read()) == 2
    logs = server.client("logs")
    seen: list[str] = []
    deadline = time.monotonic() + 30
    while "seen 1\n" not in seen:
        assert time.monotonic() < deadline, "the queued event was lost"
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="seen")["events"]
        seen = [event["message"] for event in events]
    assert server.stop() == 0


def test_no_invocation_fails_while_code_and_alias_change(stagedoor: Server, name: str, role: str) -> None:
    def code(number: int) -> bytes:
        return zipped(f"def handler(event, context):\n    return [{number}, {number}]\n")

    client = create(stagedoor, name, role, "def handler(event, context):\n    return [0, 0]\n", Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    stop = threading.Event()
    answers: list[Any] = []

    def ask(function: str) -> None:
        mine = stagedoor.client("lambda")
        while not stop.is_set():
            answer = mine.invoke(FunctionName=function)
            answers.append((answer.get("FunctionError"), json.loads(answer["Payload"].read())))

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask, function) for function in (name, f"{name}:live", name)]
        try:
            for number in range(1, 6):
                version = client.update_function_code(FunctionName=name, ZipFile=code(number), Publish=True)[
                    "Version"
                ]
                client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
                assert json.loads(client.invoke(FunctionName=name)["Payload"].read()) == [number, number]
        finally:
            stop.set()
        for task in asking:
            task.result()
    assert {error for error, _ in answers} == {None}
    assert all(first == second for _, (first, second) in answers)
