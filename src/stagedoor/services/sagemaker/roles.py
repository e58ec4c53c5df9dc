"""Execution roles: what SageMaker checks about a role before it accepts a resource that will use it."""

from stagedoor.authz.caller import service_caller
from stagedoor.authz.policy import Question, decide
from stagedoor.authz.policy_document import PolicyError
from stagedoor.domain.arns import Arn
from stagedoor.services import permissions
from stagedoor.services.call import Call
from stagedoor.services.principals import NoSuchRoleError
from stagedoor.services.sagemaker.names import validation

SERVICE = "sagemaker.amazonaws.com"


def require_role(call: Call, role_arn: str) -> None:
    """ValidationException unless the role is of this account, exists, and trusts SageMaker."""
    try:
        account_id = Arn.parse(role_arn).account_id
    except ValueError:
        account_id = ""
    if account_id != call.account_id:
        raise validation("RoleArn: Cross-account pass role is not allowed.")
    try:
        role = call.house.principals.role(role_arn)
        trust = Question(service_caller(SERVICE), "sts:AssumeRole", role_arn)
        trusted = decide(
            trust, resource_policies=[role["AssumeRolePolicyDocument"]], resource_account_id=account_id
        ).allowed
    except (NoSuchRoleError, PolicyError):
        trusted = False
    if not trusted:
        raise validation(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal '{SERVICE}' to "
            "assume the role."
        )


def allows(
    call: Call, role_arn: str, action: str, resource_arn: str, resource_policies: tuple[str, ...] = ()
) -> bool:
    """Whether the role's policies, or the resource's own, let it do ``action``. The role exists (``require_role``)."""
    caller = call.house.principals.caller_for_role(role_arn, "SageMaker")
    question = Question(caller, action, resource_arn, permissions.caller_context(caller))
    allowed = decide(question, resource_policies=resource_policies).allowed
    if allowed and call.house.role_activity is not None:
        call.house.role_activity.note(role_arn, action, resource_arn)
    return allowed
