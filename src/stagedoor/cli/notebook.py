"""What a SageMaker notebook has and a shell has not: to be a role. For ``stagedoor env --notebook``.

On AWS a notebook runs as an execution role, and ``get_execution_role()`` of the SageMaker SDKs works for nobody else. The role is made
through IAM when it is missing; its credentials are signed here with the server's secret, which whoever may read the root key has anyway.
"""

import json
import time
from typing import Any, Final

from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.cli.instance import Instance
from stagedoor.services.principals import role_session
from stagedoor.settings import Settings

ROLE: Final = "AmazonSageMaker-ExecutionRole"
PATH: Final = "/service-role/"
SESSION: Final = "SageMaker"
LASTS_S: Final = 7 * 24 * 3600
# A notebook in Studio may do this much after its quick setup, and buckets of any name.
POLICIES: Final = ("AmazonSageMakerFullAccess", "AmazonS3FullAccess", "CloudWatchLogsFullAccess")
# SageMaker for jobs and endpoints, the others for the web app around them, as courses reuse this role.
TRUSTED: Final = ("sagemaker.amazonaws.com", "lambda.amazonaws.com", "apigateway.amazonaws.com")


def variables(instance: Instance, settings: Settings) -> dict[str, str]:
    """The keys of the notebook's role, made when it is missing; good for a week."""
    iam = instance.client("iam")
    role = _role(iam)
    keys = json.loads((settings.data / "keys.json").read_text())
    tokens = SessionTokens(bytes.fromhex(keys["session_secret"]))
    credentials = tokens.issue(role_session(role["Arn"], role["RoleId"], SESSION, time.time(), LASTS_S))
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
    }


def _role(iam: Any) -> dict[str, Any]:
    """The role as IAM describes it. One that a user has changed stays as it is."""
    try:
        return iam.get_role(RoleName=ROLE)["Role"]
    except iam.exceptions.NoSuchEntityException:
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": list(TRUSTED)}, "Action": "sts:AssumeRole"}
            ],
        }
        role = iam.create_role(
            RoleName=ROLE,
            Path=PATH,
            AssumeRolePolicyDocument=json.dumps(trust),
            Description="Notebooks of stagedoor env --notebook",
        )["Role"]
        for policy in POLICIES:
            iam.attach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        return role
