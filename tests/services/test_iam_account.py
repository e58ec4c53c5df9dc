"""What an account has besides users and roles: password policy, instance profiles, roles of services, MFA, providers."""

import time
from typing import Any

import pytest
from services.identities import document, make_role, make_user, unique, user_arn
from services.test_iam_users import refusal

from stagedoor.authz import one_time_codes
from stagedoor.testing import Server


@pytest.fixture
def iam(stagedoor: Server) -> Any:
    return stagedoor.client("iam")


def test_the_password_policy(iam: Any) -> None:
    iam.update_account_password_policy(MinimumPasswordLength=12, RequireSymbols=True, MaxPasswordAge=90)
    policy = iam.get_account_password_policy()["PasswordPolicy"]
    assert policy["MinimumPasswordLength"] == 12
    assert policy["RequireSymbols"] is True
    assert policy["ExpirePasswords"] is True
    iam.update_account_password_policy()
    assert iam.get_account_password_policy()["PasswordPolicy"]["MinimumPasswordLength"] == 6
    iam.delete_account_password_policy()
    assert refusal(iam.get_account_password_policy)[:2] == (404, "NoSuchEntity")
    assert refusal(iam.delete_account_password_policy)[:2] == (404, "NoSuchEntity")


def test_instance_profiles_hold_one_role(iam: Any, stagedoor: Server) -> None:
    name, role = unique("profile"), make_role(stagedoor)["RoleName"]
    made = iam.create_instance_profile(
        InstanceProfileName=name, Path="/p/", Tags=[{"Key": "a", "Value": "b"}]
    )["InstanceProfile"]
    assert made["Arn"].endswith(f":instance-profile/p/{name}")
    assert made["Roles"] == []
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    assert refusal(iam.add_role_to_instance_profile, InstanceProfileName=name, RoleName=role)[:2] == (
        409,
        "LimitExceeded",
    )
    shown = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [one["RoleName"] for one in shown["Roles"]] == [role]
    listed = iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]
    assert [one["InstanceProfileName"] for one in listed] == [name]
    assert name in [
        one["InstanceProfileName"] for one in iam.list_instance_profiles(PathPrefix="/p/")["InstanceProfiles"]
    ]
    assert refusal(iam.delete_role, RoleName=role)[:2] == (409, "DeleteConflict")
    assert refusal(iam.delete_instance_profile, InstanceProfileName=name)[:2] == (409, "DeleteConflict")
    iam.tag_instance_profile(InstanceProfileName=name, Tags=[{"Key": "c", "Value": "d"}])
    iam.untag_instance_profile(InstanceProfileName=name, TagKeys=["a"])
    tags = iam.list_instance_profile_tags(InstanceProfileName=name)["Tags"]
    assert tags == [{"Key": "c", "Value": "d"}]
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=name)
    iam.delete_role(RoleName=role)
    assert refusal(iam.get_instance_profile, InstanceProfileName=name)[:2] == (404, "NoSuchEntity")


def test_putting_a_role_into_a_profile_is_passing_it(iam: Any, stagedoor: Server) -> None:
    name, role = unique("profile"), make_role(stagedoor)
    iam.create_instance_profile(InstanceProfileName=name)
    call = {"InstanceProfileName": name, "RoleName": role["RoleName"]}
    _, keys = make_user(stagedoor, {"Action": "iam:AddRoleToInstanceProfile"})
    refused = refusal(stagedoor.client("iam", credentials=keys).add_role_to_instance_profile, **call)
    assert refused[:2] == (403, "AccessDenied")
    assert "iam:PassRole" in refused[2]
    to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    _, keys = make_user(
        stagedoor,
        {"Action": "iam:AddRoleToInstanceProfile"},
        {"Action": "iam:PassRole", "Resource": role["Arn"], "Condition": to_ec2},
    )
    stagedoor.client("iam", credentials=keys).add_role_to_instance_profile(**call)


