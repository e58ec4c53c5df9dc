"""Roles and their policies, as an unmodified boto3 client sees them."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.identities import document, make_role, make_user, trust, unique

from stagedoor.testing import Server

LAMBDA = trust({"Service": "lambda.amazonaws.com"})
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def iam(stagedoor: Server) -> Any:
    return stagedoor.client("iam")


def refusal(call: Any, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_a_role_is_described_as_it_was_made(iam: Any, stagedoor: Server) -> None:
    name = unique("worker")
    made = iam.create_role(
        RoleName=name,
        Path="/service-role/",
        AssumeRolePolicyDocument=LAMBDA,
        Description="Runs functions",
        MaxSessionDuration=7200,
        Tags=[{"Key": "team", "Value": "blue"}],
    )["Role"]
    role = iam.get_role(RoleName=name)["Role"]
    assert made == role
    assert role["Arn"] == f"arn:aws:iam::{stagedoor.account_id}:role/service-role/{name}"
    assert role["RoleId"].startswith("AROA")
    assert role["AssumeRolePolicyDocument"] == json.loads(LAMBDA)
    assert (role["Description"], role["MaxSessionDuration"]) == ("Runs functions", 7200)
    assert role["Tags"] == [{"Key": "team", "Value": "blue"}]
    listed = [
        one
        for one in _all(iam, "list_roles", "Roles", PathPrefix="/service-role/")
        if one["RoleName"] == name
    ]
    assert listed
    assert "Tags" not in listed[0]


def _all(iam: Any, operation: str, member: str, **arguments: Any) -> list[Any]:
    return [item for page in iam.get_paginator(operation).paginate(**arguments) for item in page[member]]


def test_a_name_is_taken_without_regard_to_case(iam: Any) -> None:
    name = unique("Case")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=LAMBDA)
    assert refusal(iam.create_role, RoleName=name.upper(), AssumeRolePolicyDocument=LAMBDA) == (
        409,
        "EntityAlreadyExists",
        f"Role with name {name.upper()} already exists.",
    )


def test_a_role_that_is_not_there(iam: Any) -> None:
    expected = (404, "NoSuchEntity", "The role with name nobody cannot be found.")
    assert refusal(iam.get_role, RoleName="nobody") == expected
    assert refusal(iam.delete_role, RoleName="nobody") == expected
    assert refusal(iam.attach_role_policy, RoleName="nobody", PolicyArn=READ_ONLY) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "This policy contains invalid Json"),
        (document({"Action": "s3:*"}), "Missing required field Principal cannot be empty!"),
        (trust({"Service": "lambda.amazonaws.com"}, Resource="*"), "Has prohibited field Resource"),
        (trust({"Service": "lambda.amazonaws.com"}, Action="s3:*"), "AssumeRole policy may only specify STS AssumeRole"),
        (trust({"AWS": "arn:aws:iam::000000000000:user/missing"}), 'Invalid principal in policy: "AWS":"arn:aws:iam::000'),
    ],
)  # fmt: skip
def test_trust_policies_are_checked_and_nothing_is_stored(iam: Any, text: str, message: str) -> None:
    name = unique("bad")
    status, code, said = refusal(iam.create_role, RoleName=name, AssumeRolePolicyDocument=text)
    assert (status, code) == (400, "MalformedPolicyDocument")
    assert said.startswith(message)
    assert refusal(iam.get_role, RoleName=name)[0] == 404


def test_tag_keys_of_aws_are_not_given_away(iam: Any, stagedoor: Server) -> None:
    name = make_role(stagedoor)["RoleName"]
    assert refusal(iam.tag_role, RoleName=name, Tags=[{"Key": "AWS:x", "Value": "1"}])[:2] == (
        400,
        "InvalidInput",
    )
    assert iam.list_role_tags(RoleName=name)["Tags"] == []


def test_updates(iam: Any, stagedoor: Server) -> None:
    name = make_role(stagedoor)["RoleName"]
    iam.update_role(RoleName=name, Description="two", MaxSessionDuration=43200)
    assert iam.update_role_description(RoleName=name, Description="three")["Role"]["Description"] == "three"
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=LAMBDA)
    role = iam.get_role(RoleName=name)["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("three", 43200)
    assert role["AssumeRolePolicyDocument"] == json.loads(LAMBDA)
    assert (
        refusal(iam.update_assume_role_policy, RoleName=name, PolicyDocument="{}")[1]
        == "MalformedPolicyDocument"
    )


def test_inline_policies(iam: Any, stagedoor: Server) -> None:
    name = make_role(stagedoor)["RoleName"]
    text = document({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bücket/${aws:username}/*"})
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=text)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document({"Action": "*"}))
    found = iam.get_role_policy(RoleName=name, PolicyName="read")
    assert found["PolicyDocument"] == json.loads(text)
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["all", "read"]
    iam.delete_role_policy(RoleName=name, PolicyName="all")
    assert refusal(iam.get_role_policy, RoleName=name, PolicyName="all") == (
        404,
        "NoSuchEntity",
        "The role policy with name all cannot be found.",
    )
    large = document({"Action": [f"s3:Get{number:06d}" for number in range(900)]})
    status, code, message = refusal(
        iam.put_role_policy, RoleName=name, PolicyName="big", PolicyDocument=large
    )
    assert (status, code) == (409, "LimitExceeded")
    assert "10240 bytes exceeded for role" in message


def test_attached_policies(iam: Any, stagedoor: Server) -> None:
    name = make_role(stagedoor)["RoleName"]
    own = iam.create_policy(PolicyName=unique("own"), PolicyDocument=document({"Action": "*"}))["Policy"][
        "Arn"
    ]
    for arn in (READ_ONLY, own, own):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert {policy["PolicyArn"] for policy in attached} == {READ_ONLY, own}
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    assert refusal(iam.detach_role_policy, RoleName=name, PolicyArn=READ_ONLY)[1] == "NoSuchEntity"
    missing = "arn:aws:iam::aws:policy/NoSuchPolicy"
    assert refusal(iam.attach_role_policy, RoleName=name, PolicyArn=missing) == (
        404,
        "NoSuchEntity",
        f"Policy {missing} does not exist or is not attachable.",
    )
    for _ in range(9):
        arn = iam.create_policy(PolicyName=unique("own"), PolicyDocument=document({"Action": "*"}))["Policy"][
            "Arn"
        ]
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert refusal(iam.attach_role_policy, RoleName=name, PolicyArn=READ_ONLY) == (
        409,
        "LimitExceeded",
        "Cannot exceed quota for PoliciesPerRole: 10",
    )


def test_a_role_is_deleted_only_without_policies(iam: Any, stagedoor: Server) -> None:
    name = make_role(stagedoor, {"Action": "*"})["RoleName"]
    iam.attach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    assert refusal(iam.delete_role, RoleName=name) == (
        409,
        "DeleteConflict",
        "Cannot delete entity, must detach all policies first.",
    )
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    assert refusal(iam.delete_role, RoleName=name)[2] == "Cannot delete entity, must delete policies first."
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    iam.delete_role(RoleName=name)
    assert refusal(iam.get_role, RoleName=name)[1] == "NoSuchEntity"


def test_tags(iam: Any, stagedoor: Server) -> None:
    name = make_role(stagedoor, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])["RoleName"]
    iam.tag_role(RoleName=name, Tags=[{"Key": "A", "Value": "3"}, {"Key": "c", "Value": ""}])
    assert iam.list_role_tags(RoleName=name)["Tags"] == [
        {"Key": "A", "Value": "3"},
        {"Key": "b", "Value": "2"},
        {"Key": "c", "Value": ""},
    ]
    iam.untag_role(RoleName=name, TagKeys=["B", "missing"])
    assert [tag["Key"] for tag in iam.list_role_tags(RoleName=name)["Tags"]] == ["A", "c"]
    twice = [{"Key": "x", "Value": "1"}, {"Key": "X", "Value": "2"}]
    assert refusal(iam.tag_role, RoleName=name, Tags=twice)[1] == "InvalidInput"
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(49)]
    assert refusal(iam.tag_role, RoleName=name, Tags=many)[1] == "LimitExceeded"


def test_pages(iam: Any, stagedoor: Server) -> None:
    path = f"/{unique('paged')}/"
    names = sorted(make_role(stagedoor, Path=path)["RoleName"] for _ in range(5))
    first = iam.list_roles(PathPrefix=path, MaxItems=2)
    assert first["IsTruncated"]
    # What is removed meanwhile moves nothing.
    iam.delete_role(RoleName=first["Roles"][0]["RoleName"])
    rest = iam.list_roles(PathPrefix=path, Marker=first["Marker"])
    assert not rest["IsTruncated"]
    assert "Marker" not in rest
    assert [role["RoleName"] for role in first["Roles"] + rest["Roles"]] == names
    assert refusal(iam.list_roles, Marker="nonsense")[1] == "ValidationError"


def test_constraints_are_told_in_aws_words(iam: Any) -> None:
    status, code, message = refusal(iam.get_role, RoleName="a" * 65)
    assert (status, code) == (400, "ValidationError")
    assert "roleName" in message


def test_a_change_holds_for_the_very_next_request(iam: Any, stagedoor: Server) -> None:
    name, keys = make_user(stagedoor)
    theirs = stagedoor.client("iam", credentials=keys)
    statement = {"Action": "iam:ListRoles"}
    for _ in range(5):
        assert refusal(theirs.list_roles)[1] == "AccessDenied"
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(statement))
        theirs.list_roles(MaxItems=1)
        iam.delete_user_policy(UserName=name, PolicyName="own")


def test_of_many_creations_at_once_one_succeeds(stagedoor: Server) -> None:
    name = unique("contended")

    def create(_: int) -> str:
        try:
            stagedoor.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=LAMBDA)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "made"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(create, range(16)))
    assert sorted(outcomes) == ["EntityAlreadyExists"] * 15 + ["made"]
