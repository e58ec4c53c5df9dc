"""Permissions boundaries: the most that a user's or role's policies can ever give it."""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.iam import entities
from stagedoor.services.iam.entities import EntityKind


def put_user_permissions_boundary(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Set or replace a user's boundary. It is in force with the next request."""
    _put(call, "user", request["UserName"], request["PermissionsBoundary"])
    return {}


def put_role_permissions_boundary(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Set or replace a role's boundary. It is in force with the next request, also of sessions that exist."""
    _put(call, "role", request["RoleName"], request["PermissionsBoundary"])
    return {}


def delete_user_permissions_boundary(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take a user's boundary away."""
    _put(call, "user", request["UserName"], None)
    return {}


def delete_role_permissions_boundary(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take a role's boundary away."""
    _put(call, "role", request["RoleName"], None)
    return {}


def _put(call: Call, kind: EntityKind, name: str, policy_arn: str | None) -> None:
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, kind, name)
        document.pop("permissionsBoundary", None)
        if policy_arn is not None:
            document["permissionsBoundary"] = entities.boundary(transaction, call, policy_arn)
        entities.save(transaction, call, kind, document)
