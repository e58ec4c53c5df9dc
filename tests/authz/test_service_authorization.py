"""The tables of actions and condition keys against what AWS documents: every supported operation, every key."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from stagedoor.authz import actions, request_keys, service_authorization
from stagedoor.authz.actions import Asked
from stagedoor.authz.caller import Caller
from stagedoor.services import registry
from stagedoor.wire import models

ACCOUNT = "111122223333"
CALLER = Caller("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ann", "AIDAANN")
# Their actions are HTTP methods on paths (test_actions has them), or they decide for themselves what they need.
BY_PATH = {"apigateway"}
# A member that stands for a resource's ARN, and one of the resources it may be.
ARNS = {
    ("sagemaker", "ResourceArn"): f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/e",
    ("lambda", "Resource"): f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f",
    ("logs", "resourceArn"): f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g",
    ("iam", "PolicyArn"): f"arn:aws:iam::{ACCOUNT}:policy/p",
    ("iam", "PolicySourceArn"): f"arn:aws:iam::{ACCOUNT}:user/u",
    ("iam", "SerialNumber"): f"arn:aws:iam::{ACCOUNT}:mfa/m",
    ("iam", "OpenIDConnectProviderArn"): f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example",
}
TEXTS = {
    "Path": "/p/",
    "CopySource": "bucket/key",
    "DeletionTaskId": "task/aws-service-role/a.amazonaws.com/R/1",
}
# What this server asks beside AWS's documented resources, and why.
DIFFERENT = {
    # AWS asks for the user of the key; which one that is, the request does not say.
    ("iam", "GetAccessKeyLastUsed"),
    # Scoped to the groups that are asked about, as CloudWatch Logs documents in its own guide.
    ("logs", "DescribeLogGroups"),
}


def supported() -> Iterator[tuple[str, str]]:
    for service in registry.MODULES:
        built = registry.operations(service)
        for operation in models.service(service).operations:
            if xform_name(operation) in built:
                yield service, operation


def request_of(service: str, operation: str) -> dict[str, Any]:
    """A request with every text member filled in."""
    shape = models.service(service).model.operation_model(operation).input_shape
    members = shape.members if shape is not None else {}
    return {
        name: ARNS.get((service, name), TEXTS.get(name, "x"))
        for name, member in members.items()
        if member.type_name == "string"
    }


def pattern(arn: str) -> "re.Pattern[str]":
    return re.compile(re.sub(r"\\\$\\\{\w+\\\}", r".*", re.escape(arn)))


def prefix_of(service: str) -> str:
    return {"sagemaker-runtime": "sagemaker", "sagemaker-metrics": "sagemaker"}.get(service, service)


@pytest.mark.parametrize(("service", "operation"), sorted(supported()))
def test_a_supported_operation_needs_a_documented_action_on_documented_resources(
    service: str, operation: str
) -> None:
    if service in BY_PATH or operation in actions.unchecked(service):
        return
    request = request_of(service, operation)
    needed = actions.required(service, Asked(operation, request, "us-east-1", ACCOUNT, CALLER))
    first = needed[0].action
    for action, resource in needed:
        documented = service_authorization.action(action)
        assert documented is not None, action
        if (service, operation) in DIFFERENT or action == "iam:PassRole":
            continue
        kinds = (*documented.required, *documented.optional)
        forms = [service_authorization.resource_type(action.partition(":")[0], kind).arn for kind in kinds]
        if resource == "*":
            assert not documented.required, (action, documented.required)
        else:
            assert any(pattern(form).fullmatch(resource) for form in forms), (action, resource, forms)
    documented = service_authorization.action(first)
    assert documented is not None
    if "iam:PassRole" in documented.dependent:
        assert actions.passed_to(service)


def table() -> dict[str, Any]:
    return tomllib.loads(Path(request_keys.__file__).with_suffix(".toml").read_text())


def test_every_key_of_a_service_is_one_that_aws_documents() -> None:
    source = table()
    names = {entry["key"] for entry in (*source["member"], *source["unsaid"])}
    names |= {
        name
        for name in (*source["supplied"], *source["absent"])
        if name.partition(":")[0] not in {"aws", "ec2"}
    }
    for name in names:
        prefix = name.partition(":")[0]
        documented = {key.lower() for key in service_authorization.keys(prefix)}
        assert name.lower() in documented or name == "s3:versionid", name


@pytest.mark.parametrize(("service", "operation"), sorted(supported()))
def test_a_known_key_is_supplied_by_every_supported_operation_that_has_it_on_aws(
    service: str, operation: str
) -> None:
    """Else a Deny on it would not hold for an operation that nobody thought of."""
    if service in BY_PATH or operation in actions.unchecked(service):
        return
    source = table()
    request = request_of(service, operation)
    action = actions.required(service, Asked(operation, request, "us-east-1", ACCOUNT, CALLER))[0].action
    documented = service_authorization.action(action)
    assert documented is not None
    shape = models.service(service).model.operation_model(operation).input_shape
    for key in {key.lower() for key in documented.keys}:
        read, names = set[str](), set[str]()
        for entry in (*source["member"], *source["unsaid"]):
            if entry["key"].lower() == key and prefix_of(entry["service"]) == prefix_of(service):
                names |= {path.removesuffix("[]").rpartition(".")[2] for path in entry.get("members", ())}
                if operation in entry.get("operations", [operation]):
                    read |= set(entry.get("members", ())) or {"unsaid"}
        # Members of these names, however deep they are: any of them may be what AWS means.
        there = set(places(shape, names))
        assert not there or "unsaid" in read or there & read, (operation, key, there)


def places(shape: Any, names: set[str], above: tuple[str, ...] = (), path: str = "") -> Iterator[str]:
    """Where in a request members with these names are, in the table's own words."""
    if shape is None or shape.name in above:
        return
    if shape.type_name == "list":
        yield from places(shape.member, names, (*above, shape.name), f"{path}[]")
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            place = f"{path}.{name}" if path else name
            if name in names:
                yield f"{place}[]" if member.type_name == "list" else place
            yield from places(member, names, (*above, shape.name), place)


