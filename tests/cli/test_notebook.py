"""`stagedoor env --notebook`: a shell that is a role, as a SageMaker notebook is."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cli.commands import stagedoor as command

from stagedoor.testing import Server


def keys(server: Server) -> dict[str, str]:
    done = command("env", "--notebook", "--json", "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def client(server: Server, service: str, variables: dict[str, str]) -> Any:
    credentials = {
        "AccessKeyId": variables["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": variables["AWS_SECRET_ACCESS_KEY"],
        "SessionToken": variables["AWS_SESSION_TOKEN"],
    }
    return server.client(service, credentials=credentials)


def test_a_notebook_is_the_execution_role_and_may_do_what_that_may(stagedoor: Server) -> None:
    variables = keys(stagedoor)
    assert set(variables) == {
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
        "HTTPS_PROXY",
        "NO_PROXY",
        "AWS_CA_BUNDLE",
    }
    identity = client(stagedoor, "sts", variables).get_caller_identity()
    role = "AmazonSageMaker-ExecutionRole"
    assert identity["Arn"] == (f"arn:aws:sts::{stagedoor.account_id}:assumed-role/{role}/SageMaker")
    assert stagedoor.client("iam").get_role(RoleName=role)["Role"]["Path"] == "/service-role/"
    client(stagedoor, "sagemaker", variables).list_models()
    client(stagedoor, "s3", variables).list_buckets()
    with pytest.raises(ClientError, match="AccessDenied"):
        client(stagedoor, "iam", variables).delete_role(RoleName=role)


def test_a_role_that_was_changed_is_left_as_it_is(stagedoor: Server) -> None:
    first = keys(stagedoor)
    iam = stagedoor.client("iam")
    arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    iam.detach_role_policy(RoleName="AmazonSageMaker-ExecutionRole", PolicyArn=arn)
    try:
        again = keys(stagedoor)
        assert again["AWS_ACCESS_KEY_ID"] != first["AWS_ACCESS_KEY_ID"]
        stagedoor.client("s3").create_bucket(Bucket="of-nobodys-concern")
        with pytest.raises(ClientError, match="AccessDenied"):
            client(stagedoor, "s3", again).put_object(Bucket="of-nobodys-concern", Key="k", Body=b"")
    finally:
        iam.attach_role_policy(RoleName="AmazonSageMaker-ExecutionRole", PolicyArn=arn)
