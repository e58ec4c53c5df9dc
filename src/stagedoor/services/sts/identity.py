"""Who is calling, and whose a key is."""

from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call


def get_caller_identity(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The caller. Nobody can be denied this."""
    return {"UserId": call.caller.user_id, "Account": call.caller.account_id, "Arn": call.caller.arn}


def get_access_key_info(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account of a long-term key."""
    account_id = call.house.principals.account_of_access_key(request["AccessKeyId"])
    if account_id is None:
        raise AwsError(
            "ValidationError",
            f"Access key {request['AccessKeyId']} is not of any account of this server. Temporary keys belong to "
            "whoever holds their session token.",
            status=400,
        )
    return {"Account": account_id}
