"""Permissions boundaries narrow what users and roles may, and give nothing themselves."""

import json
from typing import Any

import pytest
from services.identities import document, make_role, make_user, trust, unique, user_arn
from services.test_iam_users import refusal

from stagedoor.testing import Server

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def iam(stagedoor: Server) -> Any:
    return stagedoor.client("iam")


def test_a_users_boundary_narrows_from_the_next_request_on(iam: Any, stagedoor: Server) -> None:
    user, keys = make_user(stagedoor, {"Action": ["s3:*", "iam:ListUsers"]})
    clients = {name: stagedoor.client(name, credentials=keys) for name in ("s3", "iam", "lambda")}
    clients["iam"].list_users(MaxItems=1)
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=READ_ONLY)
    shown = iam.get_user(UserName=user)["User"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"] == READ_ONLY
    clients["s3"].list_buckets()
    status, code, message = refusal(clients["iam"].list_users)
    assert (status, code) == (403, "AccessDenied")
    assert message.endswith("because no permissions boundary allows the iam:ListUsers action")
    assert refusal(clients["s3"].create_bucket, Bucket=unique("no"))[:2] == (403, "AccessDenied")
    # It gives nothing: the boundary allows s3:Get*, and without a policy of its own the user may nothing.
    iam.delete_user_policy(UserName=user, PolicyName="own")
    assert refusal(clients["s3"].list_buckets)[:2] == (403, "AccessDenied")
    iam.delete_user_permissions_boundary(UserName=user)
    assert "PermissionsBoundary" not in iam.get_user(UserName=user)["User"]


def test_a_roles_boundary_holds_for_sessions_that_exist(iam: Any, stagedoor: Server) -> None:
    _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    role = make_role(stagedoor, {"Action": "*"}, PermissionsBoundary=READ_ONLY)
    session = stagedoor.client("sts", credentials=keys).assume_role(
        RoleArn=role["Arn"], RoleSessionName="one"
    )["Credentials"]
    s3 = stagedoor.client("s3", credentials=session)
    s3.list_buckets()
    assert refusal(s3.create_bucket, Bucket=unique("no"))[:2] == (403, "AccessDenied")
    iam.delete_role_permissions_boundary(RoleName=role["RoleName"])
    s3.create_bucket(Bucket=unique("yes"))
    deny = document({"Action": "*"}, {"Effect": "Deny", "Action": "s3:List*"})
    policy = iam.create_policy(PolicyName=unique("bound"), PolicyDocument=deny)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=role["RoleName"], PermissionsBoundary=policy)
    assert refusal(s3.list_buckets)[2].endswith("with an explicit deny in a permissions boundary")


def test_a_policy_that_is_a_boundary_is_counted_and_not_deleted(iam: Any, stagedoor: Server) -> None:
    user, _ = make_user(stagedoor)
    arn = iam.create_policy(PolicyName=unique("bound"), PolicyDocument=document({"Action": "s3:*"}))[
        "Policy"
    ]["Arn"]
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=arn)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    used = iam.list_policies(Scope="Local", PolicyUsageFilter="PermissionsBoundary")["Policies"]
    assert arn in [one["Arn"] for one in used]
    found = iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")
    assert [one["UserName"] for one in found["PolicyUsers"]] == [user]
    assert (
        iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsPolicy")["PolicyUsers"]
        == []
    )
    assert refusal(iam.delete_policy, PolicyArn=arn)[:2] == (409, "DeleteConflict")
    missing = f"arn:aws:iam::{stagedoor.account_id}:policy/missing"
    refused = refusal(iam.put_user_permissions_boundary, UserName=user, PermissionsBoundary=missing)
    assert refused[:2] == (404, "NoSuchEntity")


def test_creating_users_may_be_allowed_only_with_a_boundary(iam: Any, stagedoor: Server) -> None:
    """AWS's own example: delegated administrators who cannot make somebody mightier than the boundary."""
    condition = {"StringEquals": {"iam:PermissionsBoundary": READ_ONLY}}
    actions = ["iam:CreateUser", "iam:PutUserPolicy", "iam:DeleteUserPolicy"]
    _, keys = make_user(stagedoor, {"Action": actions, "Condition": condition})
    delegated = stagedoor.client("iam", credentials=keys)
    name = unique("new")
    assert refusal(delegated.create_user, UserName=name)[:2] == (403, "AccessDenied")
    delegated.create_user(UserName=name, PermissionsBoundary=READ_ONLY)
    text = document({"Action": "*"})
    delegated.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=text)
    other, _ = make_user(stagedoor)
    refused = refusal(delegated.put_user_policy, UserName=other, PolicyName="all", PolicyDocument=text)
    assert refused[:2] == (403, "AccessDenied")
    refused = refusal(delegated.delete_user_permissions_boundary, UserName=name)
    assert refused[:2] == (403, "AccessDenied")


