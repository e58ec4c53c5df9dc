"""Roles: what may be assumed, and by whom. Their policies are in ``role_policies``."""

from collections.abc import Mapping
from typing import Any, Final

from stagedoor.domain import ids
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, paging
from stagedoor.services.iam import instance_profile_records as instance_profiles
from stagedoor.services.iam.documents import check_trust
from stagedoor.store.records import Document

_DEFAULT_SESSION_S: Final = 3_600
_OPTIONAL: Final = ("Description", "Tags")


def create_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a role with its trust policy."""
    name, path = request["RoleName"], request.get("Path", "/")
    tags = entities.tags(request.get("Tags"))
    document: Document = {
        "Path": path,
        "RoleName": name,
        "RoleId": ids.iam_id("AROA"),
        "Arn": entities.arn(call, "role", path, name),
        "CreateDate": int(call.now),
        "AssumeRolePolicyDocument": request["AssumeRolePolicyDocument"],
        "MaxSessionDuration": request.get("MaxSessionDuration", _DEFAULT_SESSION_S),
    }
    if request.get("Description") is not None:
        document["Description"] = request["Description"]
    if tags:
        document["Tags"] = tags
    with call.house.records.transaction() as transaction:
        check_trust(transaction, call, request["AssumeRolePolicyDocument"])
        if path.startswith(entities.SERVICE_LINKED_PATH):
            raise entities.invalid_input(
                f"The path {path} is for service-linked roles: CreateServiceLinkedRole makes those."
            )
        if request.get("PermissionsBoundary"):
            document["permissionsBoundary"] = entities.boundary(
                transaction, call, request["PermissionsBoundary"]
            )
        entities.refuse_taken(transaction, call, "role", name, f"Role with name {name} already exists.")
        transaction.insert(entities.key(call, "role", name), document)
    return {"Role": _shown(document)}


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """A role as answers show it."""
    names = (
        "Path",
        "RoleName",
        "RoleId",
        "Arn",
        "CreateDate",
        "AssumeRolePolicyDocument",
        "MaxSessionDuration",
    )
    return (
        {name: document[name] for name in names}
        | {name: document[name] for name in _OPTIONAL if document.get(name)}
        | entities.shown_boundary(document)
    )


def get_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One role."""
    return {"Role": _shown(entities.find(call.house.records, call, "role", request["RoleName"]))}


def list_roles(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's roles by name, without their tags."""
    prefix = request.get("PathPrefix", "/")
    found = [
        {
            name: value
            for name, value in _shown(record.document).items()
            if name not in {"Tags", "PermissionsBoundary"}
        }
        for record in call.house.records.list("iam.role", call.account_id)
        if record.document["Path"].startswith(prefix)
    ]
    return paging.page(request, "Roles", found, lambda role: role["RoleName"])


def update_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Set the description or the longest session."""
    _update(call, request, "Description", "MaxSessionDuration")
    return {}


def update_role_description(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Set the description."""
    return {"Role": _shown(_update(call, request, "Description"))}


def _update(call: Call, request: dict[str, Any], *names: str) -> Document:
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "role", request["RoleName"])
        document |= {name: request[name] for name in names if request.get(name) is not None}
        entities.save(transaction, call, "role", document)
    return document


def update_assume_role_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Replace the trust policy."""
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "role", request["RoleName"])
        document["AssumeRolePolicyDocument"] = check_trust(transaction, call, request["PolicyDocument"])
        entities.save(transaction, call, "role", document)
    return {}


def delete_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a role that has no policies any more."""
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "role", request["RoleName"])
        entities.refuse_service_linked(document)
        if instance_profiles.with_role(transaction, call, request["RoleName"]):
            raise entities.delete_conflict(
                "Cannot delete entity, must remove roles from instance profile first."
            )
        if document.get("attachedPolicies"):
            raise entities.delete_conflict("Cannot delete entity, must detach all policies first.")
        if document.get("inlinePolicies"):
            raise entities.delete_conflict("Cannot delete entity, must delete policies first.")
        transaction.delete(entities.key(call, "role", request["RoleName"]))
    return {}


def tag_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add tags, or change their values."""
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "role", request["RoleName"])
        document["Tags"] = entities.merged_tags(document.get("Tags", []), request["Tags"])
        entities.save(transaction, call, "role", document)
    return {}


def untag_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "role", request["RoleName"])
        document["Tags"] = entities.remaining_tags(document.get("Tags", []), request["TagKeys"])
        entities.save(transaction, call, "role", document)
    return {}


def list_role_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A role's tags by key."""
    document = entities.find(call.house.records, call, "role", request["RoleName"])
    tags = sorted(document.get("Tags", []), key=lambda tag: tag["Key"])
    return paging.page(request, "Tags", tags, lambda tag: tag["Key"])