def test_every_known_key_is_known_in_any_case() -> None:
    assert request_keys.is_known("sagemaker:instancetypes")
    assert request_keys.is_known("aws:requesttag/team")
    assert request_keys.is_known("issuer.example/path:sub")
    assert not request_keys.is_known("aws:unheard")
    assert not request_keys.is_known("sagemaker:unheard")
    assert not request_keys.is_known("issuer:sub")
    assert not request_keys.is_known("issuer.example:unheard")


REQUESTS = [
    ("sagemaker", "CreateEndpointConfig", {"ProductionVariants": [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.t2.medium"}]}, {"sagemaker:instancetypes": ["ml.m5.large", "ml.t2.medium"]}),
    ("sagemaker", "CreateTrainingJob", {"ResourceConfig": {"InstanceType": "ml.m5.large"}, "EnableNetworkIsolation": True}, {"sagemaker:instancetypes": "ml.m5.large", "sagemaker:networkisolation": "true"}),
    ("sagemaker", "CreateProcessingJob", {"ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large"}}, "NetworkConfig": {"EnableNetworkIsolation": False, "VpcConfig": {"Subnets": ["a"]}}}, {"sagemaker:instancetypes": "ml.m5.large", "sagemaker:networkisolation": "false", "sagemaker:vpcsubnets": "a"}),
    ("sagemaker", "CreateHyperParameterTuningJob", {"TrainingJobDefinitions": [{"ResourceConfig": {"InstanceType": "ml.p3.2xlarge", "VolumeKmsKeyId": "k"}}, {"ResourceConfig": {"InstanceType": "ml.m5.large"}}]}, {"sagemaker:instancetypes": ["ml.p3.2xlarge", "ml.m5.large"], "sagemaker:volumekmskey": "k"}),
    ("sagemaker", "CreateModel", {"Tags": [{"Key": "Team", "Value": "blue"}], "VpcConfig": {"Subnets": ["a", "b"]}}, {"aws:requesttag/team": "blue", "aws:tagkeys": ["Team"], "sagemaker:vpcsubnets": ["a", "b"]}),
    ("sagemaker", "DeleteTags", {"TagKeys": ["a"]}, {"aws:tagkeys": ["a"]}),
    ("lambda", "CreateFunction", {"Tags": {"team": "blue"}, "Layers": ["l"]}, {"aws:requesttag/team": "blue", "aws:tagkeys": ["team"], "lambda:layer": "l"}),
    ("lambda", "AddPermission", {"Principal": "s3.amazonaws.com"}, {"lambda:principal": "s3.amazonaws.com"}),
    ("lambda", "RemovePermission", {}, {"lambda:principal": request_keys.UNSAID, "lambda:functionurlauthtype": request_keys.UNSAID}),
    ("logs", "UntagLogGroup", {"tags": ["a"]}, {"aws:tagkeys": ["a"]}),
    ("s3", "PutObject", {"Key": "k", "Tagging": "a=1&b=2", "ACL": "private"}, {"s3:requestobjecttag/a": "1", "s3:requestobjecttag/b": "2", "s3:requestobjecttagkeys": ["a", "b"], "s3:x-amz-acl": "private"}),
    ("s3", "PutObjectTagging", {"Key": "k", "Tagging": {"TagSet": [{"Key": "a", "Value": "1"}]}}, {"s3:requestobjecttag/a": "1", "s3:requestobjecttagkeys": ["a"]}),
    ("s3", "ListObjectsV2", {"Prefix": "p/", "MaxKeys": 10}, {"s3:prefix": "p/", "s3:max-keys": "10"}),
    ("iam", "AttachRolePolicy", {"PolicyArn": "arn"}, {"iam:policyarn": "arn"}),
    ("iam", "GetPolicy", {"PolicyArn": "arn"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "request_", "expected"), REQUESTS)
def test_keys_come_from_the_members_of_a_request(
    service: str, operation: str, request_: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert request_keys.of_request(service, operation, request_) == expected
