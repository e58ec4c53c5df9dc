"""Condition keys that follow from a real request, and changes of policies: in force for the very next request."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.identities import document, make_role, make_user, unique

from stagedoor.testing import Server

CONFIG = {"EndpointConfigName": "conditional"}


def variants(instance_type: str) -> list[dict[str, Any]]:
    return [
        {
            "VariantName": "v",
            "ModelName": "no-such-model",
            "InitialInstanceCount": 1,
            "InstanceType": instance_type,
        }
    ]


def allowed(call: Callable[..., Any], **arguments: Any) -> bool:
    """Whether policies let a call pass; what else is wrong with it does not matter."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] not in {"AccessDenied", "AccessDeniedException"}
    return True


def user(stagedoor: Server, service: str, *statements: dict[str, Any]) -> Any:
    return stagedoor.client(service, credentials=make_user(stagedoor, *statements)[1])


@pytest.mark.parametrize(
    ("condition", "further", "expected"),
    [
        ({"ForAllValues:StringLike": {"sagemaker:InstanceTypes": "ml.m5.*"}}, {}, True),
        (
            {"ForAllValues:StringLike": {"sagemaker:InstanceTypes": "ml.m5.*"}},
            {"ProductionVariants": variants("ml.p3.2xlarge")},
            False,
        ),
        ({"StringEquals": {"aws:RequestTag/team": "blue"}}, {}, False),
        (
            {"StringEquals": {"aws:RequestTag/team": "blue"}},
            {"Tags": [{"Key": "team", "Value": "blue"}]},
            True,
        ),
        (
            {"StringEquals": {"aws:RequestTag/team": "blue"}},
            {"Tags": [{"Key": "team", "Value": "red"}]},
            False,
        ),
        (
            {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}},
            {"Tags": [{"Key": "cost", "Value": "1"}]},
            False,
        ),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, {}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, {}, False),
    ],
)
def test_what_a_request_holds(
    stagedoor: Server, condition: dict[str, Any], further: dict[str, Any], expected: bool
) -> None:
    client = user(stagedoor, "sagemaker", {"Action": "sagemaker:*", "Condition": condition})
    request = CONFIG | {"ProductionVariants": variants("ml.m5.large")} | further
    assert allowed(client.create_endpoint_config, **request) is expected


def test_the_prefix_that_is_listed(stagedoor: Server) -> None:
    bucket = unique("listed")
    stagedoor.client("s3").create_bucket(Bucket=bucket)
    condition = {"StringLike": {"s3:prefix": "home/*"}}
    client = user(stagedoor, "s3", {"Action": "s3:ListBucket", "Condition": condition})
    assert allowed(client.list_objects_v2, Bucket=bucket, Prefix="home/a")
    assert not allowed(client.list_objects_v2, Bucket=bucket, Prefix="homeless")
    assert not allowed(client.list_objects_v2, Bucket=bucket)


def test_a_forwarded_address_is_nobodys(stagedoor: Server) -> None:
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    client = user(stagedoor, "s3", {"Action": "s3:ListAllMyBuckets", "Condition": condition})

    def forge(request: Any, **_: Any) -> None:
        request.headers.add_header("X-Forwarded-For", "10.1.1.1")

    client.meta.events.register("before-sign.s3", forge)
    assert not allowed(client.list_buckets)


def test_a_change_of_any_policy_counts_for_the_next_request(stagedoor: Server) -> None:
    """Decisions are remembered; none of these changes may be answered from memory."""
    iam = stagedoor.client("iam")
    name, keys = make_user(stagedoor, {"Action": "sagemaker:ListModels"})
    client = stagedoor.client("sagemaker", credentials=keys)
    allow = document({"Action": "sagemaker:ListModels"})
    deny = document({"Effect": "Deny", "Action": "sagemaker:ListModels"})

    def may() -> bool:
        return allowed(client.list_models)

    for round_ in range(20):
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=deny if round_ % 2 else allow)
        assert may() is (round_ % 2 == 0)
    iam.delete_user_policy(UserName=name, PolicyName="own")
    assert not may()
    group = unique("group")
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="own", PolicyDocument=allow)
    assert not may()
    iam.add_user_to_group(GroupName=group, UserName=name)
    assert may()
    arn = iam.create_policy(PolicyName=unique("policy"), PolicyDocument=deny)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    assert not may()
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow, SetAsDefault=True)
    assert may()
    boundary = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
    assert not may()
    iam.delete_user_permissions_boundary(UserName=name)
    assert may()
    iam.detach_user_policy(UserName=name, PolicyArn=arn)
    iam.remove_user_from_group(GroupName=group, UserName=name)
    assert not may()


def test_tags_and_sessions_count_at_once_as_well(stagedoor: Server) -> None:
    iam = stagedoor.client("iam")
    role = make_role(stagedoor, {"Action": "sagemaker:ListModels"})
    reader = user(
        stagedoor,
        "iam",
        {"Action": "iam:GetRole", "Condition": {"StringEquals": {"aws:ResourceTag/team": "blue"}}},
    )
    for team, expected in (("blue", True), ("red", False), ("blue", True)):
        iam.tag_role(RoleName=role["RoleName"], Tags=[{"Key": "team", "Value": team}])
        assert allowed(reader.get_role, RoleName=role["RoleName"]) is expected
    sts = user(stagedoor, "sts", {"Action": "sts:AssumeRole"})
    keys = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    session = stagedoor.client("sagemaker", credentials=keys)
    assert allowed(session.list_models)
    denial = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    iam.put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="revoked",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": denial}),
    )
    assert not allowed(session.list_models)