def test_a_bucket_policy_that_names_a_user_is_not_narrowed_by_its_boundary_and_one_that_names_a_role_is(
    iam: Any, stagedoor: Server
) -> None:
    s3, bucket = stagedoor.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    nothing = iam.create_policy(
        PolicyName=unique("bound"), PolicyDocument=document({"Action": ["iam:*", "sts:*"]})
    )["Policy"]["Arn"]
    user, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=nothing)
    role = make_role(
        stagedoor,
        PermissionsBoundary=nothing,
        AssumeRolePolicyDocument=trust({"AWS": user_arn(stagedoor, user)}),
    )
    session = stagedoor.client("sts", credentials=keys).assume_role(
        RoleArn=role["Arn"], RoleSessionName="one"
    )
    of_user = stagedoor.client("s3", credentials=keys)
    of_session = stagedoor.client("s3", credentials=session["Credentials"])

    def allow(principal: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": principal},
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        s3.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )

    allow(user_arn(stagedoor, user))
    of_user.get_object(Bucket=bucket, Key="key")
    assert refusal(of_session.get_object, Bucket=bucket, Key="key")[:2] == (403, "AccessDenied")
    allow(role["Arn"])
    assert refusal(of_session.get_object, Bucket=bucket, Key="key")[:2] == (403, "AccessDenied")
    allow(session["AssumedRoleUser"]["Arn"])
    of_session.get_object(Bucket=bucket, Key="key")


def test_the_simulator_knows_boundaries_and_groups(iam: Any, stagedoor: Server) -> None:
    user, _ = make_user(stagedoor, {"Action": "*"})
    arn = user_arn(stagedoor, user)

    def decided(action: str, **more: Any) -> tuple[str, Any]:
        answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=[action], **more)
        result = answer["EvaluationResults"][0]
        return result["EvalDecision"], result.get("PermissionsBoundaryDecisionDetail")

    assert decided("iam:ListUsers") == ("allowed", None)
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=READ_ONLY)
    assert decided("iam:ListUsers") == ("implicitDeny", {"AllowedByPermissionsBoundary": False})
    assert decided("s3:GetObject") == ("allowed", {"AllowedByPermissionsBoundary": True})
    given = [document({"Action": "iam:*"})]
    assert decided("iam:ListUsers", PermissionsBoundaryPolicyInputList=given)[0] == "allowed"
    group = unique("group")
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="own", PolicyDocument=document({"Action": "s3:Get*"}))
    answer = iam.simulate_principal_policy(
        PolicySourceArn=iam.get_group(GroupName=group)["Group"]["Arn"],
        ActionNames=["s3:GetObject", "s3:PutObject"],
    )
    assert [one["EvalDecision"] for one in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]


def test_the_simulator_names_missing_context_and_whose_the_resource_is(iam: Any, stagedoor: Server) -> None:
    text = document({"Action": "s3:*", "Condition": {"StringLike": {"s3:prefix": "home/${aws:username}/*"}}})
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=[text])["ContextKeyNames"]
    assert keys == ["aws:username", "s3:prefix"]
    asked = {"PolicyInputList": [text], "ActionNames": ["s3:ListBucket"]}
    result = iam.simulate_custom_policy(**asked)["EvaluationResults"][0]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["s3:prefix"])
    entries = [
        {"ContextKeyName": "s3:prefix", "ContextKeyType": "string", "ContextKeyValues": ["home/simulated/a"]}
    ]
    result = iam.simulate_custom_policy(**asked, ContextEntries=entries)["EvaluationResults"][0]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])
    foreign = iam.simulate_custom_policy(
        PolicyInputList=[document({"Action": "*"})],
        ActionNames=["s3:GetObject"],
        ResourceArns=["arn:aws:s3:::theirs/key"],
        ResourceOwner="arn:aws:iam::999988887777:root",
    )["EvaluationResults"][0]
    assert foreign["EvalDecision"] == "implicitDeny"
