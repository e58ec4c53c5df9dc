"""A REST API with a real function behind it, made and called with unmodified clients."""

import json
import urllib.error
import urllib.request
import uuid
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stagedoor.testing import Server

CODE = """
import base64, json, time

def handler(event, context):
    what = (event.get("queryStringParameters") or {}).get("do")
    if what == "raise":
        raise ValueError("no")
    if what == "malformed":
        return {"answer": 42}
    if what == "sleep":
        time.sleep(5)
    return {"statusCode": 200, "headers": {"X-From": "function"}, "body": json.dumps(event)}
"""


class Api:
    def __init__(self, server: Server, function_arn: str, **options: Any) -> None:
        self.server = server
        self.client = server.client("apigateway")
        self.function_arn = function_arn
        created = self.client.create_rest_api(name="films", **options)
        self.id, self.root_id = created["id"], created["rootResourceId"]

    def resource(self, part: str, parent_id: str | None = None) -> str:
        made = self.client.create_resource(
            restApiId=self.id, parentId=parent_id or self.root_id, pathPart=part
        )
        return made["id"]

    def proxy(
        self, resource_id: str, method: str = "ANY", timeout_ms: int = 29_000, **protection: Any
    ) -> None:
        place = {"restApiId": self.id, "resourceId": resource_id, "httpMethod": method}
        self.client.put_method(**place, **({"authorizationType": "NONE"} | protection))
        self.client.put_integration(
            **place,
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{self.function_arn}/invocations",
            timeoutInMillis=timeout_ms,
        )

    def deploy(self, stage: str = "prod", **options: Any) -> str:
        return self.client.create_deployment(restApiId=self.id, stageName=stage, **options)["id"]

    def allow(self, what: str = "*/*/*") -> None:
        self.server.client("lambda").add_permission(
            FunctionName=self.function_arn,
            StatementId=uuid.uuid4().hex,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:us-east-1:{self.server.account_id}:{self.id}/{what}",
        )

    def arn(self, what: str) -> str:
        return f"arn:aws:execute-api:us-east-1:{self.server.account_id}:{self.id}/{what}"

    def signed(
        self,
        path: str,
        keys: dict[str, str] | None = None,
        method: str = "GET",
        body: bytes | None = None,
        service: str = "execute-api",
    ) -> tuple[int, dict[str, str], Any]:
        """A call signed as botocore signs one; root's key without ``keys``. The answer's body is read as JSON."""
        port = self.server.public.rpartition(":")[2]
        host = f"{self.id}.execute-api.localhost:{port}"
        request = AWSRequest(method, f"http://{host}{path}", data=body, headers={"Host": host})
        given = keys or {
            "AccessKeyId": self.server.access_key_id,
            "SecretAccessKey": self.server.secret_access_key,
        }
        credentials = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given.get("SessionToken"))
        SigV4Auth(credentials, service, "us-east-1").add_auth(request)
        sent = urllib.request.Request(
            f"{self.server.public}{path}", body, headers=dict(request.headers), method=method
        )
        status, headers, answer = fetch(sent)
        return status, headers, json.loads(answer)

    def call(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        port = self.server.public.rpartition(":")[2]
        request = urllib.request.Request(f"{self.server.public}{path}", body, method=method)
        request.add_header("Host", f"{self.id}.execute-api.localhost:{port}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        return fetch(request)


def fetch(request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()
