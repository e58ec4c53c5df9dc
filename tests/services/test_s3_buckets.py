"""Buckets and their settings, through boto3 over a socket."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.handlers import validate_bucket_name
from services.s3_server import OTHER_ACCOUNT, S3Server

from stagedoor.authz.caller import Caller
from stagedoor.services import permissions
from stagedoor.store.records import Key


def code(action: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as raised:
        action()
    return raised.value.response["Error"]["Code"]


def test_names_belong_to_one_account_of_all(s3_server: S3Server, s3: Any) -> None:
    s3.create_bucket(Bucket="bucket")
    abroad = s3_server.client("eu-west-1")
    constraint = {"LocationConstraint": "eu-west-1"}
    assert (
        code(lambda: abroad.create_bucket(Bucket="bucket", CreateBucketConfiguration=constraint))
        == "BucketAlreadyOwnedByYou"
    )
    s3_server.account_id = OTHER_ACCOUNT
    assert code(lambda: s3.create_bucket(Bucket="bucket")) == "BucketAlreadyExists"
    assert s3.list_buckets()["Buckets"] == []


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "-a-b",
        "a-b-",
        "a..b",
        "192.168.0.1",
        "xn--abc",
        "abc-s3alias",
        "a b c",
    ],
)
def test_names_follow_the_rules(s3_server: S3Server, name: str) -> None:
    client = s3_server.client(parameter_validation=False)
    client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    assert code(lambda: client.create_bucket(Bucket=name)) == "InvalidBucketName"


def test_regions(s3_server: S3Server, s3: Any) -> None:
    abroad = s3_server.client("eu-west-1")
    assert code(lambda: abroad.create_bucket(Bucket="abroad")) == "IllegalLocationConstraintException"
    abroad.create_bucket(Bucket="abroad", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert abroad.get_bucket_location(Bucket="abroad")["LocationConstraint"] == "eu-west-1"
    assert s3.get_bucket_location(Bucket="bucket")["LocationConstraint"] is None
    assert s3.head_bucket(Bucket="abroad")["BucketRegion"] == "eu-west-1"
    home = {"LocationConstraint": "us-east-1"}
    assert (
        code(lambda: s3.create_bucket(Bucket="other", CreateBucketConfiguration=home))
        == "InvalidLocationConstraint"
    )


def test_buckets_are_listed_by_name_and_in_pages(s3: Any) -> None:
    for name in ("alpha", "beta", "gamma"):
        s3.create_bucket(Bucket=name)
    found = s3.list_buckets()
    assert [bucket["Name"] for bucket in found["Buckets"]] == ["alpha", "beta", "bucket", "gamma"]
    assert found["Buckets"][0]["CreationDate"].tzinfo is not None
    assert [b["Name"] for b in s3.list_buckets(Prefix="b")["Buckets"]] == ["beta", "bucket"]
    pages = s3.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 3})
    assert [[b["Name"] for b in page["Buckets"]] for page in pages] == [
        ["alpha", "beta", "bucket"],
        ["gamma"],
    ]


def test_a_deleted_bucket_is_gone_with_its_policy(s3_server: S3Server, s3: Any) -> None:
    s3.put_bucket_policy(
        Bucket="bucket", Policy=policy(principal={"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"})
    )
    key = Key("s3.bucket_policy", "000000000000", "", "bucket")
    record = s3_server.house.records.get(key)
    assert record is not None
    assert json.loads(record.document["Policy"])["Version"] == "2012-10-17"
    s3.delete_bucket(Bucket="bucket")
    assert s3_server.house.records.get(key) is None
    assert code(lambda: s3.head_bucket(Bucket="bucket")) == "404"
    assert code(lambda: s3.delete_bucket(Bucket="bucket")) == "NoSuchBucket"


def policy(principal: Any = "*", resource: str = "arn:aws:s3:::bucket/*", **more: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "s3:GetObject",
        "Resource": resource,
    } | more
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_public_policy_needs_the_block_to_be_lifted(s3: Any) -> None:
    blocked = s3.get_public_access_block(Bucket="bucket")["PublicAccessBlockConfiguration"]
    assert blocked == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    assert code(lambda: s3.put_bucket_policy(Bucket="bucket", Policy=policy())) == "AccessDenied"
    assert code(lambda: s3.get_bucket_policy(Bucket="bucket")) == "NoSuchBucketPolicy"
    s3.put_public_access_block(
        Bucket="bucket", PublicAccessBlockConfiguration={"BlockPublicAcls": True, "BlockPublicPolicy": False}
    )
    s3.put_bucket_policy(Bucket="bucket", Policy=policy())
    assert s3.get_bucket_policy(Bucket="bucket")["Policy"] == policy()
    assert s3.get_bucket_policy_status(Bucket="bucket")["PolicyStatus"]["IsPublic"] is True
    s3.delete_bucket_policy(Bucket="bucket")
    s3.delete_public_access_block(Bucket="bucket")
    assert code(lambda: s3.get_public_access_block(Bucket="bucket")) == "NoSuchPublicAccessBlockConfiguration"
    s3.put_bucket_policy(Bucket="bucket", Policy=policy())


@pytest.mark.parametrize(
    ("more", "public"),
    [
        ({"principal": {"AWS": "*"}}, True),
        ({"principal": {"AWS": ["*"]}}, True),
        ({"principal": {"AWS": "111111111111"}}, False),
        ({"principal": {"Service": "sagemaker.amazonaws.com"}}, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceArn": "arn:aws:sns:*"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": "111111111111"}}}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
        ({"Effect": "Deny"}, False),
    ],
)
def test_what_counts_as_public(s3: Any, more: dict[str, Any], public: bool) -> None:
    s3.delete_public_access_block(Bucket="bucket")
    s3.put_bucket_policy(Bucket="bucket", Policy=policy(**more))
    assert s3.get_bucket_policy_status(Bucket="bucket")["PolicyStatus"]["IsPublic"] is public


def test_a_restricted_public_bucket_is_closed_to_other_accounts_alone(s3_server: S3Server, s3: Any) -> None:
    s3.delete_public_access_block(Bucket="bucket")
    s3.put_bucket_policy(Bucket="bucket", Policy=policy())

    def may(account_id: str) -> bool:
        caller = Caller("root", account_id, f"arn:aws:iam::{account_id}:root", account_id)
        arn = "arn:aws:s3:::bucket/key"
        return permissions.decision(s3_server.house, caller, "s3:GetObject", arn).allowed

    assert (may("000000000000"), may(OTHER_ACCOUNT)) == (True, True)
    restricted = {"RestrictPublicBuckets": True}
    s3.put_public_access_block(Bucket="bucket", PublicAccessBlockConfiguration=restricted)
    assert (may("000000000000"), may(OTHER_ACCOUNT)) == (True, False)
    named = policy(principal={"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"})
    s3.put_bucket_policy(Bucket="bucket", Policy=named)
    assert (may("000000000000"), may(OTHER_ACCOUNT)) == (True, True)


@pytest.mark.parametrize(
    "document",
    [
        "no json",
        json.dumps({"Statement": []}),
        policy(resource="arn:aws:s3:::other/*", principal="*", Effect="Deny"),
        policy(Action="sqs:SendMessage", Effect="Deny"),
        json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
        ),
    ],
)
def test_malformed_policies_are_refused(s3: Any, document: str) -> None:
    assert code(lambda: s3.put_bucket_policy(Bucket="bucket", Policy=document)) == "MalformedPolicy"


@pytest.mark.parametrize(
    ("action", "resource", "said"),
    [
        ("s3:GetObjekt", "/*", "Policy has invalid action"),
        ("s3:InvokeEverything*", "/*", "Policy has invalid action"),
        (["s3:GetObject", "s3:"], "/*", None),
        ("s3:ListBucket", "/*", "Action does not apply to any resource(s) in statement"),
        ("s3:GetObject", "", "Action does not apply to any resource(s) in statement"),
        (["s3:GetObject", "s3:ListBucket"], "/*", "Action does not apply to any resource(s) in statement"),
        ("s3:ListAllMyBuckets", "", "Action does not apply to any resource(s) in statement"),
    ],
)
def test_a_policy_with_actions_that_do_not_exist_or_apply_is_refused(
    s3: Any, action: str | list[str], resource: str, said: str | None
) -> None:
    document = policy(Action=action, resource=f"arn:aws:s3:::bucket{resource}", Effect="Deny")
    with pytest.raises(ClientError) as raised:
        s3.put_bucket_policy(Bucket="bucket", Policy=document)
    error = raised.value.response["Error"]
    assert error["Code"] == "MalformedPolicy"
    assert said is None or error["Message"] == said


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("S3:getobject", "/*"),
        ("s3:*", ""),
        ("s3:Get*", "/*"),
        ("s3:?etObject", "/a/b"),
        (["s3:GetObject", "s3:ListBucket"], "*"),
        ("s3:ListBucket", ""),
        ("*", "/*"),
    ],
)
def test_a_policy_with_actions_that_apply_is_kept(s3: Any, action: str | list[str], resource: str) -> None:
    document = policy(Action=action, resource=f"arn:aws:s3:::bucket{resource}", Effect="Deny")
    s3.put_bucket_policy(Bucket="bucket", Policy=document)
    assert s3.get_bucket_policy(Bucket="bucket")["Policy"] == document


def test_cors_rules_are_kept_and_checked(s3: Any) -> None:
    assert code(lambda: s3.get_bucket_cors(Bucket="bucket")) == "NoSuchCORSConfiguration"
    rule = {
        "AllowedMethods": ["GET"],
        "AllowedOrigins": ["https://*.example.com"],
        "MaxAgeSeconds": 5,
        "ID": "one",
    }
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="bucket")["CORSRules"] == [rule]
    for bad in ({"AllowedMethods": ["PATCH"]}, {"AllowedOrigins": ["*.*"]}, {"ExposeHeaders": ["x-*"]}):
        configuration = {"CORSRules": [rule | bad]}
        assert (
            code(lambda c=configuration: s3.put_bucket_cors(Bucket="bucket", CORSConfiguration=c))
            == "InvalidRequest"
        )
    s3.delete_bucket_cors(Bucket="bucket")
    assert code(lambda: s3.get_bucket_cors(Bucket="bucket")) == "NoSuchCORSConfiguration"


def test_website_configurations_are_kept_and_checked(s3: Any) -> None:
    assert code(lambda: s3.get_bucket_website(Bucket="bucket")) == "NoSuchWebsiteConfiguration"
    configuration = {
        "IndexDocument": {"Suffix": "index.html"},
        "ErrorDocument": {"Key": "error.html"},
        "RoutingRules": [
            {"Condition": {"KeyPrefixEquals": "a/"}, "Redirect": {"ReplaceKeyPrefixWith": "b/"}}
        ],
    }
    s3.put_bucket_website(Bucket="bucket", WebsiteConfiguration=configuration)
    found = s3.get_bucket_website(Bucket="bucket")
    assert {name: found[name] for name in configuration} == configuration
    put = lambda c: s3.put_bucket_website(Bucket="bucket", WebsiteConfiguration=c)  # noqa: E731
    assert code(lambda: put({"IndexDocument": {"Suffix": "a/b"}})) == "InvalidArgument"
    assert code(lambda: put({"ErrorDocument": {"Key": "e"}})) == "InvalidArgument"
    both = {"RedirectAllRequestsTo": {"HostName": "h"}, "IndexDocument": {"Suffix": "i"}}
    assert code(lambda: put(both)) == "InvalidRequest"
    bad_code = {"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "200"}}]}
    assert code(lambda: put(bad_code)) == "InvalidRequest"
    s3.delete_bucket_website(Bucket="bucket")
    assert code(lambda: s3.get_bucket_website(Bucket="bucket")) == "NoSuchWebsiteConfiguration"


def test_versioning_encryption_and_ownership(s3: Any) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket="bucket")
    default = s3.get_bucket_encryption(Bucket="bucket")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert default["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    kms = {
        "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}]
    }
    s3.put_bucket_encryption(Bucket="bucket", ServerSideEncryptionConfiguration=kms)
    s3.put_object(Bucket="bucket", Key="key", Body=b"x")
    head = s3.head_object(Bucket="bucket", Key="key")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "k")
    s3.delete_bucket_encryption(Bucket="bucket")
    assert s3.put_object(Bucket="bucket", Key="key", Body=b"x")["ServerSideEncryption"] == "AES256"
    controls = s3.get_bucket_ownership_controls(Bucket="bucket")["OwnershipControls"]
    assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    writer = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    assert (
        code(lambda: s3.put_bucket_ownership_controls(Bucket="bucket", OwnershipControls=writer))
        == "NotImplemented"
    )


def test_acls_say_that_the_owner_owns_and_nothing_else(s3: Any) -> None:
    acl = s3.get_bucket_acl(Bucket="bucket")
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert acl["Grants"][0]["Grantee"]["ID"] == acl["Owner"]["ID"]
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ACL="bucket-owner-full-control")
    assert s3.get_object_acl(Bucket="bucket", Key="key")["Owner"] == acl["Owner"]
    s3.put_bucket_acl(Bucket="bucket", ACL="private")
    for action in (
        lambda: s3.put_bucket_acl(Bucket="bucket", ACL="public-read"),
        lambda: s3.put_object_acl(Bucket="bucket", Key="key", ACL="public-read"),
        lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"x", ACL="public-read"),
        lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"x", GrantRead="id=1"),
    ):
        assert code(action) == "AccessControlListNotSupported"
    assert (
        code(lambda: s3.create_bucket(Bucket="other", ACL="public-read"))
        == "InvalidBucketAclWithObjectOwnership"
    )


def test_what_cannot_be_set_says_that_it_is_not_set(s3: Any) -> None:
    assert s3.get_bucket_request_payment(Bucket="bucket")["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="bucket")
    assert (
        code(lambda: s3.get_bucket_lifecycle_configuration(Bucket="bucket")) == "NoSuchLifecycleConfiguration"
    )
    with pytest.raises(ClientError) as raised:
        s3.put_bucket_request_payment(Bucket="bucket", RequestPaymentConfiguration={"Payer": "Requester"})
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "PutBucketRequestPayment" in str(raised.value)
    assert (
        code(lambda: s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)) == "NotImplemented"
    )
