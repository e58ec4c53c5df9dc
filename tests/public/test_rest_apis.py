"""REST APIs from CreateRestApi to an answer on both listeners, with unmodified boto3 and real functions."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from public.deployed_api import Api, fetch

from stagedoor.testing import Server


def test_the_event_is_built_as_aws_builds_it(make_api: Callable[..., Api]) -> None:
    api = make_api()
    api.proxy(api.resource("{id}", api.resource("films")))
    deployment_id = api.deploy(variables={"color": "blue"})
    api.allow()
    status, headers, body = api.call(
        "/prod/films/a%20b?x=1&x=2&y=%26+z", "POST", b'{"a": 1}', Content_Type="application/json", X_Who="me"
    )
    assert (status, headers["X-From"]) == (200, "function")
    event = json.loads(body)
    context = event.pop("requestContext")
    assert event["resource"] == "/films/{id}"
    assert event["path"] == "/films/a%20b"
    assert event["httpMethod"] == "POST"
    assert event["pathParameters"] == {"id": "a%20b"}
    assert event["queryStringParameters"] == {"x": "2", "y": "& z"}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": ["& z"]}
    assert event["stageVariables"] == {"color": "blue"}
    assert (event["body"], event["isBase64Encoded"]) == ('{"a": 1}', False)
    lower = {name.lower(): value for name, value in event["headers"].items()}
    assert (lower["content-type"], lower["x-who"], lower["x-forwarded-proto"]) == (
        "application/json",
        "me",
        "http",
    )
    assert "content-length" not in lower
    assert lower["x-amzn-trace-id"].startswith("Root=1-")
    assert headers["X-Amzn-Trace-Id"] == lower["x-amzn-trace-id"]
    assert set(event["multiValueHeaders"]) == set(event["headers"])
    assert (context["apiId"], context["stage"], context["path"]) == (api.id, "prod", "/prod/films/a%20b")
    assert (context["resourcePath"], context["deploymentId"]) == ("/films/{id}", deployment_id)
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert context["domainName"] == f"{api.id}.execute-api.localhost"
    assert context["requestId"] == headers["x-amzn-RequestId"]


def test_the_api_is_reached_by_host_and_by_path_on_both_listeners(
    stagedoor: Server, make_api: Callable[..., Api]
) -> None:
    api = make_api()
    api.proxy(api.root_id, "GET")
    api.deploy()
    api.allow()
    for base in (stagedoor.public, stagedoor.api):
        for path in (f"/_aws/execute-api/{api.id}/prod/", f"/restapis/{api.id}/prod/_user_request_/"):
            assert fetch(urllib.request.Request(base + path))[0] == 200, base + path
    host = f"{api.id}.execute-api.us-east-1.amazonaws.com"
    assert fetch(urllib.request.Request(f"{stagedoor.api}/prod", headers={"Host": host}))[0] == 200


def test_the_control_plane_beside_the_public_path_stays_signed(
    stagedoor: Server, make_api: Callable[..., Api]
) -> None:
    api = make_api()
    for path in (f"/restapis/{api.id}", f"/restapis/{api.id}/stages", "/restapis"):
        status, _, body = fetch(urllib.request.Request(stagedoor.api + path))
        assert status == 403
        assert b"missing Authentication Token" in body


def test_an_api_without_permission_gets_500_and_the_function_is_not_run(make_api: Callable[..., Api]) -> None:
    api, other = make_api(), make_api()
    api.proxy(api.root_id)
    api.deploy()
    other.allow()
    assert api.call("/prod/")[::2] == (500, b'{"message":"Internal server error"}')
    api.allow("other-stage/*/*")
    assert api.call("/prod/")[0] == 500
    api.allow("prod/*/")
    assert api.call("/prod/")[0] == 200


def test_unknown_routes_stages_and_apis_are_forbidden(make_api: Callable[..., Api]) -> None:
    api = make_api()
    api.proxy(api.resource("films"), "POST")
    api.deploy()
    for path, method in (("/prod/nowhere", "GET"), ("/prod/films", "GET"), ("/prod", "GET")):
        status, headers, body = api.call(path, method)
        assert (status, body) == (403, b'{"message":"Missing Authentication Token"}')
        assert headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert api.call("/dev/films", "POST", b"x")[::2] == (403, b'{"message":"Forbidden"}')
    assert api.call("/", Host="nothing.execute-api.localhost")[0] == 403


@pytest.mark.parametrize("what", ["raise", "malformed"])
def test_a_function_that_fails_or_answers_nonsense_is_502(make_api: Callable[..., Api], what: str) -> None:
    api = make_api()
    api.proxy(api.root_id)
    api.deploy()
    api.allow()
    assert api.call(f"/prod?do={what}")[::2] == (502, b'{"message":"Internal server error"}')
    assert api.call("/prod")[0] == 200


def test_an_integration_that_takes_too_long_is_504(make_api: Callable[..., Api]) -> None:
    api = make_api()
    api.proxy(api.root_id, timeout_ms=300)
    api.deploy()
    api.allow()
    assert api.call("/prod?do=sleep")[::2] == (504, b'{"message":"Endpoint request timed out"}')


def test_binary_bodies_go_both_ways_as_base64(make_api: Callable[..., Api]) -> None:
    api = make_api(binaryMediaTypes=["image/png"])
    api.proxy(api.root_id)
    api.deploy()
    api.allow()
    data = bytes(range(256))
    event = json.loads(api.call("/prod", "POST", data, Content_Type="image/png")[2])
    assert event["isBase64Encoded"]
    assert base64.b64decode(event["body"]) == data
    event = json.loads(api.call("/prod", "POST", b"text", Content_Type="text/plain")[2])
    assert (event["isBase64Encoded"], event["body"]) == (False, "text")


def test_a_body_beyond_ten_megabytes_is_413(make_api: Callable[..., Api]) -> None:
    api = make_api()
    api.proxy(api.root_id)
    api.deploy()
    status, _, body = api.call("/prod", "POST", b"a" * (10 * 1024 * 1024 + 1))
    assert (status, body) == (413, b'{"message":"Request Too Long"}')


def test_a_mock_answers_the_preflight_of_a_browser(make_api: Callable[..., Api]) -> None:
    api = make_api()
    place = {"restApiId": api.id, "resourceId": api.root_id, "httpMethod": "OPTIONS"}
    header = "method.response.header.Access-Control-Allow-"
    api.client.put_method(**place, authorizationType="NONE")
    api.client.put_method_response(
        **place, statusCode="200", responseParameters={f"{header}Origin": True, f"{header}Methods": False}
    )
    api.client.put_integration(
        **place, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
    )
    api.client.put_integration_response(
        **place,
        statusCode="200",
        responseParameters={f"{header}Origin": "'*'", f"{header}Methods": "'POST,OPTIONS'"},
    )
    api.deploy()
    status, headers, body = api.call("/prod", "OPTIONS", Origin="http://page")
    assert (status, body) == (200, b"")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "POST,OPTIONS"


def test_a_change_is_public_with_the_next_deployment_and_rolls_back(make_api: Callable[..., Api]) -> None:
    api = make_api()
    api.proxy(api.resource("one"))
    first = api.deploy()
    api.allow()
    api.proxy(api.resource("two"))
    assert (api.call("/prod/one")[0], api.call("/prod/two")[0]) == (200, 403)
    api.deploy()
    assert api.call("/prod/two")[0] == 200
    api.client.update_stage(
        restApiId=api.id,
        stageName="prod",
        patchOperations=[{"op": "replace", "path": "/deploymentId", "value": first}],
    )
    assert api.call("/prod/two")[0] == 403
    api.client.delete_stage(restApiId=api.id, stageName="prod")
    assert api.call("/prod/one")[0] == 403


def test_test_invoke_method_runs_what_is_not_deployed(make_api: Callable[..., Api]) -> None:
    api = make_api()
    resource_id = api.resource("films")
    api.proxy(resource_id, "POST")
    place = {"restApiId": api.id, "resourceId": resource_id, "httpMethod": "POST"}
    refused = api.client.test_invoke_method(**place, body="hi")
    assert refused["status"] == 500
    assert "resource policy" in refused["log"]
    api.allow("test-invoke-stage/POST/films")
    answer = api.client.test_invoke_method(**place, pathWithQueryString="/films?x=1", body="hi")
    event = json.loads(answer["body"])
    assert (answer["status"], event["body"], event["queryStringParameters"]) == (200, "hi", {"x": "1"})
    assert (event["headers"], event["multiValueHeaders"]) == (None, None)
    context = event["requestContext"]
    assert (context["path"], context["stage"]) == ("/films", "test-invoke-stage")
    assert (context["domainName"], context["domainPrefix"]) == ("testPrefix.testDomainName", "testPrefix")
    identity = context["identity"]
    assert identity["sourceIp"] == "test-invoke-source-ip"
    assert (identity["apiKey"], identity["userArn"]) == (
        "test-invoke-api-key",
        f"arn:aws:iam::{api.server.account_id}:root",
    )


def test_the_log_of_a_test_tells_every_step(make_api: Callable[..., Api]) -> None:
    api = make_api()
    resource_id = api.resource("{id}")
    api.proxy(resource_id, "POST")
    api.allow("*/*/*")
    place = {"restApiId": api.id, "resourceId": resource_id, "httpMethod": "POST"}
    answer = api.client.test_invoke_method(
        **place, pathWithQueryString="/7?x=1", body="hi", headers={"A": "b"}
    )
    first, *lines = answer["log"].splitlines()
    assert first.startswith("Execution log for request ")
    texts = [line.partition(" : ")[2] for line in lines]
    beginnings = [
        "Starting execution for request: ",
        "HTTP Method: POST, Resource Path: /{id}",
        "Method request path: {id=7}",
        "Method request query string: {x=1}",
        "Method request headers: {A=b}",
        "Method request body before transformations: hi",
        "Endpoint request URI: https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/arn:aws:lambda:",
        'Endpoint request body after transformations: {"resource":"/{id}"',
        "Sending request to https://lambda.us-east-1.amazonaws.com/",
        "Received response. Status: 200, Integration latency: ",
        'Endpoint response body before transformations: {"statusCode": 200',
        "Method response body after transformations: {",
        "Method response headers: {X-From=function",
        "Successfully completed execution",
        "Method completed with status: 200",
    ]
    assert [text[: len(beginning)] for text, beginning in zip(texts, beginnings, strict=True)] == beginnings
    failed = api.client.test_invoke_method(**place, pathWithQueryString="/7?do=malformed")["log"]
    assert "Execution failed: Malformed Lambda proxy response" in failed
    assert failed.endswith("Method completed with status: 502\n")


def test_a_function_that_is_throttled_is_500_as_on_aws(make_api: Callable[..., Api]) -> None:
    """AWS does not hand Lambda's 429 on: without a gateway response of its own an API answers 500."""
    api = make_api()
    api.proxy(api.resource("films"))
    api.deploy()
    api.allow()
    functions = api.server.client("lambda")
    functions.put_function_concurrency(FunctionName=api.function_arn, ReservedConcurrentExecutions=0)
    try:
        status, _, body = api.call("/prod/films")
        assert (status, json.loads(body)) == (500, {"message": "Internal server error"})
    finally:
        functions.delete_function_concurrency(FunctionName=api.function_arn)
    assert api.call("/prod/films")[0] == 200


