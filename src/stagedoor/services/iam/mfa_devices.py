"""Virtual MFA devices: made with a seed for an authenticator app, enabled for a user with two codes in a row.

The answer of CreateVirtualMFADevice has the seed as text; it draws no QR code.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, mfa, paging
from stagedoor.store.records import Document, Record

_SEED_BYTES: Final = 40
_MAX_DEVICES_OF_USER: Final = 8


def create_virtual_mfa_device(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a device that nobody has yet. This answer alone shows its seed."""
    name, path = request["VirtualMFADeviceName"], request.get("Path", "/")
    seed = base64.b32encode(secrets.token_bytes(_SEED_BYTES)).decode()
    document: Document = {"SerialNumber": entities.arn(call, "mfa", path, name), "seed": seed}
    tags = entities.tags(request.get("Tags"))
    if tags:
        document["Tags"] = tags
    with call.house.records.transaction() as transaction:
        taken = "MFADevice entity at the same path and name already exists."
        entities.refuse_taken(transaction, call, "mfa_device", name, taken)
        transaction.insert(entities.key(call, "mfa_device", name), document)
    shown = {"SerialNumber": document["SerialNumber"], "Base32StringSeed": seed.encode()}
    return {"VirtualMFADevice": shown | ({"Tags": tags} if tags else {})}


def delete_virtual_mfa_device(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a device that is not enabled for anybody."""
    with call.house.records.transaction() as transaction:
        record = mfa.find(transaction, call, request["SerialNumber"])
        if record.document.get("userName"):
            raise entities.delete_conflict("Device is still assigned, cannot be deleted.")
        transaction.delete(record.key)
    return {}


def enable_mfa_device(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Give a device to a user who shows two codes of it, one after the other."""
    user_name = request["UserName"]
    with call.house.records.transaction() as transaction:
        entities.find(transaction, call, "user", user_name)
        record = mfa.find(transaction, call, request["SerialNumber"])
        if record.document.get("userName"):
            raise AwsError("EntityAlreadyExists", "MFADevice is already in use.", status=409)
        if len(mfa.of_user(transaction, call, user_name)) >= _MAX_DEVICES_OF_USER:
            raise entities.limit_exceeded(
                f"Cannot exceed quota for MFADevicesPerUser: {_MAX_DEVICES_OF_USER}"
            )
        document = mfa.accept(
            transaction, call, record, request["AuthenticationCode1"], request["AuthenticationCode2"]
        )
        if document is None:
            raise _wrong_code()
        transaction.put(record.key, {**document, "userName": user_name, "EnableDate": int(call.now)})
    return {}


def resync_mfa_device(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take two codes in a row, as after a long break."""
    with call.house.records.transaction() as transaction:
        record = _of_user(mfa.find(transaction, call, request["SerialNumber"]), request)
        codes = (request["AuthenticationCode1"], request["AuthenticationCode2"])
        if mfa.accept(transaction, call, record, *codes) is None:
            raise _wrong_code()
    return {}


def deactivate_mfa_device(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take a device from its user."""
    with call.house.records.transaction() as transaction:
        record = mfa.find(transaction, call, request["SerialNumber"])
        if request.get("UserName"):
            entities.find(transaction, call, "user", request["UserName"])
            _of_user(record, request)
        kept = {
            name: value for name, value in record.document.items() if name not in {"userName", "EnableDate"}
        }
        transaction.put(record.key, kept)
    return {}


def list_mfa_devices(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The devices of a user."""
    user_name = entities.user_name_of(call, request)
    entities.find(call.house.records, call, "user", user_name)
    found = [_shown(record.document) for record in mfa.of_user(call.house.records, call, user_name)]
    return paging.page(request, "MFADevices", found, lambda device: device["SerialNumber"])


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "UserName": document["userName"],
        "SerialNumber": document["SerialNumber"],
        "EnableDate": document["EnableDate"],
    }


def get_mfa_device(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One device that is enabled."""
    record = mfa.find(call.house.records, call, request["SerialNumber"])
    if not record.document.get("userName"):
        raise entities.no_such_entity(f"MFADevice {request['SerialNumber']} is not enabled for anybody.")
    if request.get("UserName"):
        _of_user(record, request)
    return _shown(record.document)


def list_virtual_mfa_devices(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's virtual devices: all, those in use, or those that are not."""
    status = request.get("AssignmentStatus", "Any")
    found: list[dict[str, Any]] = []
    for record in call.house.records.list(mfa.KIND, call.account_id):
        user_name = record.document.get("userName")
        if status == "Any" or (status == "Assigned") == bool(user_name):
            device: dict[str, Any] = {"SerialNumber": record.document["SerialNumber"]}
            if user_name:
                user = entities.find(call.house.records, call, "user", user_name)
                names = ("Path", "UserName", "UserId", "Arn", "CreateDate")
                device |= {
                    "EnableDate": record.document["EnableDate"],
                    "User": {name: user[name] for name in names},
                }
            found.append(device)
    found.sort(key=lambda device: device["SerialNumber"])
    return paging.page(request, "VirtualMFADevices", found, lambda device: device["SerialNumber"])


def _of_user(record: Record, request: Mapping[str, Any]) -> Record:
    if record.document.get("userName") != request["UserName"]:
        raise entities.no_such_entity(
            f"MFA device {request['SerialNumber']} is not enabled for the user {request['UserName']}."
        )
    return record


def _wrong_code() -> AwsError:
    return AwsError(
        "InvalidAuthenticationCode",
        "Authentication codes for the device are not valid: give two codes in a row that were not used before.",
        status=403,
    )
