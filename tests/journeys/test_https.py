"""The whole path over TLS: every URL says https, and every part believes it."""

import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, SSLError
from journeys import made
from journeys.deployed import CSV, Deployed, numbers
from services.identities import document, unique

from stagedoor.testing import Server

ECHO = """
import json
def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event)}
"""


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "front processes"])
def secure(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    flags = ("--tls", "self-signed", "--fronts", request.param)
    server = Server(tmp_path_factory.mktemp("secure") / "data", None, *flags).start()
    yield server
    server.stop()


def fetch(server: Server, url: str, body: bytes | None = None, **headers: str) -> bytes:
    trusted = ssl.create_default_context(cafile=server.ca)
    request = urllib.request.Request(url, body, {k.replace("_", "-"): v for k, v in headers.items()})
    with urllib.request.urlopen(request, context=trusted, timeout=30) as answer:
        return answer.read()


@pytest.mark.journey
def test_model_function_and_api_over_https(secure: Server) -> None:
    app = Deployed(secure, unique("https")).bucket().model().endpoint().function().rest_api()
    app.server.client("iam").put_role_policy(
        RoleName=f"{app.name}-role",
        PolicyName="own",
        PolicyDocument=document({"Action": "sagemaker:InvokeEndpoint"}),
    )
    port = secure.public.rpartition(":")[2]
    assert secure.public.startswith("https://")
    answer = fetch(secure, f"{secure.public}/_aws/execute-api/{app.api_id}/prod/score", CSV.encode())
    assert numbers(answer) == pytest.approx(app.expected, abs=1e-6)
    # By its own name, as a browser would. The name needs no DNS here: the connection goes where the listener is.
    host = f"{app.api_id}.execute-api.localhost:{port}"
    assert numbers(fetch(secure, f"{secure.public}/prod/score", CSV.encode(), Host=host)) == numbers(answer)


@pytest.mark.journey
def test_the_event_tells_the_function_that_it_was_https(secure: Server) -> None:
    app = Deployed(secure, unique("event"))
    made.function(secure, app.name, ECHO)
    secure.client("lambda").get_waiter("function_active_v2").wait(FunctionName=app.name)
    app.rest_api()
    event = json.loads(fetch(secure, f"{secure.public}/_aws/execute-api/{app.api_id}/prod/score", b"x"))
    assert event["headers"]["X-Forwarded-Proto"] == "https"
    assert event["headers"]["X-Forwarded-Port"] == secure.public.rpartition(":")[2]


def test_uploads_over_https_come_in_signed_chunks_with_trailers(secure: Server) -> None:
    seen: list[dict[str, Any]] = []
    s3 = secure.client("s3")
    s3.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: seen.append(dict(request.headers))
    )
    bucket = unique("chunks")
    s3.create_bucket(Bucket=bucket)
    body = bytes(range(256)) * 20_000
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert seen[0]["Content-Encoding"] == b"aws-chunked"
    assert seen[0]["X-Amz-Trailer"] == b"x-amz-checksum-crc32"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert (
        put["ChecksumCRC32"]
        == s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"]
    )


def test_bodies_beyond_their_limit_are_refused_readably(secure: Server) -> None:
    runtime, functions = secure.client("sagemaker-runtime"), secure.client("lambda")
    for _ in range(3):
        with pytest.raises(ClientError, match="exceeded 6291456 bytes"):
            runtime.invoke_endpoint(EndpointName="nobody", Body=bytes(20_000_000))
        with pytest.raises(ClientError, match="RequestTooLargeException"):
            functions.invoke(FunctionName="nobody", Payload=bytes(12_000_000))


def test_secure_transport_is_what_it_says(secure: Server, stagedoor: Server) -> None:
    for server, allowed in ((secure, True), (stagedoor, False)):
        s3, bucket = server.client("s3"), unique("secure")
        s3.create_bucket(Bucket=bucket)
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        s3.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
        if allowed:
            s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        else:
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_clients_without_the_authority_refuse(secure: Server) -> None:
    import boto3

    stranger = boto3.client(
        "sts",
        endpoint_url=secure.api,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 1}),
    )
    with pytest.raises(SSLError):
        stranger.get_caller_identity()


def test_the_commands_find_it(secure: Server) -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "stagedoor", *arguments, "--data", str(secure.data)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    variables = json.loads(said("env", "--json"))
    assert variables["AWS_ENDPOINT_URL"] == secure.api
    assert Path(variables["AWS_CA_BUNDLE"]).read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    assert secure.api in said("status")
    health = json.loads(fetch(secure, f"{secure.public}/_stagedoor/health"))
    assert (health["api"], health["public"]) == (secure.api, secure.public)


def test_a_restart_keeps_the_authority(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server(None, "--tls", "self-signed")
    assert server.ca is not None
    before = Path(server.ca).read_bytes()
    server.stop()
    server.start()
    assert Path(server.ca).read_bytes() == before
    assert server.client("sts").get_caller_identity()["Account"] == server.account_id
