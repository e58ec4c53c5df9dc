"""Users and their keys, managed policies, the policy simulator: through an unmodified boto3 client."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.identities import document, make_role, make_user, unique, user_arn

from stagedoor.testing import Server


@pytest.fixture
def iam(stagedoor: Server) -> Any:
    return stagedoor.client("iam")


def refusal(call: Any, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


class TestUsers:
    def test_a_user_is_described_as_it_was_made(self, iam: Any, stagedoor: Server) -> None:
        name = unique("ann")
        made = iam.create_user(UserName=name, Path="/team/", Tags=[{"Key": "a", "Value": "b"}])["User"]
        assert iam.get_user(UserName=name)["User"] == made
        assert made["Arn"] == f"arn:aws:iam::{stagedoor.account_id}:user/team/{name}"
        assert made["UserId"].startswith("AIDA")
        assert name in [user["UserName"] for user in iam.list_users(PathPrefix="/team/")["Users"]]
        assert refusal(iam.create_user, UserName=name.title())[1] == "EntityAlreadyExists"

    def test_a_caller_can_ask_for_itself(self, iam: Any, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor, {"Action": "iam:*"})
        theirs = stagedoor.client("iam", credentials=keys)
        assert theirs.get_user()["User"]["UserName"] == name
        assert len(theirs.list_access_keys()["AccessKeyMetadata"]) == 1
        assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{stagedoor.account_id}:root"
        assert refusal(iam.create_access_key)[1] == "ValidationError"

    def test_a_user_may_be_allowed_itself_alone(self, stagedoor: Server) -> None:
        own = f"arn:aws:iam::{stagedoor.account_id}:user/${{aws:username}}"
        name, keys = make_user(stagedoor, {"Action": "iam:*AccessKey*", "Resource": own})
        other, _ = make_user(stagedoor)
        theirs = stagedoor.client("iam", credentials=keys)
        theirs.list_access_keys(UserName=name)
        status, code, message = refusal(theirs.list_access_keys, UserName=other)
        assert (status, code) == (403, "AccessDenied")
        assert message == (
            f"User: {user_arn(stagedoor, name)} is not authorized to perform: iam:ListAccessKeys on resource: "
            f"{user_arn(stagedoor, other)} because no identity-based policy allows the iam:ListAccessKeys action"
        )

    def test_a_renamed_user_keeps_its_keys_and_policies(self, iam: Any, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor, {"Action": "s3:ListAllMyBuckets"})
        new = unique("renamed")
        iam.update_user(UserName=name, NewUserName=new, NewPath="/moved/")
        sts = stagedoor.client("sts", credentials=keys)
        assert sts.get_caller_identity()["Arn"].endswith(f":user/moved/{new}")
        stagedoor.client("s3", credentials=keys).list_buckets()

    def test_policies_tags_and_deletion(self, iam: Any, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor, {"Action": "*"})
        arn = "arn:aws:iam::aws:policy/AdministratorAccess"
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
        assert iam.list_attached_user_policies(UserName=name)["AttachedPolicies"] == [
            {"PolicyName": "AdministratorAccess", "PolicyArn": arn}
        ]
        assert iam.list_user_policies(UserName=name)["PolicyNames"] == ["own"]
        assert (
            iam.get_user_policy(UserName=name, PolicyName="own")["PolicyDocument"]["Statement"][0]["Action"]
            == "*"
        )
        iam.tag_user(UserName=name, Tags=[{"Key": "a", "Value": "1"}])
        iam.untag_user(UserName=name, TagKeys=["a"])
        assert iam.list_user_tags(UserName=name)["Tags"] == []
        assert iam.list_groups_for_user(UserName=name)["Groups"] == []
        expected = [
            "Cannot delete entity, must delete access keys first.",
            "Cannot delete entity, must detach all policies first.",
            "Cannot delete entity, must delete policies first.",
        ]
        steps = [
            lambda: iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"]),
            lambda: iam.detach_user_policy(UserName=name, PolicyArn=arn),
            lambda: iam.delete_user_policy(UserName=name, PolicyName="own"),
        ]
        for message, step in zip(expected, steps, strict=True):
            assert refusal(iam.delete_user, UserName=name) == (409, "DeleteConflict", message)
            step()
        iam.delete_user(UserName=name)
        assert refusal(iam.get_user, UserName=name)[:2] == (404, "NoSuchEntity")


class TestAccessKeys:
    def test_inactive_and_deleted_keys_are_refused_with_the_very_next_request(
        self, iam: Any, stagedoor: Server
    ) -> None:
        name, keys = make_user(stagedoor)
        sts = stagedoor.client("sts", credentials=keys)
        for _ in range(3):
            assert sts.get_caller_identity()["Arn"] == user_arn(stagedoor, name)
            iam.update_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"], Status="Inactive")
            assert refusal(sts.get_caller_identity)[:2] == (403, "InvalidClientTokenId")
            iam.update_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"], Status="Active")
        iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
        assert refusal(sts.get_caller_identity)[:2] == (403, "InvalidClientTokenId")

    def test_a_user_has_two_at_most_and_their_secrets_are_shown_once(
        self, iam: Any, stagedoor: Server
    ) -> None:
        name, _ = make_user(stagedoor)
        iam.create_access_key(UserName=name)
        assert refusal(iam.create_access_key, UserName=name) == (
            409,
            "LimitExceeded",
            "Cannot exceed quota for AccessKeysPerUser: 2",
        )
        listed = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
        assert {key["Status"] for key in listed} == {"Active"}
        assert not any("SecretAccessKey" in key for key in listed)

    def test_the_last_use_is_known(self, iam: Any, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor)
        before = iam.get_access_key_last_used(AccessKeyId=keys["AccessKeyId"])
        assert before["AccessKeyLastUsed"]["ServiceName"] == "N/A"
        stagedoor.client("sts", credentials=keys, region_name="eu-west-1").get_caller_identity()
        after = iam.get_access_key_last_used(AccessKeyId=keys["AccessKeyId"])
        assert after["UserName"] == name
        assert (after["AccessKeyLastUsed"]["ServiceName"], after["AccessKeyLastUsed"]["Region"]) == (
            "sts",
            "eu-west-1",
        )

    def test_the_account_of_a_key(self, stagedoor: Server) -> None:
        _, keys = make_user(stagedoor)
        sts = stagedoor.client("sts")
        assert sts.get_access_key_info(AccessKeyId=keys["AccessKeyId"])["Account"] == stagedoor.account_id


class TestManagedPolicies:
    def test_those_of_aws_are_there_with_their_documents(self, iam: Any) -> None:
        pages = iam.get_paginator("list_policies").paginate(Scope="AWS", PaginationConfig={"PageSize": 5})
        found = {policy["PolicyName"]: policy for page in pages for policy in page["Policies"]}
        named = {
            "AmazonSageMakerFullAccess",
            "AWSLambdaBasicExecutionRole",
            "AmazonS3FullAccess",
            "AmazonS3ReadOnlyAccess",
            "AdministratorAccess",
            "AmazonAPIGatewayInvokeFullAccess",
        }
        assert named <= set(found)
        for policy in found.values():
            one = iam.get_policy(PolicyArn=policy["Arn"])["Policy"]
            assert one["Description"]
            version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=one["DefaultVersionId"])
            assert version["PolicyVersion"]["Document"]["Statement"]
        arn = found["AdministratorAccess"]["Arn"]
        assert refusal(iam.delete_policy, PolicyArn=arn)[:2] == (403, "AccessDenied")

    def test_versions(self, iam: Any) -> None:
        name = unique("mine")
        arn = iam.create_policy(
            PolicyName=name, Path="/p/", Description="d", PolicyDocument=document({"Action": "s3:a"})
        )["Policy"]["Arn"]
        assert arn.endswith(f":policy/p/{name}")
        for action in ("b", "c", "d", "e"):
            iam.create_policy_version(
                PolicyArn=arn, PolicyDocument=document({"Action": f"s3:{action}"}), SetAsDefault=action == "c"
            )
        assert refusal(iam.create_policy_version, PolicyArn=arn, PolicyDocument=document({"Action": "s3:f"}))[
            1
        ] == ("LimitExceeded")
        assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v3"
        iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
        versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
        assert [version["VersionId"] for version in versions] == ["v5", "v4", "v3", "v2", "v1"]
        assert [version["VersionId"] for version in versions if version["IsDefaultVersion"]] == ["v2"]
        assert refusal(iam.delete_policy_version, PolicyArn=arn, VersionId="v2")[1] == "DeleteConflict"
        assert refusal(iam.delete_policy, PolicyArn=arn)[1] == "DeleteConflict"
        for version in ("v1", "v3", "v4", "v5"):
            iam.delete_policy_version(PolicyArn=arn, VersionId=version)
        assert refusal(iam.get_policy_version, PolicyArn=arn, VersionId="v1")[1] == "NoSuchEntity"
        iam.delete_policy(PolicyArn=arn)
        assert refusal(iam.get_policy, PolicyArn=arn)[:2] == (404, "NoSuchEntity")

    def test_who_has_one(self, iam: Any, stagedoor: Server) -> None:
        arn = iam.create_policy(PolicyName=unique("mine"), PolicyDocument=document({"Action": "s3:*"}))[
            "Policy"
        ]["Arn"]
        user, _ = make_user(stagedoor)
        role = make_role(stagedoor)["RoleName"]
        iam.attach_user_policy(UserName=user, PolicyArn=arn)
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        found = iam.list_entities_for_policy(PolicyArn=arn)
        assert [one["UserName"] for one in found["PolicyUsers"]] == [user]
        assert [one["RoleName"] for one in found["PolicyRoles"]] == [role]
        assert iam.list_entities_for_policy(PolicyArn=arn, EntityFilter="Role")["PolicyUsers"] == []
        assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 2
        assert refusal(iam.delete_policy, PolicyArn=arn) == (
            409,
            "DeleteConflict",
            "Cannot delete a policy attached to entities.",
        )

    def test_a_new_version_is_in_force_at_once(self, iam: Any, stagedoor: Server) -> None:
        allow, deny = document({"Action": "iam:ListUsers"}), document({"Action": "s3:*"})
        arn = iam.create_policy(PolicyName=unique("mine"), PolicyDocument=allow)["Policy"]["Arn"]
        name, keys = make_user(stagedoor)
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
        theirs = stagedoor.client("iam", credentials=keys)
        theirs.list_users(MaxItems=1)
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=deny, SetAsDefault=True)
        assert refusal(theirs.list_users)[1] == "AccessDenied"

    def test_tags_and_documents_are_checked(self, iam: Any) -> None:
        arn = iam.create_policy(
            PolicyName=unique("mine"),
            PolicyDocument=document({"Action": "s3:*"}),
            Tags=[{"Key": "a", "Value": "1"}],
        )["Policy"]["Arn"]
        iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "b", "Value": "2"}])
        iam.untag_policy(PolicyArn=arn, TagKeys=["a"])
        assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
        name = unique("bad")
        for text in ("{}", "[", document({"Action": "nothing"}), json.dumps({"Statement": []})):
            assert (
                refusal(iam.create_policy, PolicyName=name, PolicyDocument=text)[1]
                == "MalformedPolicyDocument"
            )
        large = document({"Action": [f"s3:Get{number:06d}" for number in range(500)]})
        assert refusal(iam.create_policy, PolicyName=name, PolicyDocument=large) == (
            409,
            "LimitExceeded",
            "Cannot exceed quota for PolicySize: 6144",
        )


class TestSimulation:
    SAGEMAKER = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"

    def test_what_the_sagemaker_sdk_asks_of_an_execution_role_is_allowed(
        self, iam: Any, stagedoor: Server
    ) -> None:
        role = make_role(stagedoor, principal={"Service": "sagemaker.amazonaws.com"})
        iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn=self.SAGEMAKER)
        actions = [
            "cloudwatch:PutMetricData",
            "ecr:GetAuthorizationToken",
            "ec2:CreateNetworkInterface",
            "ec2:DescribeVpcs",
            "logs:PutLogEvents",
        ]
        answer = iam.simulate_principal_policy(PolicySourceArn=role["Arn"], ActionNames=actions)
        assert not answer["IsTruncated"]
        assert [one["EvalDecision"] for one in answer["EvaluationResults"]] == ["allowed"] * len(actions)

    def test_decisions(self, iam: Any, stagedoor: Server) -> None:
        role = make_role(
            stagedoor,
            {"Action": "s3:*", "Resource": "arn:aws:s3:::mine/*"},
            {"Effect": "Deny", "Action": "s3:DeleteObject"},
            {"Action": "s3:ListBucket", "Condition": {"StringEquals": {"s3:prefix": "a/"}}},
        )

        def decisions(**arguments: Any) -> list[str]:
            answer = iam.simulate_principal_policy(PolicySourceArn=role["Arn"], **arguments)
            return [one["EvalDecision"] for one in answer["EvaluationResults"]]

        assert decisions(
            ActionNames=["s3:GetObject", "s3:DeleteObject"],
            ResourceArns=["arn:aws:s3:::mine/key", "arn:aws:s3:::other/key"],
        ) == ["allowed", "implicitDeny", "explicitDeny", "explicitDeny"]
        prefix = {"ContextKeyName": "s3:prefix", "ContextKeyType": "string", "ContextKeyValues": ["a/"]}
        assert decisions(ActionNames=["s3:ListBucket"]) == ["implicitDeny"]
        assert decisions(ActionNames=["s3:ListBucket"], ContextEntries=[prefix]) == ["allowed"]
        first = iam.simulate_principal_policy(
            PolicySourceArn=role["Arn"], ActionNames=["s3:GetObject", "s3:PutObject"], MaxItems=1
        )
        assert first["IsTruncated"]
        rest = iam.simulate_principal_policy(
            PolicySourceArn=role["Arn"], ActionNames=["s3:GetObject", "s3:PutObject"], Marker=first["Marker"]
        )
        assert [one["EvalActionName"] for one in rest["EvaluationResults"]] == ["s3:PutObject"]

    def test_policies_of_nobody(self, iam: Any) -> None:
        answer = iam.simulate_custom_policy(
            PolicyInputList=[document({"Action": "s3:Get*"})], ActionNames=["s3:GetObject", "s3:PutObject"]
        )
        assert [one["EvalDecision"] for one in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]

    def test_entities_that_are_not_there(self, iam: Any, stagedoor: Server) -> None:
        missing = f"arn:aws:iam::{stagedoor.account_id}:role/missing"
        assert refusal(iam.simulate_principal_policy, PolicySourceArn=missing, ActionNames=["s3:GetObject"])[
            :2
        ] == (
            404,
            "NoSuchEntity",
        )
        nothing = "arn:aws:s3:::bucket-of-mine"
        assert refusal(iam.simulate_principal_policy, PolicySourceArn=nothing, ActionNames=["s3:GetObject"])[
            1
        ] == ("InvalidInput")


def test_counts_and_quotas(iam: Any, stagedoor: Server) -> None:
    before = iam.get_account_summary()["SummaryMap"]
    make_user(stagedoor)
    after = iam.get_account_summary()["SummaryMap"]
    assert after["Users"] == before["Users"] + 1
    assert after["AccessKeysPerUserQuota"] == 2


def test_identities_survive_a_restart(stagedoor_server: Any) -> None:
    server = stagedoor_server()
    name, keys = make_user(server, {"Action": "sts:*"})
    role = make_role(server)
    server.kill()
    server.start()
    sts = server.client("sts", credentials=keys)
    assert sts.get_caller_identity()["Arn"] == user_arn(server, name)
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="again")["Credentials"]
    server.kill()
    server.start()
    assert server.client("sts", credentials=session).get_caller_identity()["Arn"].endswith("/again")
