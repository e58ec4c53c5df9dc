"""Requests for services that are not here: refused by name, in a form that the service's own client can read."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from stagedoor.testing import Server


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("dynamodb", "list_tables"),
        ("sqs", "list_queues"),
        ("sns", "list_topics"),
        ("ec2", "describe_instances"),
        ("route53", "list_hosted_zones"),
    ],
)
def test_a_service_that_is_not_offered_is_named_to_its_own_client(
    stagedoor: Server, service: str, operation: str
) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(stagedoor.client(service), operation)()
    answer = raised.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (
        501,
        "UnknownOperationException",
    )
    assert answer["Error"]["Message"].startswith(f"stagedoor does not offer the service {service}.")


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
