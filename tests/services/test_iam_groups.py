"""Groups: users in them may what the group may, with the very next request."""

from typing import Any

import pytest
from services.identities import document, make_user, unique
from services.test_iam_users import refusal

from stagedoor.testing import Server

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def iam(stagedoor: Server) -> Any:
    return stagedoor.client("iam")


@pytest.fixture
def group(iam: Any) -> str:
    name = unique("group")
    iam.create_group(GroupName=name, Path="/teams/")
    return name


def test_a_group_is_made_found_renamed_and_deleted(iam: Any, stagedoor: Server, group: str) -> None:
    found = iam.get_group(GroupName=group)
    assert found["Group"]["Arn"] == f"arn:aws:iam::{stagedoor.account_id}:group/teams/{group}"
    assert found["Group"]["GroupId"].startswith("AGPA")
    assert found["Users"] == []
    assert group in [one["GroupName"] for one in iam.list_groups(PathPrefix="/teams/")["Groups"]]
    assert refusal(iam.create_group, GroupName=group.upper())[:2] == (409, "EntityAlreadyExists")
    user, _ = make_user(stagedoor)
    iam.add_user_to_group(GroupName=group, UserName=user)
    renamed = unique("renamed")
    iam.update_group(GroupName=group, NewGroupName=renamed, NewPath="/")
    assert refusal(iam.get_group, GroupName=group)[:2] == (404, "NoSuchEntity")
    assert [one["UserName"] for one in iam.get_group(GroupName=renamed)["Users"]] == [user]
    assert [one["GroupName"] for one in iam.list_groups_for_user(UserName=user)["Groups"]] == [renamed]
    assert refusal(iam.delete_group, GroupName=renamed)[:2] == (409, "DeleteConflict")
    assert refusal(iam.delete_user, UserName=user)[:2] == (409, "DeleteConflict")
    iam.remove_user_from_group(GroupName=renamed, UserName=user)
    iam.delete_group(GroupName=renamed)
    assert refusal(iam.get_group, GroupName=renamed)[:2] == (404, "NoSuchEntity")


def test_its_policies_are_those_of_its_users_from_the_next_request_on(
    iam: Any, stagedoor: Server, group: str
) -> None:
    user, keys = make_user(stagedoor)
    s3 = stagedoor.client("s3", credentials=keys)
    assert refusal(s3.list_buckets)[:2] == (403, "AccessDenied")
    iam.put_group_policy(
        GroupName=group, PolicyName="list", PolicyDocument=document({"Action": "s3:ListAllMyBuckets"})
    )
    assert refusal(s3.list_buckets)[:2] == (403, "AccessDenied")
    iam.add_user_to_group(GroupName=group, UserName=user)
    s3.list_buckets()
    iam.delete_group_policy(GroupName=group, PolicyName="list")
    assert refusal(s3.list_buckets)[:2] == (403, "AccessDenied")
    iam.attach_group_policy(GroupName=group, PolicyArn=READ_ONLY)
    s3.list_buckets()
    # A Deny of the group outweighs what the user may itself.
    iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=document({"Action": "s3:*"}))
    iam.put_group_policy(
        GroupName=group, PolicyName="no", PolicyDocument=document({"Effect": "Deny", "Action": "s3:List*"})
    )
    assert refusal(s3.list_buckets)[:2] == (403, "AccessDenied")
    iam.remove_user_from_group(GroupName=group, UserName=user)
    s3.list_buckets()


def test_inline_and_attached_policies_are_listed(iam: Any, group: str) -> None:
    text = document({"Action": "s3:*"})
    iam.put_group_policy(GroupName=group, PolicyName="one", PolicyDocument=text)
    assert iam.list_group_policies(GroupName=group)["PolicyNames"] == ["one"]
    assert iam.get_group_policy(GroupName=group, PolicyName="one")["GroupName"] == group
    iam.attach_group_policy(GroupName=group, PolicyArn=READ_ONLY)
    attached = iam.list_attached_group_policies(GroupName=group)["AttachedPolicies"]
    assert [one["PolicyArn"] for one in attached] == [READ_ONLY]
    using = iam.list_entities_for_policy(PolicyArn=READ_ONLY, EntityFilter="Group")["PolicyGroups"]
    assert group in [one["GroupName"] for one in using]
    assert refusal(iam.delete_group, GroupName=group)[:2] == (409, "DeleteConflict")
    iam.detach_group_policy(GroupName=group, PolicyArn=READ_ONLY)
    assert refusal(iam.delete_group, GroupName=group)[:2] == (409, "DeleteConflict")
    iam.delete_group_policy(GroupName=group, PolicyName="one")
    assert refusal(iam.get_group_policy, GroupName=group, PolicyName="one")[:2] == (404, "NoSuchEntity")
    iam.delete_group(GroupName=group)


def test_what_does_not_exist_is_refused(iam: Any, stagedoor: Server, group: str) -> None:
    user, _ = make_user(stagedoor)
    assert refusal(iam.add_user_to_group, GroupName="missing", UserName=user)[:2] == (404, "NoSuchEntity")
    assert refusal(iam.add_user_to_group, GroupName=group, UserName="missing")[:2] == (404, "NoSuchEntity")
    assert refusal(iam.list_groups_for_user, UserName="missing")[:2] == (404, "NoSuchEntity")
