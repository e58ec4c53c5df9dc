"""The account's password policy: a record. Nobody signs in with a password here."""

from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import entities
from stagedoor.store.records import Key

_DEFAULTS: Final = {
    "MinimumPasswordLength": 6,
    "RequireSymbols": False,
    "RequireNumbers": False,
    "RequireUppercaseCharacters": False,
    "RequireLowercaseCharacters": False,
    "AllowUsersToChangePassword": False,
}
_OPTIONAL: Final = ("MaxPasswordAge", "PasswordReusePrevention", "HardExpiry")


def update_account_password_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Replace the policy: what is not given goes back to its default."""
    document = {name: request.get(name, default) for name, default in _DEFAULTS.items()}
    document |= {name: request[name] for name in _OPTIONAL if request.get(name) is not None}
    document["ExpirePasswords"] = bool(request.get("MaxPasswordAge"))
    with call.house.records.transaction() as transaction:
        transaction.put(_key(call), document)
    return {}


def get_account_password_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The policy. NoSuchEntity until there is one."""
    record = call.house.records.get(_key(call))
    if record is None:
        raise _missing(call)
    return {"PasswordPolicy": dict(record.document)}


def delete_account_password_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete the policy. NoSuchEntity when there is none."""
    with call.house.records.transaction() as transaction:
        if transaction.get(_key(call)) is None:
            raise _missing(call)
        transaction.delete(_key(call))
    return {}


def _key(call: Call) -> Key:
    return entities.key(call, "password_policy", "account")


def _missing(call: Call) -> AwsError:
    return entities.no_such_entity(f"The Password Policy with domain name {call.account_id} cannot be found.")
