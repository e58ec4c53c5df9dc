"""Who made or changed something: CreatedBy and LastModifiedBy, as SageMaker tells of callers without a Studio profile."""

from typing import Any

from stagedoor.services.call import Call


def user_context(call: Call) -> dict[str, Any]:
    """The UserContext of the caller."""
    identity = {"Arn": call.caller.arn, "PrincipalId": call.caller.user_id}
    if call.caller.source_identity:
        identity["SourceIdentity"] = call.caller.source_identity
    return {"IamIdentity": identity}
