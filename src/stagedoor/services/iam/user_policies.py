"""The policies of users: inline and attached."""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.iam import embedded_policies


def put_user_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace an inline policy."""
    embedded_policies.put(call, "user", request["UserName"], request["PolicyName"], request["PolicyDocument"])
    return {}


def get_user_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One inline policy with its document."""
    name, policy_name = request["UserName"], request["PolicyName"]
    text = embedded_policies.get(call, "user", name, policy_name)
    return {"UserName": name, "PolicyName": policy_name, "PolicyDocument": text}


def list_user_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The names of the inline policies."""
    return embedded_policies.names(call, "user", request["UserName"], request)


def delete_user_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove an inline policy."""
    embedded_policies.delete(call, "user", request["UserName"], request["PolicyName"])
    return {}


def attach_user_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Attach a managed policy."""
    embedded_policies.attach(call, "user", request["UserName"], request["PolicyArn"])
    return {}


def detach_user_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Detach a managed policy."""
    embedded_policies.detach(call, "user", request["UserName"], request["PolicyArn"])
    return {}


def list_attached_user_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The attached managed policies."""
    return embedded_policies.attached(call, "user", request["UserName"], request)
