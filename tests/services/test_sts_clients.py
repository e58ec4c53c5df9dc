"""STS and IAM through other doors: presigned calls, and the AWS command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import urllib3
from services.identities import trust, unique

from stagedoor.testing import Server

AWS = Path(sys.executable).with_name("aws")


def test_a_presigned_call_says_who_signed_it(stagedoor: Server) -> None:
    url = stagedoor.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    answer = urllib3.request("GET", url)
    assert answer.status == 200
    assert f"<Arn>arn:aws:iam::{stagedoor.account_id}:root</Arn>" in answer.data.decode()
    assert urllib3.request("POST", url).status == 403
    assert urllib3.request("GET", url.replace("GetCallerIdentity", "GetSessionToken")).status == 403


@pytest.mark.journey
@pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is not installed next to this Python")
def test_the_command_line_makes_and_assumes_a_role(stagedoor: Server, tmp_path: Path) -> None:
    def aws(*arguments: str, **environment: str) -> Any:
        settings = {**stagedoor.environment, "HOME": str(tmp_path), "AWS_PAGER": "", **environment}
        done = subprocess.run([AWS, *arguments], env=settings, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    user, role = unique("cli-user"), unique("cli-role")
    aws("iam", "create-user", "--user-name", user)
    document = trust({"AWS": stagedoor.account_id})
    aws("iam", "create-role", "--role-name", role, "--assume-role-policy-document", document)
    policy = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
    aws("iam", "attach-role-policy", "--role-name", role, "--policy-arn", policy)
    may = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": f"*:role/{role}"}],
        }
    ).replace("*:role", f"arn:aws:iam::{stagedoor.account_id}:role")
    aws("iam", "put-user-policy", "--user-name", user, "--policy-name", "may", "--policy-document", may)
    key = aws("iam", "create-access-key", "--user-name", user)["AccessKey"]
    as_user = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    arn = f"arn:aws:iam::{stagedoor.account_id}:role/{role}"
    session = aws("sts", "assume-role", "--role-arn", arn, "--role-session-name", "cli", **as_user)[
        "Credentials"
    ]
    as_role = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    assert aws("sts", "get-caller-identity", **as_role)["Arn"].endswith(f":assumed-role/{role}/cli")
    attached = aws("iam", "list-attached-role-policies", "--role-name", role, **as_role)
    assert attached["AttachedPolicies"] == [{"PolicyName": "IAMReadOnlyAccess", "PolicyArn": policy}]
