"""Why a request was denied, for the person who may change that: which statement denied, or which one would have to exist. Pure.

Place in the flow: ``services.denials`` explains a refusal for the log; nothing of it goes to the caller.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from stagedoor.authz import wildcards
from stagedoor.authz.policy import Decision, PolicySource, Question, evaluate, examine
from stagedoor.authz.policy_document import compiled

_NEAR_MISSES_AT_MOST: Final = 5


class Asked(NamedTuple):
    """A decision with what it was made of. ``resource_account_id`` is whose the resource is; empty: the caller's."""

    question: Question
    decision: Decision
    resource_policies: tuple[str, ...] = ()
    resource_account_id: str = ""


class Source(NamedTuple):
    """A policy that took part: its kind, what it is called, its text."""

    kind: PolicySource
    name: str
    document: str


def explain(asked: Asked, sources: Sequence[Source]) -> dict[str, Any]:
    """The explanation of a denial as a JSON object.

    ``denied_by``: the statement with the Deny, if one did; ``near_misses``: Allows that fit but for a condition or the
    resource; ``needed``: a sentence for each Allow that is missing, with the smallest policy that would give it.
    """
    question, decision = asked.question, asked.decision
    found: dict[str, Any] = {
        "principal": question.caller.arn or "anonymous",
        "action": question.action,
        "resource": question.resource,
        "decision": "explicit deny" if decision.explicit_deny else "implicit deny",
        "decided_by": decision.by,
    }
    if decision.explicit_deny:
        denying = _denying(question, sources)
        if denying is not None:
            source, number = denying
            found["denied_by"] = {
                "policy": source.name,
                "kind": source.kind,
                "statement": _statement(source.document, number),
            }
        found["needed"] = [
            {"where": "that policy", "what": "Take the Deny away or narrow it: no Allow outweighs a Deny."}
        ]
        return found
    found["near_misses"] = _near_misses(question, sources)
    found["needed"] = _needed(asked)
    return found


def smallest_policy(action: str, resource: str, principal: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The policy that allows one action on one resource and nothing else."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    if principal is not None:
        statement["Principal"] = dict(principal)
    return {"Version": "2012-10-17", "Statement": [statement]}


def _denying(question: Question, sources: Sequence[Source]) -> tuple[Source, int] | None:
    action = question.action.lower()
    for source in sources:
        for statement in compiled(source.document):
            if statement.allows:
                continue
            match = examine(statement, question, action, with_principal=source.kind == "resource-based")
            if match.holds is not False:
                return source, statement.number
    return None


def _statement(document: str, number: int) -> Any:
    """A statement as its author wrote it."""
    statements: Any = json.loads(document).get("Statement", [])
    return cast("list[Any]", statements)[number - 1] if isinstance(statements, list) else statements


def _near_misses(question: Question, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Allows for this very action that something else kept from matching."""
    found: list[dict[str, Any]] = []
    action = question.action.lower()
    for source in sources:
        for statement in compiled(source.document):
            names_it = any(wildcards.matches(pattern, action) for pattern in statement.actions)
            if not statement.allows or names_it == statement.not_action:
                continue
            match = examine(statement, question, action, with_principal=source.kind == "resource-based")
            if match.holds is True or len(found) >= _NEAR_MISSES_AT_MOST:
                continue
            found.append(
                {
                    "policy": source.name,
                    "kind": source.kind,
                    "because": "its condition cannot be told here"
                    if match.holds is None
                    else f"its {match.missed} does not match",
                    "statement": _statement(source.document, statement.number),
                }
            )
    return found


def _needed(asked: Asked) -> list[dict[str, Any]]:
    """Each side that lacks an Allow, and the smallest policy for it."""
    question, caller = asked.question, asked.question.caller
    action, resource = question.action, question.resource
    owner = asked.resource_account_id or caller.account_id
    across = owner != caller.account_id
    needed: list[dict[str, Any]] = []

    def missing(where: str, principal: Mapping[str, str] | None = None) -> None:
        needed.append({"where": where, "policy": smallest_policy(action, resource, principal)})

    if not caller.is_outside:
        if caller.kind != "root" and evaluate(caller.policies, question).allow is None:
            missing(f"an identity policy of {caller.role_arn or caller.issuer_arn or caller.arn}")
        if caller.boundary is not None and evaluate((caller.boundary,), question).allow is None:
            missing("the permissions boundary, beside what it allows already")
        if caller.session_policies and evaluate(caller.session_policies, question).allow is None:
            missing("the policy given for this session, beside what it allows already")
    if across and evaluate(asked.resource_policies, question, with_principal=True).allow is None:
        kind = (
            "Service" if caller.kind == "service" else "Federated" if caller.kind == "web-identity" else "AWS"
        )
        named = {kind: caller.role_arn or caller.arn} if caller.arn else {"AWS": "*"}
        missing(
            f"a policy of the resource, in account {owner}" if owner else "a policy of the resource", named
        )
    return needed
