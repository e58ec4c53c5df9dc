"""Requests for services that are not here: refused by name, in a form that the service's own client can read."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from stagedoor.testing import Server


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("dynamodb", "list_tables", {}),
        ("sqs", "list_queues", {}),
        ("sns", "list_topics", {}),
        ("ec2", "describe_instances", {}),
        ("route53", "list_hosted_zones", {}),
        # GET and DELETE have no body, so nothing in the request itself says that its service speaks JSON.
        ("eks", "list_clusters", {}),
        ("eks", "delete_cluster", {"name": "x"}),
        ("iot", "list_things", {}),
        ("batch", "describe_jobs", {"jobs": ["x"]}),
    ],
)
def test_a_service_that_is_not_offered_is_named_to_its_own_client(
    stagedoor: Server, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(stagedoor.client(service), operation)(**arguments)
    answer = raised.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (
        501,
        "UnknownOperationException",
    )
    assert answer["Error"]["Message"].startswith(f"stagedoor does not offer the service {service}.")


@pytest.mark.parametrize(
    ("method", "service", "path"),
    [
        ("GET", "lambda", "/2015-03-31/event-source-mappings"),
        ("GET", "lambda", "/nowhere"),
        ("PUT", "lambda", "/2015-03-31/functions"),
        ("GET", "apigateway", "/nowhere"),
        ("GET", "apigateway", "/v2/apis"),
        ("GET", "sagemaker", "/nowhere"),
        ("DELETE", "sagemaker", "/endpoints/x/invocations"),
        ("GET", "logs", "/"),
        ("GET", "kms", "/"),
        ("DELETE", "elasticfilesystem", "/2015-02-01/file-systems/x"),
    ],
)
def test_what_speaks_json_is_refused_in_json_whatever_the_method(
    stagedoor: Server, method: str, service: str, path: str
) -> None:
    request = AWSRequest(method, stagedoor.api + path)
    SigV4Auth(
        Credentials(stagedoor.access_key_id, stagedoor.secret_access_key), service, "us-east-1"
    ).add_auth(request)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(
            urllib.request.Request(request.url or "", headers=dict(request.headers), method=method)
        )
    answer = raised.value
    assert answer.code in {404, 501}
    assert answer.headers.get_content_subtype() in {"json", "x-amz-json-1.1"}
    told = json.loads(answer.read())
    code = answer.headers["x-amzn-ErrorType"] or told["__type"]
    assert code in {"UnknownOperationException", "NotImplementedException"}
    assert told["message"]


def test_a_call_of_an_api_that_nobody_takes_is_answered_as_api_gateway_does(stagedoor: Server) -> None:
    request = AWSRequest("GET", f"{stagedoor.api}/prod/somewhere")
    keys = Credentials(stagedoor.access_key_id, stagedoor.secret_access_key)
    SigV4Auth(keys, "execute-api", "us-east-1").add_auth(request)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(request.url or "", headers=dict(request.headers)))
    assert raised.value.code == 403
    assert raised.value.headers["content-type"] == "application/json"
    assert raised.value.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert json.loads(raised.value.read()) == {"message": "Missing Authentication Token"}
