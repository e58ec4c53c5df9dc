"""The policies of groups: inline and attached."""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.iam import embedded_policies


def put_group_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace an inline policy."""
    embedded_policies.put(
        call, "group", request["GroupName"], request["PolicyName"], request["PolicyDocument"]
    )
    return {}


def get_group_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One inline policy with its document."""
    name, policy_name = request["GroupName"], request["PolicyName"]
    text = embedded_policies.get(call, "group", name, policy_name)
    return {"GroupName": name, "PolicyName": policy_name, "PolicyDocument": text}


def list_group_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The names of the inline policies."""
    return embedded_policies.names(call, "group", request["GroupName"], request)


def delete_group_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove an inline policy."""
    embedded_policies.delete(call, "group", request["GroupName"], request["PolicyName"])
    return {}


def attach_group_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Attach a managed policy."""
    embedded_policies.attach(call, "group", request["GroupName"], request["PolicyArn"])
    return {}


def detach_group_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Detach a managed policy."""
    embedded_policies.detach(call, "group", request["GroupName"], request["PolicyArn"])
    return {}


def list_attached_group_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The attached managed policies."""
    return embedded_policies.attached(call, "group", request["GroupName"], request)
