"""What users and roles have in common about policies: inline ones, and attached managed ones.

Place in the flow: ``role_policies`` and ``user_policies`` hold the operations, which all come down to these.
"""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.iam import documents, entities, paging
from stagedoor.services.iam.entities import EntityKind
from stagedoor.store.records import Document


def put(call: Call, kind: EntityKind, name: str, policy_name: str, document: str) -> None:
    """Add or replace an inline policy."""
    documents.check(document, "identity")
    with call.house.records.transaction() as transaction:
        entity = entities.find(transaction, call, kind, name)
        inline = {**entity.get("inlinePolicies", {}), policy_name: document}
        limit = documents.INLINE_MAX[kind]
        used = sum(documents.size(text) for text in inline.values())
        documents.check_size(used, limit, f"Maximum policy size of {limit} bytes exceeded for {kind} {name}")
        entities.save(transaction, call, kind, {**entity, "inlinePolicies": inline})


def get(call: Call, kind: EntityKind, name: str, policy_name: str) -> str:
    """The text of an inline policy. NoSuchEntity."""
    entity = entities.find(call.house.records, call, kind, name)
    return _inline(entity, kind, policy_name)


def _inline(entity: Document, kind: EntityKind, policy_name: str) -> str:
    text = entity.get("inlinePolicies", {}).get(policy_name)
    if text is None:
        raise entities.no_such_entity(f"The {kind} policy with name {policy_name} cannot be found.")
    return text


def names(call: Call, kind: EntityKind, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """A page of the names of inline policies."""
    entity = entities.find(call.house.records, call, kind, name)
    return paging.page(request, "PolicyNames", sorted(entity.get("inlinePolicies", {})), str)


def delete(call: Call, kind: EntityKind, name: str, policy_name: str) -> None:
    """Remove an inline policy. NoSuchEntity."""
    with call.house.records.transaction() as transaction:
        entity = entities.find(transaction, call, kind, name)
        _inline(entity, kind, policy_name)
        inline = {one: text for one, text in entity["inlinePolicies"].items() if one != policy_name}
        entities.save(transaction, call, kind, {**entity, "inlinePolicies": inline})


def attach(call: Call, kind: EntityKind, name: str, policy_arn: str) -> None:
    """Attach a managed policy; nothing happens when it is attached already."""
    with call.house.records.transaction() as transaction:
        entity = entities.find(transaction, call, kind, name)
        if not entities.attachable(transaction, call, policy_arn):
            raise entities.no_such_entity(f"Policy {policy_arn} does not exist or is not attachable.")
        attached = entity.get("attachedPolicies", [])
        if policy_arn in attached:
            return
        if len(attached) >= entities.MAX_ATTACHED:
            raise entities.limit_exceeded(
                f"Cannot exceed quota for PoliciesPer{kind.title()}: {entities.MAX_ATTACHED}"
            )
        entities.save(transaction, call, kind, {**entity, "attachedPolicies": [*attached, policy_arn]})


def detach(call: Call, kind: EntityKind, name: str, policy_arn: str) -> None:
    """Detach a managed policy. NoSuchEntity when it was not attached."""
    with call.house.records.transaction() as transaction:
        entity = entities.find(transaction, call, kind, name)
        attached = entity.get("attachedPolicies", [])
        if policy_arn not in attached:
            raise entities.no_such_entity(f"Policy {policy_arn} was not found.")
        kept = [arn for arn in attached if arn != policy_arn]
        entities.save(transaction, call, kind, {**entity, "attachedPolicies": kept})


def attached(call: Call, kind: EntityKind, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """A page of the managed policies of a user or role, by name."""
    entity = entities.find(call.house.records, call, kind, name)
    prefix = request.get("PathPrefix", "/")
    found = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in entity.get("attachedPolicies", [])
        if _path(arn).startswith(prefix)
    ]
    found.sort(key=lambda policy: (policy["PolicyName"], policy["PolicyArn"]))
    return paging.page(
        request, "AttachedPolicies", found, lambda policy: f"{policy['PolicyName']} {policy['PolicyArn']}"
    )


def _path(arn: str) -> str:
    return "/" + arn.partition("policy/")[2].rpartition("/")[0] + "/" if arn.count("/") > 1 else "/"
