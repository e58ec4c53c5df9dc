"""Users and roles for tests: made through IAM itself, with names that no other test has."""

import json
import uuid
from typing import Any

from stagedoor.testing import Server


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Resource": "*"} | one for one in statements],
        }
    )


def trust(principal: Any, **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"} | more
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_user(stagedoor: Server, *statements: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """A user with one inline policy; its name and its key pair."""
    iam, name = stagedoor.client("iam"), unique("user")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
    return name, iam.create_access_key(UserName=name)["AccessKey"]


def make_role(
    stagedoor: Server, *statements: dict[str, Any], principal: Any = None, **options: Any
) -> dict[str, Any]:
    """A role with one inline policy, assumable by the account unless said otherwise."""
    iam, name = stagedoor.client("iam"), unique("role")
    text = trust(principal or {"AWS": stagedoor.account_id})
    role = iam.create_role(RoleName=name, **{"AssumeRolePolicyDocument": text, **options})["Role"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
    return role


def user_arn(stagedoor: Server, name: str) -> str:
    return f"arn:aws:iam::{stagedoor.account_id}:user/{name}"
