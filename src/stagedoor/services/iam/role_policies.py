"""The policies of roles: inline and attached."""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.iam import embedded_policies


def put_role_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace an inline policy."""
    embedded_policies.put(call, "role", request["RoleName"], request["PolicyName"], request["PolicyDocument"])
    return {}


def get_role_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One inline policy with its document."""
    name, policy_name = request["RoleName"], request["PolicyName"]
    text = embedded_policies.get(call, "role", name, policy_name)
    return {"RoleName": name, "PolicyName": policy_name, "PolicyDocument": text}


def list_role_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The names of the inline policies."""
    return embedded_policies.names(call, "role", request["RoleName"], request)


def delete_role_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove an inline policy."""
    embedded_policies.delete(call, "role", request["RoleName"], request["PolicyName"])
    return {}


def attach_role_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Attach a managed policy."""
    embedded_policies.attach(call, "role", request["RoleName"], request["PolicyArn"])
    return {}


def detach_role_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Detach a managed policy."""
    embedded_policies.detach(call, "role", request["RoleName"], request["PolicyArn"])
    return {}


def list_attached_role_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The attached managed policies."""
    return embedded_policies.attached(call, "role", request["RoleName"], request)
