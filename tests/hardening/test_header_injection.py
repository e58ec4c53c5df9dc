"""Case 39: nothing that a caller, a function or a model says becomes a header line of its own."""

import base64
import json
from urllib.parse import quote

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from front.wire_requests import Signed
from hardening.raw_http import connect, exchange, read_answer
from journeys import made
from journeys.deployed import Deployed
from services.identities import unique

from stagedoor.testing import Server

EVIL = "a\r\nx-injected: yes"
EVILS = ["a\r\nx-injected: yes", "a\nx-injected: yes", "a\rx-injected: yes", "a\0b", "a\r\n\r\n<html>"]
FUNCTION = """
import json
def handler(event, context):
    return json.loads(event["body"])
"""


@pytest.fixture(scope="module")
def app(stagedoor: Server) -> Deployed:
    app = Deployed(stagedoor, unique("inject"))
    made.function(stagedoor, app.name, FUNCTION)
    stagedoor.client("lambda").get_waiter("function_active_v2").wait(FunctionName=app.name)
    return app.rest_api()


def call(app: Deployed, answer: object) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps(answer).encode()
    head = f"POST /_aws/execute-api/{app.api_id}/prod/score HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(app.server.public) as connection:
        connection.sendall(head.encode() + body)
        return read_answer(connection)


@pytest.mark.parametrize("evil", EVILS)
@pytest.mark.parametrize("where", ["headers", "multiValueHeaders", "name"])
def test_case_39_headers_of_a_functions_answer(app: Deployed, where: str, evil: str) -> None:
    answer: dict[str, object] = {"statusCode": 200, "body": "x"}
    match where:
        case "headers":
            answer["headers"] = {"X-Evil": evil}
        case "multiValueHeaders":
            answer["multiValueHeaders"] = {"X-Evil": ["fine", evil]}
        case _:
            answer["headers"] = {evil: "x"}
    status, headers, body = call(app, answer)
    assert (status, json.loads(body)) == (502, {"message": "Internal server error"})
    assert "x-injected" not in headers


@pytest.mark.parametrize("name", ["X Y", "X:Y", "", "X\tY", "Xä", "X(Y)", "X\x7f"])
def test_case_39_names_that_are_no_header_names(app: Deployed, name: str) -> None:
    assert call(app, {"statusCode": 200, "headers": {name: "x"}})[0] in (500, 502)
    assert call(app, {"statusCode": 200, "headers": {"X-Fine": "x"}})[0] == 200


@pytest.mark.parametrize("evil", EVILS)
@pytest.mark.parametrize(
    "parameter", ["response-content-disposition", "response-content-type", "response-cache-control"]
)
def test_case_39_overridden_headers_of_a_presigned_link(stagedoor: Server, parameter: str, evil: str) -> None:
    s3 = stagedoor.client("s3", config=Config(signature_version="s3v4"))
    bucket = unique("inject")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    name = "".join(part.title() for part in parameter.split("-"))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k", name: evil})
    target = url.removeprefix(stagedoor.api)
    assert quote(evil, safe="") in target
    answer = exchange(
        stagedoor.api,
        f"GET {target} HTTP/1.1\r\nHost: {stagedoor.api[7:]}\r\nConnection: close\r\n\r\n".encode(),
    )
    head = answer.partition(b"\r\n\r\n")[0]
    assert answer.split()[1] in (b"200", b"400")
    assert b"\nx-injected" not in head
    assert b"\rx-injected" not in head
    assert b"<html>" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "header", ["x-amz-meta-note", "content-disposition", "x-amz-website-redirect-location"]
)
@pytest.mark.parametrize("evil", ["a\nb: c", "a\rb: c", "a\0b"])
def test_case_39_headers_kept_with_an_object(stagedoor: Server, header: str, evil: str) -> None:
    bucket = unique("inject")
    stagedoor.client("s3").create_bucket(Bucket=bucket)
    signed = Signed(stagedoor, "s3", method="PUT", target=f"/{bucket}/k", body=b"x", headers={header: "fine"})
    lines = [f"{name}: {evil if name == header else value}" for name, value in signed.headers.items()]
    raw = f"PUT /{bucket}/k HTTP/1.1\r\nHost: {stagedoor.api[7:]}\r\n" + "\r\n".join(lines)
    answer = exchange(stagedoor.api, raw.encode() + b"\r\nContent-Length: 1\r\n\r\nx")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert stagedoor.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_case_39_encoded_words_in_metadata_stay_encoded(stagedoor: Server) -> None:
    s3, bucket = stagedoor.client("s3"), unique("inject")
    s3.create_bucket(Bucket=bucket)
    word = "=?UTF-8?B?" + base64.b64encode(EVIL.encode()).decode() + "?="
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"note": word})
    answer = s3.head_object(Bucket=bucket, Key="k")
    assert "x-injected" not in answer["ResponseMetadata"]["HTTPHeaders"]
    assert EVIL not in answer["Metadata"]["note"]


@pytest.mark.parametrize("evil", EVILS)
def test_case_39_custom_attributes(stagedoor: Server, evil: str) -> None:
    signed = Signed(
        stagedoor,
        "lambda",
        name="sagemaker",
        method="POST",
        target="/endpoints/nobody/invocations",
        headers={"X-Amzn-SageMaker-Custom-Attributes": "fine"},
        body=b"1",
    )
    lines = [f"{name}: {evil if 'Custom' in name else value}" for name, value in signed.headers.items()]
    raw = f"POST {signed.path} HTTP/1.1\r\nHost: {stagedoor.api[7:]}\r\n" + "\r\n".join(lines)
    answer = exchange(stagedoor.api, raw.encode() + b"\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1")
    # A whole line break makes another header of the request, which the signature does not cover as it was sent.
    assert answer.split()[1] in (b"400", b"403")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"x-injected" not in answer.partition(b"\r\n\r\n")[0]


def test_case_39_redirects_of_websites(stagedoor: Server) -> None:
    app = Deployed(stagedoor, unique("inject"))
    stagedoor.client("s3").create_bucket(Bucket=app.name)
    with pytest.raises(ClientError):
        app.server.client("s3").put_bucket_website(
            Bucket=app.name,
            WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "example.com\r\nx-injected: yes"}},
        )
    target = f"/_aws/s3-website/{app.name}/a%0d%0ax-injected:%20yes"
    answer = exchange(
        stagedoor.public, f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
    )
    assert b"x-injected" not in answer.partition(b"\r\n\r\n")[0].lower().replace(b"%0d%0ax-injected", b"")
