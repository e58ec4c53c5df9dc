"""What would be decided: the policy simulator, on the very evaluator that decides real requests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Decision, Question, decide, evaluate
from stagedoor.authz.policy_document import compiled, variables_of
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import documents, entities, paging
from stagedoor.services.permissions import caller_context

_DECISIONS: Final = {(True, False): "allowed", (False, True): "explicitDeny", (False, False): "implicitDeny"}
_SOURCES: Final = {
    "identity-based": "IAM Policy",
    "permissions boundary": "IAM Permissions Boundary Policy",
    "session": "IAM Policy",
    "resource-based": "Resource Policy",
}

_NOT_YET: Final = ("OrderedOrganizationPolicyInputList", "PolicyExclusionList", "ResourceHandlingOption")


def simulate_principal_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The decisions about a user's, group's or role's policies, together with further ones that the request gives.

    The entity's own permissions boundary counts, unless the request gives another one.
    """
    source = _source(call, request["PolicySourceArn"])
    policies = (*source.policies, *_checked(request.get("PolicyInputList", ())))
    return _simulate(request, replace(source, policies=policies))


def simulate_custom_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The decisions about the policies that the request gives."""
    nobody = f"arn:aws:iam::{call.account_id}:user/simulated"
    policies = _checked(request["PolicyInputList"])
    caller = Caller("user", call.account_id, nobody, "AIDASIMULATED", policies=policies)
    return _simulate(request, caller)


def get_context_keys_for_custom_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The condition keys that the given policies look at."""
    return {"ContextKeyNames": _keys_in(_checked(request["PolicyInputList"]))}


def get_context_keys_for_principal_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The condition keys that an entity's policies and the given ones look at."""
    source = _source(call, request["PolicySourceArn"])
    return {"ContextKeyNames": _keys_in((*source.policies, *_checked(request.get("PolicyInputList", ()))))}


def _checked(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(documents.check(document, "identity") for document in given)


def _keys_in(policies: Sequence[str]) -> list[str]:
    keys = {condition.key for text in policies for one in compiled(text) for condition in one.conditions}
    keys |= {name.lower() for text in policies for one in compiled(text) for name in variables_of(one)}
    return sorted(keys)


def _source(call: Call, source_arn: str) -> Caller:
    """The user, group or role whose policies are asked about, as a caller."""
    try:
        arn = Arn.parse(source_arn)
    except ValueError:
        raise entities.invalid_input(f"Invalid Entity Arn: {source_arn}") from None
    name = arn.resource.rpartition("/")[2]
    kind = arn.resource_type
    if arn.service != "iam" or kind not in entities.KINDS:
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
    if kind == "group":
        group = entities.find(call.house.records, call, "group", name)
        policies = principals.policies_of(call.account_id, group)
        return Caller("user", call.account_id, source_arn, group["GroupId"], policies=policies)
    return principals.caller_for_user(call.account_id, name)


def _caller(request: Mapping[str, Any], caller: Caller) -> Caller:
    """The caller under the name and the boundary that the request gives."""
    boundaries = _checked(request.get("PermissionsBoundaryPolicyInputList", ()))
    if len(boundaries) > 1:
        raise entities.invalid_input("PermissionsBoundaryPolicyInputList may hold one policy.")
    if boundaries:
        caller = replace(caller, boundary=boundaries[0])
    caller_arn: str | None = request.get("CallerArn")
    if caller_arn is None or caller_arn in {caller.role_arn, caller.arn}:
        return caller
    try:
        arn = Arn.parse(caller_arn)
    except ValueError:
        raise entities.invalid_input(f"Invalid Caller Arn: {caller_arn}") from None
    if arn.service != "iam" or arn.resource_type != "user":
        raise entities.invalid_input(f"Invalid Caller Arn: {caller_arn}. It must be the ARN of a user.")
    return replace(caller, kind="user", account_id=arn.account_id, arn=caller_arn, role_arn=None)


def _simulate(request: Mapping[str, Any], source: Caller) -> dict[str, Any]:
    for unsupported in _NOT_YET:
        if request.get(unsupported):
            raise entities.invalid_input(f"{unsupported} is not supported by stagedoor yet. Leave it out.")
    caller = _caller(request, source)
    context: dict[str, str | list[str]] = {**caller_context(caller)}
    for entry in request.get("ContextEntries", ()):
        if "ContextKeyName" not in entry:
            raise entities.invalid_input("An entry of ContextEntries has no ContextKeyName.")
        values = entry.get("ContextKeyValues", [])
        context[entry["ContextKeyName"].lower()] = values[0] if len(values) == 1 else list(values)
    resource_policy = request.get("ResourcePolicy")
    if resource_policy:
        documents.check(resource_policy, "resource")
    owner = request.get("ResourceOwner") or ""
    owner_id = owner.split(":")[4] if owner.startswith("arn:") and owner.count(":") >= 5 else owner
    results: list[dict[str, Any]] = []
    for action in request["ActionNames"]:
        if ":" not in action or "*" in action:
            raise entities.invalid_input(f"Invalid Action: {action}. Give names such as s3:GetObject.")
        for resource in request.get("ResourceArns") or ["*"]:
            question = Question(caller, action, resource, context)
            policies = (resource_policy,) if resource_policy else ()
            found = decide(question, resource_policies=policies, resource_account_id=owner_id)
            results.append(_result(question, found, policies))
    # Results have no names of their own: their place in the list is what a marker remembers.
    numbered = [(f"{number:06d}", result) for number, result in enumerate(results)]
    answer = paging.page(request, "EvaluationResults", numbered, lambda entry: entry[0])
    return {**answer, "EvaluationResults": [result for _, result in answer["EvaluationResults"]]}


def _result(question: Question, found: Decision, resource_policies: tuple[str, ...]) -> dict[str, Any]:
    caller = question.caller
    matched: list[dict[str, Any]] = []
    if found.statement is not None:
        matched.append({"SourcePolicyId": found.statement, "SourcePolicyType": _SOURCES[found.by]})
    policies = (*caller.policies, *((caller.boundary,) if caller.boundary else ()), *resource_policies)
    result: dict[str, Any] = {
        "EvalActionName": question.action,
        "EvalResourceName": question.resource,
        "EvalDecision": _DECISIONS[found.allowed, found.explicit_deny],
        "MatchedStatements": matched,
        "MissingContextValues": [key for key in _keys_in(policies) if key not in question.context],
    }
    if caller.boundary is not None:
        bound = evaluate((caller.boundary,), question)
        within = bound.allow is not None and bound.deny is None
        result["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": within}
    return result
