"""Requests as a client signs them, to be changed before they are sent: over a plain socket, byte by byte."""

import datetime as dt
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stagedoor.testing import Server
from stagedoor.wire import cbor


@contextmanager
def clock_off_by(seconds: float) -> Iterator[None]:
    """Signatures are made as if the client's clock were wrong."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    with mock.patch(
        "botocore.auth.get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None)
    ):
        yield


# One harmless request per protocol: service, signing name, method, target, headers, body.
CALLS: dict[str, dict[str, Any]] = {
    "sts": {
        "name": "sts",
        "method": "POST",
        "target": "/",
        "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        "body": b"Action=GetCallerIdentity&Version=2011-06-15",
    },
    "iam": {
        "name": "iam",
        "method": "POST",
        "target": "/",
        "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        "body": b"Action=ListUsers&Version=2010-05-08",
    },
    "lambda": {
        "name": "lambda",
        "method": "GET",
        "target": "/2015-03-31/functions/",
        "headers": {},
        "body": b"",
    },
    "apigateway": {"name": "apigateway", "method": "GET", "target": "/restapis", "headers": {}, "body": b""},
    "sagemaker": {
        "name": "sagemaker",
        "method": "POST",
        "target": "/",
        "headers": {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.ListModels"},
        "body": b"{}",
    },
    "logs": {
        "name": "logs",
        "method": "POST",
        "target": "/",
        "headers": {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "Logs_20140328.DescribeLogGroups",
        },
        "body": b"{}",
    },
    "s3": {"name": "s3", "method": "GET", "target": "/", "headers": {}, "body": b""},
}


class Answer:
    """What came back: status, error code and text, whatever the protocol."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        text = body.decode("utf-8", "replace")
        self.code = headers.get("x-amzn-errortype", "").partition(":")[0]
        self.message = ""
        if headers.get("content-type") == "application/cbor":
            document = cbor.load(body)
            self.code = str(document.get("__type", "")).rpartition("#")[2]
            self.message = str(document.get("message", ""))
        elif text.startswith("{"):
            document = json.loads(text)
            self.code = self.code or document.get("__type", "").rpartition("#")[2]
            self.message = document.get("message") or document.get("Message") or ""
        elif "<" in text:
            found = re.search(r"<Code>(.*?)</Code>", text)
            self.code = found[1] if found else ""
            found = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
            self.message = found[1] if found else ""

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.code}, {self.message[:200]})"


class Signed:
    """One signed request, all of it open to change."""

    def __init__(
        self,
        server: Server,
        service: str,
        *,
        keys: Any = None,
        query_form: bool = False,
        expires_s: int = 300,
        region: str = "us-east-1",
        scope_service: str | None = None,
        **changes: Any,
    ) -> None:
        call = CALLS[service] | changes
        self.server = server
        keys = keys or {"AccessKeyId": server.access_key_id, "SecretAccessKey": server.secret_access_key}
        credentials = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken"))
        signers = {
            (False, False): SigV4Auth,
            (False, True): SigV4QueryAuth,
            (True, False): S3SigV4Auth,
            (True, True): S3SigV4QueryAuth,
        }
        signer = signers[service == "s3", query_form]
        options = {"expires": expires_s} if query_form else {}
        request = AWSRequest(
            call["method"], server.api + call["target"], headers=call["headers"], data=call["body"]
        )
        request.context["client_config"] = None
        signer(credentials, scope_service or call["name"], region, **options).add_auth(request)
        parts = urlsplit(request.url)
        self.method: str = call["method"]
        self.path = parts.path
        self.query = parts.query
        self.headers = {name: str(value) for name, value in request.headers.items()}
        self.body: bytes = call["body"]

    def send(self) -> Answer:
        host, _, port = self.server.api.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            target = self.path + (f"?{self.query}" if self.query else "")
            connection.putrequest(
                self.method, target, skip_host="Host" in self.headers, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            if "Content-Length" not in self.headers and (self.body or self.method in {"PUT", "POST"}):
                connection.putheader("Content-Length", str(len(self.body)))
            connection.endheaders(self.body or None)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