def test_what_was_put_is_what_is_got(make_api: Callable[..., Api]) -> None:
    api = make_api(description="of films", tags={"team": "door"})
    films = api.resource("films")
    api.proxy(films, "GET")
    api.deploy("v1", description="first")
    client, place = api.client, {"restApiId": api.id, "resourceId": films, "httpMethod": "GET"}
    assert client.get_rest_api(restApiId=api.id)["description"] == "of films"
    assert client.get_method(**place)["methodIntegration"]["type"] == "AWS_PROXY"
    assert client.get_integration(**place)["timeoutInMillis"] == 29_000
    paths = [item["path"] for item in client.get_resources(restApiId=api.id)["items"]]
    assert paths == ["/", "/films"]
    embedded = client.get_resources(restApiId=api.id, embed=["methods"])["items"][1]
    assert embedded["resourceMethods"]["GET"]["authorizationType"] == "NONE"
    assert [s["stageName"] for s in client.get_stages(restApiId=api.id)["item"]] == ["v1"]
    assert client.get_deployments(restApiId=api.id)["items"][0]["description"] == "first"
    arn = f"arn:aws:apigateway:us-east-1::/restapis/{api.id}"
    client.tag_resource(resourceArn=arn, tags={"stage": "door"})
    assert client.get_tags(resourceArn=arn)["tags"] == {"team": "door", "stage": "door"}
    client.update_rest_api(
        restApiId=api.id, patchOperations=[{"op": "replace", "path": "/name", "value": "cinema"}]
    )
    assert client.get_rest_api(restApiId=api.id)["name"] == "cinema"
    client.delete_resource(restApiId=api.id, resourceId=films)
    assert len(client.get_resources(restApiId=api.id)["items"]) == 1


