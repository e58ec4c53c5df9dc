"""Clients that were told no endpoint: they ask AWS's own names, and with `stagedoor env --proxy` the server answers."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journeys import client_environments
from services.identities import make_role, make_user, unique

from stagedoor.testing import Server

SESSION = Path(__file__).with_name("sagemaker_v2_session.py")
UNMODIFIED = """
import boto3, json, sys, time

name = sys.argv[1]
s3 = boto3.client("s3")
s3.create_bucket(Bucket=name)
body = bytes(range(256)) * 40_000
s3.put_object(Bucket=name, Key="a/large", Body=body, Metadata={"from": "afar"})
assert s3.get_object(Bucket=name, Key="a/large")["Body"].read() == body
west = boto3.client("s3", region_name="eu-west-1")
assert west.head_object(Bucket=name, Key="a/large")["Metadata"] == {"from": "afar"}
import urllib.request
link = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "a/large"})
import ssl, os
trusted = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusted))
assert opener.open(link, timeout=20).read() == body
hosts = {}
for service in ("sts", "iam", "lambda", "sagemaker", "apigateway", "logs", "s3"):
    client = boto3.client(service)
    hosts[service] = client.meta.endpoint_url
boto3.client("lambda").list_functions()
boto3.client("sagemaker").list_models()
boto3.client("apigateway").get_rest_apis()
boto3.client("logs").describe_log_groups()
boto3.client("iam").list_users()
try:
    boto3.client("sagemaker-runtime").invoke_endpoint(EndpointName="nobody", Body=b"")
except Exception as error:
    runtime = error.response["Error"]["Code"]
print(json.dumps({"arn": boto3.client("sts").get_caller_identity()["Arn"], "hosts": hosts, "link": link, "runtime": runtime}))
"""


def printed(server: Server, *flags: str, **environment: str) -> dict[str, str]:
    """What `stagedoor env` prints."""
    command = [sys.executable, "-m", "stagedoor", "env", "--json", "--data", str(server.data), *flags]
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean | environment)
    return json.loads(done.stdout)


def run(script: str, variables: dict[str, str], tmp_path: Path, *arguments: str) -> Any:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.journey
@pytest.mark.parametrize("tls", [(), ("--tls", "self-signed")], ids=["http", "https"])
def test_boto3_without_an_endpoint_reaches_the_server(
    stagedoor_server: Callable[..., Server], tmp_path: Path, tls: tuple[str, ...]
) -> None:
    server = stagedoor_server(None, *tls)
    variables = printed(server, "--proxy")
    del variables["AWS_ENDPOINT_URL"]
    name = unique("afar")
    found = run(UNMODIFIED, variables, tmp_path, name)
    assert found["arn"] == f"arn:aws:iam::{server.account_id}:root"
    assert found["hosts"]["sts"] == "https://sts.us-east-1.amazonaws.com"
    assert all(host.startswith("https://") and ".amazonaws.com" in host for host in found["hosts"].values())
    assert found["link"].startswith(f"https://{name}.s3.amazonaws.com/a/large?")
    assert found["runtime"] == "ValidationError"


@pytest.mark.journey
@pytest.mark.parametrize("with_endpoint", [False, True], ids=["without AWS_ENDPOINT_URL", "with it"])
def test_the_sagemaker_sdk_finds_its_bucket_and_role(
    stagedoor: Server, tmp_path: Path, with_endpoint: bool
) -> None:
    _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    role = make_role(
        stagedoor,
        {"Action": ["iam:GetRole", "sagemaker:*"]},
        {"Action": "s3:*", "Resource": "*"},
        principal={"AWS": stagedoor.account_id, "Service": "sagemaker.amazonaws.com"},
    )
    assumed = stagedoor.client("sts", credentials=keys).assume_role(
        RoleArn=role["Arn"], RoleSessionName="notebook"
    )
    session = assumed["Credentials"]
    variables = printed(stagedoor, "--proxy") | {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    if not with_endpoint:
        del variables["AWS_ENDPOINT_URL"]
    done = subprocess.run(
        [str(client_environments.python_of("sagemaker-v2")), str(SESSION)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found = json.loads(done.stdout.rpartition("RESULT ")[2])
    assert found["role"] == role["Arn"]
    assert found["bucket"] == f"sagemaker-us-east-1-{stagedoor.account_id}"
    assert found["greeting"] == "hello"
    assert found["endpoint"] == (stagedoor.api if with_endpoint else "https://sts.us-east-1.amazonaws.com")


def test_env_prints_what_clients_need_and_no_more(stagedoor: Server) -> None:
    plain = printed(stagedoor)
    assert list(plain) == [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
    ]
    assert plain["AWS_ENDPOINT_URL"] == stagedoor.api
    proxied = printed(stagedoor, "--proxy", NO_PROXY="intranet.example,localhost")
    assert proxied.items() > plain.items()
    assert proxied.keys() - plain.keys() == {"HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE"}
    host = stagedoor.api.removeprefix("http://")
    assert proxied["HTTPS_PROXY"].startswith("http://stagedoor:")
    assert proxied["HTTPS_PROXY"].endswith(f"@{host}")
    assert proxied["NO_PROXY"] == "intranet.example,localhost,.localhost,127.0.0.1,::1"
    assert Path(proxied["AWS_CA_BUNDLE"]).read_text().count("BEGIN CERTIFICATE") > 50


def test_tunnels_are_refused_offline_and_to_where_nobody_may_go(
    stagedoor_server: Callable[..., Server], stagedoor: Server
) -> None:
    offline = stagedoor_server(None, "--offline")
    for server, url, status in (
        (offline, "https://packages.example/simple/", 403),
        (stagedoor, f"https://127.0.0.1:{stagedoor.api.rpartition(':')[2]}/", 403),
        (stagedoor, "https://169.254.169.254/latest/meta-data/", 403),
    ):
        proxy = printed(server, "--proxy")["HTTPS_PROXY"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"https": proxy}))
        with pytest.raises(OSError, match=f"Tunnel connection failed: {status}"):
            opener.open(url, timeout=20)
