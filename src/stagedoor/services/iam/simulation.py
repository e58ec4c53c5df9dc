"""What would be decided: the policy simulator, on the very evaluator that decides real requests."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Decision, Question, decide
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import documents, entities, paging
from stagedoor.services.permissions import caller_context

_DECISIONS: Final = {(True, False): "allowed", (False, True): "explicitDeny", (False, False): "implicitDeny"}

_NOT_YET: Final = (
    "PermissionsBoundaryPolicyInputList",
    "OrderedOrganizationPolicyInputList",
    "PolicyExclusionList",
    "ResourceHandlingOption",
    "ResourceOwner",
)


def simulate_principal_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The decisions about a user's or role's policies, together with further ones that the request gives."""
    source = _source(call, request["PolicySourceArn"])
    if request.get("CallerArn", source.arn) != source.arn:
        raise entities.invalid_input(
            "CallerArn other than PolicySourceArn is not supported by stagedoor yet. Leave it out."
        )
    policies = [*source.policies, *_checked(request.get("PolicyInputList", ()))]
    return _simulate(request, source, policies)


def simulate_custom_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The decisions about the policies that the request gives."""
    nobody = f"arn:aws:iam::{call.account_id}:user/simulated"
    caller = Caller("user", call.account_id, request.get("CallerArn") or nobody, "AIDASIMULATED")
    return _simulate(request, caller, _checked(request["PolicyInputList"]))


def _checked(given: Sequence[str]) -> list[str]:
    return [documents.check(document, "identity") for document in given]


def _source(call: Call, source_arn: str) -> Caller:
    """The user or role whose policies are asked about, as a caller."""
    try:
        arn = Arn.parse(source_arn)
    except ValueError:
        raise entities.invalid_input(f"Invalid Entity Arn: {source_arn}") from None
    name = arn.resource.rpartition("/")[2]
    kind = arn.resource_type
    if arn.service != "iam" or kind not in {"user", "role"}:
        raise entities.invalid_input(
            f"Invalid Entity Arn: {source_arn} does not clearly define entity type and name."
        )
    if arn.account_id != call.account_id:
        raise AwsError("AccessDenied", f"Entity {source_arn} is outside your own account.", status=403)
    principals = call.house.principals
    if principals.arn_of(call.account_id, kind, name) != source_arn:
        raise entities.no_such_entity(f"The {kind} with name {name} cannot be found.")
    if kind == "role":
        return principals.caller_for_role(source_arn, "simulated")
    return principals.caller_for_user(call.account_id, name)


def _simulate(request: Mapping[str, Any], caller: Caller, policies: Sequence[str]) -> dict[str, Any]:
    for unsupported in _NOT_YET:
        if request.get(unsupported):
            raise entities.invalid_input(f"{unsupported} is not supported by stagedoor yet. Leave it out.")
    context: dict[str, str | list[str]] = {**caller_context(caller)}
    for entry in request.get("ContextEntries", ()):
        if "ContextKeyName" not in entry:
            raise entities.invalid_input("An entry of ContextEntries has no ContextKeyName.")
        values = entry.get("ContextKeyValues", [])
        context[entry["ContextKeyName"].lower()] = values[0] if len(values) == 1 else list(values)
    resource_policy = request.get("ResourcePolicy")
    if resource_policy:
        documents.check(resource_policy, "resource")
    results: list[dict[str, Any]] = []
    for action in request["ActionNames"]:
        if ":" not in action or "*" in action:
            raise entities.invalid_input(f"Invalid Action: {action}. Give names such as s3:GetObject.")
        for resource in request.get("ResourceArns") or ["*"]:
            found = decide(
                Question(caller, action, resource, context),
                identity_policies=tuple(policies),
                resource_policies=(resource_policy,) if resource_policy else (),
            )
            results.append(_result(action, resource, found))
    # Results have no names of their own: their place in the list is what a marker remembers.
    numbered = [(f"{number:06d}", result) for number, result in enumerate(results)]
    answer = paging.page(request, "EvaluationResults", numbered, lambda entry: entry[0])
    return {**answer, "EvaluationResults": [result for _, result in answer["EvaluationResults"]]}


def _result(action: str, resource: str, found: Decision) -> dict[str, Any]:
    matched: list[dict[str, Any]] = []
    if found.statement is not None:
        matched.append(
            {
                "SourcePolicyId": found.statement,
                "SourcePolicyType": "Resource Policy" if found.by == "resource-based" else "IAM Policy",
            }
        )
    return {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": _DECISIONS[found.allowed, found.explicit_deny],
        "MatchedStatements": matched,
        "MissingContextValues": [],
    }
