"""Who made or changed something: CreatedBy and LastModifiedBy, as SageMaker tells of callers without a Studio profile."""

from typing import Any

from stagedoor.services.call import Call


def user_context(call: Call) -> dict[str, Any]:
    """The UserContext of the caller."""
    identity = {"Arn": call.caller.arn, "PrincipalId": call.caller.user_id}
    if call.caller.source_identity:
        identity["SourceIdentity"] = call.caller.source_identity
    return {"IamIdentity": identity}


def creation(call: Call) -> dict[str, Any]:
    """When and by whom something is made now."""
    return {"CreationTime": call.now, "CreatedBy": user_context(call)}


def change(call: Call) -> dict[str, Any]:
    """When and by whom something is changed now."""
    return {"LastModifiedTime": call.now, "LastModifiedBy": user_context(call)}
