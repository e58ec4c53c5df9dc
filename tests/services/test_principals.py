"""What is in memory about keys, roles and policies follows every commit."""

import json
from pathlib import Path

import pytest

from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.authz.sigv4 import Reason, SignatureError
from stagedoor.services.principals import NoSuchRoleError, Principals, RootAccount, read_accounts
from stagedoor.store.records import Key, SqliteRecords

ACCOUNT = "111122223333"
NOW = 1_700_000_000.0
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/jobs/worker"
ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
ROOT = RootAccount(ACCOUNT, "AKIAROOT", "root-secret")
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecords:
    return SqliteRecords(tmp_path / "state.sqlite")


@pytest.fixture
def principals(records: SqliteRecords) -> Principals:
    return Principals(records, SessionTokens(b"s" * 32), [ROOT])


def put(records: SqliteRecords, kind: str, name: str, **members: object) -> None:
    with records.transaction() as transaction:
        transaction.put(Key(kind, ACCOUNT, "", name), members)


def role(records: SqliteRecords, role_id: str = "AROA1", **members: object) -> None:
    put(records, "iam.role", "worker", RoleName="worker", RoleId=role_id, Arn=ROLE_ARN, **members)


def user(records: SqliteRecords, status: str = "Active", **members: object) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    put(records, "iam.user", "ann", UserName="ann", UserId="AIDA1", Arn=arn, **members)
    key = {"AccessKeyId": "AKIA1", "UserName": "ann", "Status": status, "secretAccessKey": "secret"}
    put(records, "iam.access_key", "AKIA1", **key)


def refusal(principals: Principals, key: str, token: str | None = None, now: float = NOW) -> Reason:
    with pytest.raises(SignatureError) as caught:
        principals.by_access_key(key, token, now)
    return caught.value.reason


def test_root(principals: Principals) -> None:
    credential = principals.by_access_key("AKIAROOT", None, NOW)
    assert credential.secret == "root-secret"
    assert (credential.caller.kind, credential.caller.arn) == ("root", f"arn:aws:iam::{ACCOUNT}:root")
    assert principals.has_account(ACCOUNT)
    assert principals.account_of_access_key("AKIAROOT") == ACCOUNT
    assert refusal(principals, "AKIAROOT", "token") is Reason.TOKEN_INVALID
    assert refusal(principals, "AKIANOBODY") is Reason.UNKNOWN_KEY


def test_a_user_follows_every_commit(principals: Principals, records: SqliteRecords) -> None:
    assert refusal(principals, "AKIA1") is Reason.UNKNOWN_KEY
    user(
        records, inlinePolicies={"p": ALLOW}, attachedPolicies=[READ_ONLY], Tags=[{"Key": "a", "Value": "b"}]
    )
    credential = principals.by_access_key("AKIA1", None, NOW)
    assert credential.secret == "secret"
    assert credential.caller.policies[0] == ALLOW
    assert len(credential.caller.policies) == 2
    assert credential.caller.tags == (("a", "b"),)
    assert principals.by_access_key("AKIA1", None, NOW) is credential
    user(records)
    assert principals.by_access_key("AKIA1", None, NOW).caller.policies == ()
    user(records, "Inactive")
    assert refusal(principals, "AKIA1") is Reason.UNKNOWN_KEY
    user(records)
    with records.transaction() as transaction:
        transaction.delete(Key("iam.user", ACCOUNT, "", "ann"))
    assert refusal(principals, "AKIA1") is Reason.UNKNOWN_KEY


def test_what_was_there_before_is_known_after_a_restart(records: SqliteRecords) -> None:
    user(records)
    fresh = Principals(records, SessionTokens(b"s" * 32), [ROOT])
    assert fresh.by_access_key("AKIA1", None, NOW).caller.user_id == "AIDA1"


def test_customer_managed_policies_count_in_their_default_version(
    principals: Principals, records: SqliteRecords
) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/mine"
    versions = [{"VersionId": "v1", "Document": "one"}, {"VersionId": "v2", "Document": "two"}]
    user(records, attachedPolicies=[arn])
    assert principals.by_access_key("AKIA1", None, NOW).caller.policies == ()
    for version, text in (("v1", "one"), ("v2", "two")):
        put(records, "iam.policy", "mine", Arn=arn, DefaultVersionId=version, versions=versions)
        assert principals.by_access_key("AKIA1", None, NOW).caller.policies == (text,)


def test_credentials_of_a_role(principals: Principals, records: SqliteRecords) -> None:
    with pytest.raises(NoSuchRoleError, match="jobs/worker does not exist"):
        principals.role_credentials(ROLE_ARN, "run", NOW, 900)
    role(records, inlinePolicies={"p": ALLOW})
    issued = principals.role_credentials(ROLE_ARN, "run", NOW, 900)
    credential = principals.by_access_key(issued.access_key_id, issued.session_token, NOW)
    assert credential.secret == issued.secret_access_key
    caller = credential.caller
    assert caller.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/run"
    assert (caller.user_id, caller.role_arn, caller.policies) == ("AROA1:run", ROLE_ARN, (ALLOW,))
    assert principals.caller_for_role(ROLE_ARN, "run").policies == (ALLOW,)
    # A session follows its role, and ends in time.
    role(records)
    again = principals.by_access_key(issued.access_key_id, issued.session_token, NOW + 899)
    assert again.caller.policies == ()
    assert refusal(principals, issued.access_key_id, issued.session_token, NOW + 900) is Reason.TOKEN_EXPIRED
    assert refusal(principals, issued.access_key_id) is Reason.UNKNOWN_KEY
    role(records, role_id="AROA2")
    assert refusal(principals, issued.access_key_id, issued.session_token) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "arn", ["worker", f"arn:aws:iam::{ACCOUNT}:role/worker", "arn:aws:iam::999999999999:role/worker"]
)
def test_a_role_is_found_by_its_exact_arn_only(
    principals: Principals, records: SqliteRecords, arn: str
) -> None:
    role(records)
    with pytest.raises(NoSuchRoleError):
        principals.role(arn)


def test_the_last_use_of_a_key_is_kept(principals: Principals, records: SqliteRecords) -> None:
    user(records)
    caller = principals.by_access_key("AKIA1", None, NOW).caller
    assert principals.note_use(caller, NOW, "us-east-1", "s3")
    assert not principals.note_use(caller, NOW + 10, "us-east-1", "s3")
    principals.store_use(caller)
    fresh = Principals(records, SessionTokens(b"s" * 32), [ROOT])
    use = fresh.last_use("AKIA1")
    assert use is not None
    assert (use.at, use.service) == (NOW, "s3")


def test_accounts_files_are_checked() -> None:
    entry = {"account_id": ACCOUNT, "access_key_id": "AKIA", "secret_access_key": "s", "display_name": "d"}
    assert read_accounts(json.dumps([entry])) == (RootAccount(ACCOUNT, "AKIA", "s", "d"),)
    for wrong, message in (
        ({}, "must hold a list"),
        ([1], "account 1 needs account_id, access_key_id"),
        ([entry, entry | {"account_id": "12"}], "account 2: account_id must have 12 digits"),
        ([entry | {"secret_access_key": ""}], "needs secret_access_key"),
    ):
        with pytest.raises(ValueError, match=message):
            read_accounts(json.dumps(wrong))