def test_roles_of_services_are_made_and_deleted_their_own_way(iam: Any) -> None:
    role = iam.create_service_linked_role(
        AWSServiceName="autoscaling.amazonaws.com", CustomSuffix=unique("s")[:20]
    )["Role"]
    name = role["RoleName"]
    assert role["Path"] == "/aws-service-role/autoscaling.amazonaws.com/"
    for call, more in (
        (iam.delete_role, {}),
        (iam.put_role_policy, {"PolicyName": "p", "PolicyDocument": document({"Action": "*"})}),
        (iam.attach_role_policy, {"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        (iam.update_assume_role_policy, {"PolicyDocument": "{}"}),
    ):
        status, code, _ = refusal(call, RoleName=name, **more)
        assert (status, code) in {(400, "UnmodifiableEntity"), (400, "MalformedPolicyDocument")}
    task = iam.delete_service_linked_role(RoleName=name)["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    assert refusal(iam.get_role, RoleName=name)[:2] == (404, "NoSuchEntity")
    assert refusal(iam.create_service_linked_role, AWSServiceName="unheard.amazonaws.com")[:2] == (
        400,
        "InvalidInput",
    )
    sneaky = refusal(
        iam.create_role, RoleName="x", Path="/aws-service-role/a/", AssumeRolePolicyDocument="{}"
    )
    assert sneaky[0] == 400


class TestMfa:
    def codes(self, seed: str) -> tuple[str, str, str]:
        left_s = one_time_codes.STEP_S - time.time() % one_time_codes.STEP_S
        if left_s < 3:
            # The codes must not grow old while the test shows them.
            time.sleep(left_s)
        step = int(time.time()) // one_time_codes.STEP_S
        return tuple(one_time_codes.code_at(seed, step + offset) for offset in (-1, 0, 1))  # type: ignore[return-value]

    def test_codes_are_those_of_the_standard(self) -> None:
        # RFC 6238, appendix B, cut to six digits.
        seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        for moment, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
            assert one_time_codes.code_at(seed, moment // 30) == code
            assert one_time_codes.step_of(seed, code, moment) == moment // 30
            assert one_time_codes.step_of(seed, code, moment, after=moment // 30) is None
            assert one_time_codes.step_of(seed, code, moment + 120) is None

    def test_a_second_factor_is_shown_when_a_role_wants_it(self, iam: Any, stagedoor: Server) -> None:
        user, keys = make_user(stagedoor, {"Action": "sts:*"})
        name = unique("mfa")
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]
        serial, seed = device["SerialNumber"], device["Base32StringSeed"].decode()
        first, second, third = self.codes(seed)
        enable = {"UserName": user, "SerialNumber": serial}
        wrong = refusal(
            iam.enable_mfa_device, **enable, AuthenticationCode1=second, AuthenticationCode2=second
        )
        assert wrong[:2] == (403, "InvalidAuthenticationCode")
        iam.enable_mfa_device(**enable, AuthenticationCode1=first, AuthenticationCode2=second)
        assert [one["SerialNumber"] for one in iam.list_mfa_devices(UserName=user)["MFADevices"]] == [serial]
        assert iam.get_mfa_device(SerialNumber=serial)["UserName"] == user
        used = iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"]
        assert serial in [one["SerialNumber"] for one in used]
        assert refusal(iam.delete_user, UserName=user)[:2] == (409, "DeleteConflict")

        with_mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
        trust = {"AWS": user_arn(stagedoor, user)}
        role = make_role(stagedoor, {"Action": "iam:ListUsers", "Condition": with_mfa}, principal=trust)
        iam.update_assume_role_policy(
            RoleName=role["RoleName"],
            PolicyDocument=document(
                {"Principal": trust, "Action": "sts:AssumeRole", "Condition": with_mfa}
            ).replace('"Resource": "*", ', ""),
        )
        sts = stagedoor.client("sts", credentials=keys)
        call = {"RoleArn": role["Arn"], "RoleSessionName": "one"}
        assert refusal(sts.assume_role, **call)[:2] == (403, "AccessDenied")
        # Used once is used up.
        assert refusal(sts.assume_role, **call, SerialNumber=serial, TokenCode=second)[:2] == (
            403,
            "AccessDenied",
        )
        assert refusal(sts.assume_role, **call, SerialNumber=serial)[:2] == (400, "ValidationError")
        session = sts.assume_role(**call, SerialNumber=serial, TokenCode=third)["Credentials"]
        stagedoor.client("iam", credentials=session).list_users(MaxItems=1)
        iam.deactivate_mfa_device(UserName=user, SerialNumber=serial)
        assert iam.list_mfa_devices(UserName=user)["MFADevices"] == []
        iam.delete_virtual_mfa_device(SerialNumber=serial)
        assert refusal(iam.delete_virtual_mfa_device, SerialNumber=serial)[:2] == (404, "NoSuchEntity")


def test_open_id_connect_providers(iam: Any) -> None:
    host = f"{unique('issuer')}.example"
    arn = iam.create_open_id_connect_provider(
        Url=f"https://{host}/path",
        ClientIDList=["one"],
        ThumbprintList=["a" * 40],
        Tags=[{"Key": "a", "Value": "b"}],
    )["OpenIDConnectProviderArn"]
    assert arn.endswith(f":oidc-provider/{host}/path")
    assert refusal(iam.create_open_id_connect_provider, Url=f"https://{host}/path")[:2] == (
        409,
        "EntityAlreadyExists",
    )
    assert refusal(iam.create_open_id_connect_provider, Url=f"http://{host}")[:2] == (400, "InvalidInput")
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="two")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="one")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["a"])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"]) == (f"{host}/path", ["two"])
    assert found["ThumbprintList"] == ["b" * 40]
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == [
        {"Key": "c", "Value": "d"}
    ]
    assert arn in [one["Arn"] for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert refusal(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)[:2] == (
        404,
        "NoSuchEntity",
    )


def test_the_summary_counts_and_the_details_show_everything(iam: Any, stagedoor: Server) -> None:
    user, _ = make_user(stagedoor, {"Action": "s3:*"})
    role = make_role(stagedoor, {"Action": "s3:Get*"})["RoleName"]
    group = unique("group")
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user)
    summary = iam.get_account_summary()["SummaryMap"]
    assert min(summary[name] for name in ("Users", "Groups", "Roles")) >= 1
    assert summary["GroupsPerUserQuota"] == 10
    details: dict[str, list[dict[str, Any]]] = {}
    for page in iam.get_paginator("get_account_authorization_details").paginate(
        PaginationConfig={"PageSize": 3}
    ):
        for name in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"):
            details.setdefault(name, []).extend(page[name])
    shown = next(one for one in details["UserDetailList"] if one["UserName"] == user)
    assert shown["GroupList"] == [group]
    assert shown["UserPolicyList"][0]["PolicyDocument"]["Statement"][0]["Action"] == "s3:*"
    shown = next(one for one in details["RoleDetailList"] if one["RoleName"] == role)
    assert shown["RolePolicyList"][0]["PolicyName"] == "own"
    assert shown["InstanceProfileList"] == []
    assert group in [one["GroupName"] for one in details["GroupDetailList"]]
    only = iam.get_account_authorization_details(Filter=["Group"], MaxItems=1000)
    assert only["UserDetailList"] == []
    assert group in [one["GroupName"] for one in only["GroupDetailList"]]
