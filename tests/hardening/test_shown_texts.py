"""Attack cases 41 and 43: names and output that would drive a browser, a log reader or the operator's terminal."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from services.identities import make_role, make_user, unique
from services.lambda_house import zipped

from stagedoor.testing import Server

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
EVIL = "red \x1b[31m\x1b]0;title\x07 bell\r\nforged line \u202e\x9b2J"
# What a terminal obeys, and what turns the order of letters around.
DRIVES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def fetch(url: str, method: str = "GET") -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def command(stagedoor: Server, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stagedoor", *arguments, "--data", str(stagedoor.data)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def website(stagedoor: Server) -> str:
    s3, bucket = stagedoor.client("s3"), unique("site")
    s3.create_bucket(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)
    configuration = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": MARKUP}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)
    return bucket


class TestCase41Markup:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_case_41_pages_of_websites_show_names_as_text(
        self, stagedoor: Server, website: str, method: str
    ) -> None:
        for name in (quote(MARKUP), quote(f'"{MARKUP}'), "%3Cscript%3E/"):
            status, headers, body = fetch(f"{stagedoor.public}/_aws/s3-website/{website}/{name}", method)
            assert status in (404, 405)
            assert headers["content-type"] == "text/html; charset=utf-8"
            assert b"<script" not in body.lower() and b"<img" not in body.lower()
            # A page of ours needs nothing that a browser could run or load.
            assert headers["content-security-policy"] == "default-src 'none'"
        status, _, body = fetch(f"{stagedoor.public}/_aws/s3-website/{quote(MARKUP, safe='')}/")
        assert status == 404 and b"<script" not in body.lower()

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/_aws/execute-api/{}/prod/x",
            "/restapis/{}/x/_user_request_/",
            "/{}",
            "/_stagedoor/health?{}",
        ],
    )
    @pytest.mark.parametrize("listener", ["api", "public"])
    def test_case_41_nothing_else_is_a_page(self, stagedoor: Server, listener: str, path: str) -> None:
        url = getattr(stagedoor, listener) + path.format(quote(MARKUP, safe=""))
        _, headers, body = fetch(url)
        kind = headers["content-type"].partition(";")[0]
        assert kind in {"application/json", "application/xml", "text/xml", "text/plain"}
        assert kind == "text/plain" or b"<script" not in body.lower()
        assert "set-cookie" not in headers

    def test_case_41_changes_need_a_signature(self, stagedoor: Server) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in (
                "/",
                "/restapis",
                "/2015-03-31/functions",
                f"/{unique('bucket')}",
                "/_stagedoor/health",
            ):
                assert fetch(stagedoor.api + path, method)[0] in {400, 403, 404, 405, 411}


class TestCase43Output:
    def test_case_43_lines_are_events_and_a_long_one_is_cut(self, stagedoor: Server) -> None:
        name = unique("loud")
        source = f"""
import os
def handler(event, context):
    os.write(1, {EVIL!r}.encode() + b"\\n")
    os.write(1, b"x" * 10_000_000 + b"\\n")
    os.write(1, b"END RequestId: forged\\nREPORT RequestId: forged\\n")
    return "printed"
"""
        role = make_role(stagedoor, principal={"Service": "lambda.amazonaws.com"})
        stagedoor.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=role["Arn"],
            Handler="app.handler",
            Timeout=60,
            Code={"ZipFile": zipped({"app.py": source})},
        )
        answer = stagedoor.client("lambda").invoke(FunctionName=name)
        assert json.loads(answer["Payload"].read()) == "printed"
        logs, group = stagedoor.client("logs"), f"/aws/lambda/{name}"
        messages = [
            event["message"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in page["events"]
        ]
        assert messages[0].startswith("START RequestId: ")
        assert messages[1] == EVIL.partition("\n")[0] + "\n"
        assert messages[2] == EVIL.partition("\n")[2] + "\n"
        assert max(len(message.encode()) for message in messages) <= 256 * 1024
        assert "".join(messages).count("x") >= 10_000_000
        # A function can forge lines of its own log, as on AWS; the real ones carry the id of the request.
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert messages[-1].startswith(f"REPORT RequestId: {request_id}")
        shown = command(stagedoor, "logs", group, "-n", "10000")
        assert not DRIVES.search(shown)
        assert len(shown.splitlines()) == len(messages)

    def test_case_43_names_do_not_drive_the_terminal(self, stagedoor: Server) -> None:
        client = stagedoor.client("apigateway")
        api_id = client.create_rest_api(name=EVIL)["id"]
        try:
            shown = command(stagedoor, "status")
        finally:
            client.delete_rest_api(restApiId=api_id)
        assert not DRIVES.search(shown)
        assert "red \\x1b[31m" in shown

    def test_case_43_what_is_refused_does_not_either(self, stagedoor: Server) -> None:
        bucket, (_, keys) = unique("named"), make_user(stagedoor, {"Action": "s3:ListBucket"})
        stagedoor.client("s3").create_bucket(Bucket=bucket)
        with pytest.raises(ClientError) as raised:
            stagedoor.client("s3", credentials=keys).get_object(Bucket=bucket, Key=EVIL)
        error = raised.value.response
        # Whatever the key is called, the answer can be read.
        assert error["Error"]["Code"] == "AccessDenied"
        shown = command(stagedoor, "why-denied", error["ResponseMetadata"]["RequestId"])
        assert not DRIVES.search(shown)
        assert f"arn:aws:s3:::{bucket}/red \\x1b[31m" in shown

    def test_case_43_one_request_is_one_line_of_the_servers_logs(self, stagedoor: Server) -> None:
        with pytest.raises(ClientError):
            stagedoor.client("s3").get_object(Bucket=unique("missing"), Key=EVIL)
        for path in (stagedoor.data / "logs").glob("*.jsonl"):
            for line in path.read_bytes().splitlines():
                json.loads(line)
