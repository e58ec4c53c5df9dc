"""The role that a function runs with: it must be there, and trust Lambda."""

from stagedoor.authz.caller import service_caller
from stagedoor.authz.policy import Question, decide
from stagedoor.authz.policy_document import PolicyError
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.lambda_.naming import invalid
from stagedoor.services.principals import NoSuchRoleError

LAMBDA_PRINCIPAL = "lambda.amazonaws.com"


def check(call: Call, role_arn: str) -> None:
    """InvalidParameterValueException when Lambda may not assume the role; AccessDeniedException for a foreign role."""
    account_id = Arn.parse(role_arn).account_id
    if account_id != call.account_id:
        raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.", status=403)
    question = Question(service_caller(LAMBDA_PRINCIPAL), "sts:AssumeRole", role_arn)
    try:
        trust: str = call.house.principals.role(role_arn)["AssumeRolePolicyDocument"]
        trusted = decide(question, resource_policies=(trust,), resource_account_id=account_id).allowed
    except (NoSuchRoleError, PolicyError):
        trusted = False
    if not trusted:
        raise invalid("The role defined for the function cannot be assumed by Lambda.")
