"""Who may do what: one role for SageMaker, one for the function, each with no more than it needs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from place import Place
from plan import Plan

T = TypeVar("T")


def ensure_sagemaker_role(place: Place, plan: Plan) -> str:
    """The ARN of the role that training, transform and hosting run with."""
    if plan.given_role:
        return plan.given_role
    arn = _ensure(
        place, plan.sagemaker_role, "sagemaker.amazonaws.com", "Trains and hosts the sentiment model"
    )
    place.iam.attach_role_policy(
        RoleName=plan.sagemaker_role,
        PolicyArn=f"arn:{place.partition}:iam::aws:policy/AmazonSageMakerFullAccess",
    )
    bucket = f"arn:{place.partition}:s3:::{plan.data_bucket}"
    _allow(
        place,
        plan.sagemaker_role,
        [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": f"{bucket}/{plan.prefix}/*",
            },
        ],
    )
    return arn


def ensure_function_role(place: Place, plan: Plan) -> str:
    """The ARN of the role that the function runs with: it may write its log and ask this one endpoint."""
    arn = _ensure(place, plan.function_role, "lambda.amazonaws.com", "Asks the sentiment model")
    place.iam.attach_role_policy(
        RoleName=plan.function_role,
        PolicyArn=f"arn:{place.partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    )
    endpoint = place.arn("sagemaker", f"endpoint/{plan.endpoint.lower()}")
    _allow(
        place,
        plan.function_role,
        [{"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": endpoint}],
    )
    return arn


def once_assumable(call: Callable[[], T], patience_s: float = 60.0) -> T:
    """Make a call that names a role; a role made a moment ago is not known everywhere on AWS at once."""
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except ClientError as error:
            message = error.response.get("Error", {}).get("Message", "").lower()
            if "assume" not in message or time.monotonic() > give_up_at:
                raise
            time.sleep(2)


def delete(place: Place, role: str) -> bool:
    """Delete a role with its policies; False when there is none."""
    try:
        attached = place.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        for policy in attached:
            place.iam.detach_role_policy(RoleName=role, PolicyArn=policy.get("PolicyArn", ""))
        for name in place.iam.list_role_policies(RoleName=role)["PolicyNames"]:
            place.iam.delete_role_policy(RoleName=role, PolicyName=name)
        place.iam.delete_role(RoleName=role)
    except place.iam.exceptions.NoSuchEntityException:
        return False
    return True


def _ensure(place: Place, name: str, service: str, description: str) -> str:
    try:
        return place.iam.get_role(RoleName=name)["Role"]["Arn"]
    except place.iam.exceptions.NoSuchEntityException:
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
        made = place.iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), Description=description
        )
        return made["Role"]["Arn"]


def _allow(place: Place, role: str, statements: list[dict[str, object]]) -> None:
    document = {"Version": "2012-10-17", "Statement": statements}
    place.iam.put_role_policy(RoleName=role, PolicyName="what-it-needs", PolicyDocument=json.dumps(document))