@pytest.mark.parametrize(
    ("operation", "parameters", "code", "said"),
    [
        ("get_rest_api", {"restApiId": "nowhere"}, "NotFoundException", "Invalid API identifier"),
        ("get_resource", {"resourceId": "nowhere"}, "NotFoundException", "Invalid Resource identifier"),
        ("get_method", {"resourceId": "/", "httpMethod": "GET"}, "NotFoundException", "Invalid Method identifier"),
        ("get_stage", {"stageName": "nowhere"}, "NotFoundException", "Invalid stage identifier"),
        ("create_deployment", {"stageName": "x"}, "BadRequestException", "doesn't contain any methods"),
        ("create_resource", {"parentId": "/", "pathPart": "a b"}, "BadRequestException", "path part"),
        ("put_method", {"resourceId": "/", "httpMethod": "BREW", "authorizationType": "NONE"},
         "BadRequestException", "Invalid HttpMethod"),
        ("put_method", {"resourceId": "/", "httpMethod": "GET", "authorizationType": "CUSTOM"},
         "BadRequestException", "CUSTOM"),
        ("put_method", {"resourceId": "/", "httpMethod": "GET", "authorizationType": "aws_iam"},
         "BadRequestException", "Invalid authorization type"),
        ("update_rest_api", {"patchOperations": [{"op": "replace", "path": "/color", "value": "x"}]},
         "BadRequestException", "Invalid patch path /color"),
    ],
)  # fmt: skip
def test_bad_requests_get_awss_errors(
    make_api: Callable[..., Api], operation: str, parameters: dict[str, Any], code: str, said: str
) -> None:
    api = make_api()
    given = {"restApiId": api.id} | {k: api.root_id if v == "/" else v for k, v in parameters.items()}
    with pytest.raises(ClientError, match=said) as caught:
        getattr(api.client, operation)(**given)
    assert caught.value.response["Error"]["Code"] == code
