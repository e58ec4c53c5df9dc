"""Temporary credentials: who gets them, what they may do, when they end."""

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from services.identities import document, make_role, make_user, trust, unique, user_arn

from stagedoor.testing import Server


def refusal(call: Any, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


@pytest.fixture
def user(stagedoor: Server) -> tuple[str, dict[str, str]]:
    return make_user(stagedoor, {"Action": "sts:AssumeRole"})


def assume(stagedoor: Server, keys: Any, role: dict[str, Any], **more: Any) -> Any:
    sts = stagedoor.client("sts", credentials=keys)
    return sts.assume_role(RoleArn=role["Arn"], **{"RoleSessionName": "session", **more})


class TestAssumeRole:
    def test_the_session_is_the_role(self, stagedoor: Server, user: tuple[str, dict[str, str]]) -> None:
        role = make_role(stagedoor, {"Action": "iam:ListUsers"}, Path="/deep/path/")
        answer = assume(stagedoor, user[1], role)
        keys = answer["Credentials"]
        arn = f"arn:aws:sts::{stagedoor.account_id}:assumed-role/{role['RoleName']}/session"
        assert answer["AssumedRoleUser"] == {"AssumedRoleId": f"{role['RoleId']}:session", "Arn": arn}
        identity = stagedoor.client("sts", credentials=keys).get_caller_identity()
        assert (identity["Arn"], identity["UserId"]) == (arn, f"{role['RoleId']}:session")
        theirs = stagedoor.client("iam", credentials=keys)
        theirs.list_users(MaxItems=1)
        status, code, message = refusal(theirs.list_roles)
        assert (status, code) == (403, "AccessDenied")
        assert message.startswith(f"User: {arn} is not authorized to perform: iam:ListRoles on resource: ")
        assert message.endswith("because no identity-based policy allows the iam:ListRoles action")

    def test_naming_the_account_leaves_it_to_the_users_policies(self, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor)
        role = make_role(stagedoor)
        assert refusal(assume, stagedoor=stagedoor, keys=keys, role=role) == (
            403,
            "AccessDenied",
            f"User: {user_arn(stagedoor, name)} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}",
        )

    def test_naming_the_user_is_enough(self, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor)
        role = make_role(stagedoor, principal={"AWS": user_arn(stagedoor, name)})
        assume(stagedoor, keys, role)

    def test_an_explicit_deny_of_the_user_wins(self, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor, {"Effect": "Deny", "Action": "sts:AssumeRole"})
        role = make_role(stagedoor, principal={"AWS": user_arn(stagedoor, name)})
        assert refusal(assume, stagedoor=stagedoor, keys=keys, role=role)[1] == "AccessDenied"

    def test_a_role_that_trusts_another_principal_is_refused(
        self, stagedoor: Server, user: tuple[str, dict[str, str]]
    ) -> None:
        other, _ = make_user(stagedoor)
        for principal in ({"AWS": user_arn(stagedoor, other)}, {"Service": "lambda.amazonaws.com"}):
            role = make_role(stagedoor, principal=principal)
            assert refusal(assume, stagedoor=stagedoor, keys=user[1], role=role)[:2] == (403, "AccessDenied")

    def test_a_role_that_is_not_there_is_refused_in_the_same_words(
        self, stagedoor: Server, user: tuple[str, dict[str, str]]
    ) -> None:
        missing = {"Arn": f"arn:aws:iam::{stagedoor.account_id}:role/missing"}
        assert refusal(assume, stagedoor=stagedoor, keys=user[1], role=missing)[:2] == (403, "AccessDenied")

    def test_root_assumes_no_roles(self, stagedoor: Server) -> None:
        role = make_role(stagedoor)
        assert refusal(assume, stagedoor=stagedoor, keys=None, role=role) == (
            403,
            "AccessDenied",
            "Roles may not be assumed by root accounts.",
        )

    def test_the_external_id_is_a_condition(
        self, stagedoor: Server, user: tuple[str, dict[str, str]]
    ) -> None:
        condition = {"StringEquals": {"sts:ExternalId": "right"}}
        text = trust({"AWS": user_arn(stagedoor, user[0])}, Condition=condition)
        role = make_role(stagedoor, AssumeRolePolicyDocument=text)
        assume(stagedoor, user[1], role, ExternalId="right")
        for wrong in ({}, {"ExternalId": "wrong"}):
            call = {"stagedoor": stagedoor, "keys": user[1], "role": role, **wrong}
            assert refusal(assume, **call)[:2] == (403, "AccessDenied")

    def test_durations(self, stagedoor: Server, user: tuple[str, dict[str, str]]) -> None:
        role = make_role(stagedoor, {"Action": "sts:AssumeRole"}, MaxSessionDuration=7200)
        call = {"stagedoor": stagedoor, "keys": user[1], "role": role}
        assume(**call, DurationSeconds=7200)
        assert refusal(assume, **call, DurationSeconds=7201) == (
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
        # What the client itself would refuse to send.
        unchecked = Config(parameter_validation=False)
        sts = stagedoor.client("sts", credentials=user[1], config=unchecked)
        short = {"RoleArn": role["Arn"], "RoleSessionName": "session", "DurationSeconds": 899}
        assert refusal(sts.assume_role, **short)[:2] == (400, "ValidationError")
        session = assume(**call)["Credentials"]
        chained = {"stagedoor": stagedoor, "keys": session, "role": role}
        assume(**chained, DurationSeconds=3600)
        assert refusal(assume, **chained, DurationSeconds=3601)[:2] == (400, "ValidationError")

    def test_session_policies_only_narrow(self, stagedoor: Server, user: tuple[str, dict[str, str]]) -> None:
        role = make_role(stagedoor, {"Action": ["iam:ListUsers", "iam:ListRoles"]})
        narrow = document({"Action": ["iam:ListUsers", "iam:ListPolicies"]})
        answer = assume(stagedoor, user[1], role, Policy=narrow)
        assert 0 < answer["PackedPolicySize"] <= 100
        theirs = stagedoor.client("iam", credentials=answer["Credentials"])
        theirs.list_users(MaxItems=1)
        assert "no session policy allows the iam:ListRoles action" in refusal(theirs.list_roles)[2]
        assert "no identity-based policy allows the iam:ListPolicies" in refusal(theirs.list_policies)[2]
        arns = [{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]
        managed = assume(stagedoor, user[1], role, PolicyArns=arns)["Credentials"]
        assert refusal(stagedoor.client("iam", credentials=managed).list_users)[1] == "AccessDenied"

    def test_session_policies_are_checked(self, stagedoor: Server, user: tuple[str, dict[str, str]]) -> None:
        role = make_role(stagedoor)
        call = {"stagedoor": stagedoor, "keys": user[1], "role": role}
        assert refusal(assume, **call, Policy="{}")[:2] == (400, "MalformedPolicyDocument")
        missing = [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicy"}]
        assert refusal(assume, **call, PolicyArns=missing)[:2] == (400, "ValidationError")

    def test_tags_need_the_trust_of_the_role(
        self, stagedoor: Server, user: tuple[str, dict[str, str]]
    ) -> None:
        tags = [{"Key": "team", "Value": "blue"}]
        call = {"stagedoor": stagedoor, "keys": user[1], "Tags": tags, "TransitiveTagKeys": ["team"]}
        assert refusal(assume, **call, role=make_role(stagedoor))[:2] == (403, "AccessDenied")
        both = trust({"AWS": user_arn(stagedoor, user[0])}, Action=["sts:AssumeRole", "sts:TagSession"])
        only_blue = {"StringEquals": {"aws:PrincipalTag/team": "blue"}}
        role = make_role(
            stagedoor,
            {"Action": ["iam:ListUsers", "sts:AssumeRole"], "Condition": only_blue},
            AssumeRolePolicyDocument=both,
        )
        session = assume(**call, role=role)["Credentials"]
        stagedoor.client("iam", credentials=session).list_users(MaxItems=1)
        # A transitive tag goes on to the next session, and is not changed there.
        next_role = make_role(stagedoor, {"Action": "iam:ListUsers", "Condition": only_blue})
        chained = assume(stagedoor, session, next_role)["Credentials"]
        stagedoor.client("iam", credentials=chained).list_users(MaxItems=1)
        other = [{"Key": "Team", "Value": "red"}]
        assert (
            refusal(assume, stagedoor=stagedoor, keys=session, role=next_role, Tags=other)[1]
            == "ValidationError"
        )
        plain = assume(stagedoor, user[1], role)["Credentials"]
        assert refusal(stagedoor.client("iam", credentials=plain).list_users)[1] == "AccessDenied"

    def test_a_deleted_role_takes_its_sessions_along(
        self, stagedoor: Server, user: tuple[str, dict[str, str]]
    ) -> None:
        role = make_role(stagedoor)
        sts = stagedoor.client("sts", credentials=assume(stagedoor, user[1], role)["Credentials"])
        sts.get_caller_identity()
        iam = stagedoor.client("iam")
        iam.delete_role(RoleName=role["RoleName"])
        assert refusal(sts.get_caller_identity)[:2] == (403, "InvalidClientTokenId")
        # Another role of the same name is another role.
        text = trust({"AWS": stagedoor.account_id})
        iam.create_role(RoleName=role["RoleName"], AssumeRolePolicyDocument=text)
        assert refusal(sts.get_caller_identity)[:2] == (403, "InvalidClientTokenId")

    def test_what_is_not_built_is_refused_by_name(
        self, stagedoor: Server, user: tuple[str, dict[str, str]]
    ) -> None:
        call = {"stagedoor": stagedoor, "keys": user[1], "role": make_role(stagedoor)}
        contexts = [{"ProviderArn": "arn:aws:iam::aws:contextProvider/x", "ContextAssertion": "assertion"}]
        status, code, message = refusal(assume, **call, ProvidedContexts=contexts)
        assert (status, code) == (400, "ValidationError")
        assert "ProvidedContexts" in message


class TestGetSessionToken:
    def test_it_is_the_user_for_everything_but_identities(self, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor, {"Action": "*"})
        session = stagedoor.client("sts", credentials=keys).get_session_token(DurationSeconds=900)[
            "Credentials"
        ]
        sts = stagedoor.client("sts", credentials=session)
        assert sts.get_caller_identity()["Arn"] == user_arn(stagedoor, name)
        stagedoor.client("s3", credentials=session).list_buckets()
        iam = stagedoor.client("iam", credentials=session)
        assert refusal(iam.list_users)[:2] == (403, "InvalidClientTokenId")
        assert refusal(sts.get_session_token)[:2] == (403, "AccessDenied")
        role = make_role(stagedoor)
        assume(stagedoor, session, role)

    def test_root_has_an_hour(self, stagedoor: Server) -> None:
        answer = stagedoor.client("sts").get_session_token(DurationSeconds=7200)
        lasts_s = answer["Credentials"]["Expiration"].timestamp() - _date_s(answer)
        assert 3590 <= lasts_s <= 3601

    def test_a_role_session_gets_none(self, stagedoor: Server, user: tuple[str, dict[str, str]]) -> None:
        session = assume(stagedoor, user[1], make_role(stagedoor, {"Action": "*"}))["Credentials"]
        sts = stagedoor.client("sts", credentials=session)
        assert refusal(sts.get_session_token) == (
            403,
            "AccessDenied",
            "Cannot call GetSessionToken with session credentials",
        )


def _date_s(answer: dict[str, Any]) -> float:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


class TestSeveralAccounts:
    OTHER = "444455556666"

    @pytest.fixture
    def server(self, stagedoor_server: Any, tmp_path: Any) -> Server:
        accounts = tmp_path / "accounts.json"
        entry = {
            "account_id": self.OTHER,
            "access_key_id": "AKIAOTHERACCOUNT0000",
            "secret_access_key": "other-secret",
            "display_name": "other",
        }
        accounts.write_text(json.dumps([entry]))
        return stagedoor_server(None, "--accounts", str(accounts))

    def test_both_sides_must_allow_a_role_of_another_account(self, server: Server) -> None:
        root = {"AccessKeyId": "AKIAOTHERACCOUNT0000", "SecretAccessKey": "other-secret"}
        assert server.client("sts", credentials=root).get_caller_identity()["Account"] == self.OTHER
        theirs = server.client("iam", credentials=root)
        for name in ("allowed", "plain"):
            theirs.create_user(UserName=name)
        theirs.put_user_policy(
            UserName="allowed", PolicyName="p", PolicyDocument=document({"Action": "sts:AssumeRole"})
        )
        keys = {name: theirs.create_access_key(UserName=name)["AccessKey"] for name in ("allowed", "plain")}
        open_role = make_role(server, principal={"AWS": self.OTHER})
        shut_role = make_role(server)
        assume(server, keys["allowed"], open_role)
        assert refusal(assume, stagedoor=server, keys=keys["plain"], role=open_role)[1] == "AccessDenied"
        assert refusal(assume, stagedoor=server, keys=keys["allowed"], role=shut_role)[1] == "AccessDenied"

    def test_accounts_do_not_see_each_other(self, server: Server) -> None:
        root = {"AccessKeyId": "AKIAOTHERACCOUNT0000", "SecretAccessKey": "other-secret"}
        name = unique("hidden")
        server.client("iam").create_user(UserName=name)
        theirs = server.client("iam", credentials=root)
        assert theirs.list_users()["Users"] == []
        assert refusal(theirs.get_user, UserName=name)[:2] == (404, "NoSuchEntity")
        server.client("s3").create_bucket(Bucket=name)
        s3 = server.client("s3", credentials=root)
        assert refusal(s3.list_objects_v2, Bucket=name)[:2] == (403, "AccessDenied")
        assert refusal(s3.put_object, Bucket=name, Key="k", Body=b"x")[:2] == (403, "AccessDenied")
