"""Secrets stay where they belong: not in logs, answers, process lists, or in what a function sees of the server."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from front.wire_requests import Signed
from journeys import made
from journeys.deployed import INVOKE, Deployed, fetch
from services.identities import make_role, make_user

from stagedoor.testing import Server

pytestmark = pytest.mark.journey
ROOT = {
    "STAGEDOOR_ROOT_ACCESS_KEY_ID": "AKIAROOTROOTROOTROOT",
    "STAGEDOOR_ROOT_SECRET_ACCESS_KEY": "root-secret-that-nobody-may-see-0001",
}
# What a curious function can see of its surroundings.
LOOKS_AROUND = """
import os

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"refused: {error}"

def handler(event, context):
    if event.get("raise"):
        raise ValueError("on purpose")
    return {
        "variables": dict(os.environ),
        "processes": [read(f"/proc/{pid}/{name}") for pid in ("self", os.getppid()) for name in ("environ", "cmdline")],
        "files": [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")],
    }
"""


def test_no_secret_is_in_any_log_answer_or_process_list(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server({**ROOT, "STAGEDOOR_LOG_LEVEL": "debug"})
    secrets = {
        "root secret": server.secret_access_key,
        "session secret": json.loads((server.data / "keys.json").read_text())["session_secret"],
    }
    app = Deployed(server, "app").bucket().model().endpoint().function(INVOKE).rest_api().website()
    assert app.call_api()[0] == 200
    _, keys = make_user(server, {"Action": "*"})
    secrets["user's secret"] = keys["SecretAccessKey"]
    role = make_role(server, {"Action": "s3:*"})
    session = server.client("sts", credentials=keys).assume_role(
        RoleArn=role["Arn"], RoleSessionName="session"
    )["Credentials"]
    secrets |= {"session's secret": session["SecretAccessKey"], "session token": session["SessionToken"]}
    s3 = server.client("s3", credentials=session, config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "app", "Key": "model.tar.gz"})
    secrets["presigned signature"] = url.partition("X-Amz-Signature=")[2][:64]
    assert fetch(url)[0] == 200
    answers = [fetch(url.replace("model", "other"))[1], fetch(url + "&x=1")[1]]
    for service, wrong in (("s3", {**session, "SecretAccessKey": "wrong"}), ("sts", keys)):
        signed = Signed(server, service, keys=wrong)
        secrets[f"{service} signature"] = signed.headers["Authorization"].rpartition("=")[2]
        signed.query = "spoilt=1"
        answers.append(signed.send().body)
    made.function(server, "curious", LOOKS_AROUND)
    seen = invoke(server, "curious")
    secrets["function's token"] = seen["variables"]["AWS_SESSION_TOKEN"]
    secrets["function's secret"] = seen["variables"]["AWS_SECRET_ACCESS_KEY"]
    invoke(server, "curious", **{"raise": True})
    answers += [described(server), processes(), (server.data / "stagedoor.json").read_bytes()]
    assert server.stop() == 0

    for name, secret in secrets.items():
        assert len(secret) >= 20, name
        for path in sorted((server.data / "logs").iterdir()):
            assert secret not in path.read_text(), f"{name} is in {path.name}"
        assert secret not in logged(server), f"{name} is in the log groups"
        assert not any(secret.encode() in answer for answer in answers), f"{name} is in an answer"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_function_sees_its_roles_credentials_and_none_of_the_servers(
    stagedoor_server: Callable[..., Server],
) -> None:
    server = stagedoor_server(ROOT)
    made.function(server, "curious", LOOKS_AROUND)
    seen = invoke(server, "curious")
    assert seen["variables"]["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert "STAGEDOOR" not in json.dumps(seen["variables"])
    whole = json.dumps(seen)
    session_secret = json.loads((server.data / "keys.json").read_text())["session_secret"]
    for secret in (ROOT["STAGEDOOR_ROOT_SECRET_ACCESS_KEY"], session_secret):
        assert secret not in whole
    assert not [name for name in seen["files"] if name.endswith((".sqlite", "keys.json", "lock", ".jsonl"))]


def invoke(server: Server, name: str, **event: Any) -> Any:
    answer = server.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def described(server: Server) -> bytes:
    """Whatever the control plane tells about all this."""
    functions, sagemaker, iam = server.client("lambda"), server.client("sagemaker"), server.client("iam")
    told = [
        functions.get_function(FunctionName="curious"),
        functions.get_function_configuration(FunctionName="app"),
        sagemaker.describe_model(ModelName="app"),
        sagemaker.describe_endpoint(EndpointName="app"),
        iam.list_users(),
        iam.list_roles(),
        *(iam.list_access_keys(UserName=user["UserName"]) for user in iam.list_users()["Users"]),
        server.client("sts").get_caller_identity(),
    ]
    return json.dumps(told, default=str).encode()


def processes() -> bytes:
    return subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, check=True).stdout


def logged(server: Server) -> str:
    with sqlite3.connect(f"file:{server.data / 'logs.sqlite'}?mode=ro", uri=True) as database:
        return "\n".join(database.iterdump())
