"""Users: people and programs with long-term keys. Their policies are in ``user_policies``, their keys in ``access_keys``."""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain import ids
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, mfa, paging
from stagedoor.store.records import Document


def create_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a user without any permission."""
    name, path = request["UserName"], request.get("Path", "/")
    tags = entities.tags(request.get("Tags"))
    document: Document = {
        "Path": path,
        "UserName": name,
        "UserId": ids.iam_id("AIDA"),
        "Arn": entities.arn(call, "user", path, name),
        "CreateDate": int(call.now),
    }
    if tags:
        document["Tags"] = tags
    with call.house.records.transaction() as transaction:
        if request.get("PermissionsBoundary"):
            document["permissionsBoundary"] = entities.boundary(
                transaction, call, request["PermissionsBoundary"]
            )
        entities.refuse_taken(transaction, call, "user", name, f"User with name {name} already exists.")
        transaction.insert(entities.key(call, "user", name), document)
    return {"User": _shown(document)}


def _shown(document: Mapping[str, Any], *, with_tags: bool = True) -> dict[str, Any]:
    found = {name: document[name] for name in ("Path", "UserName", "UserId", "Arn", "CreateDate")}
    if with_tags:
        found |= entities.shown_boundary(document)
    if with_tags and document.get("Tags"):
        found["Tags"] = document["Tags"]
    return found


def get_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One user; without a name the caller itself, which may be root."""
    if request.get("UserName") is None and call.caller.kind == "root":
        # Root is older than every record, and has no name.
        return {
            "User": {
                "Path": "/",
                "UserName": "",
                "UserId": call.account_id,
                "Arn": call.caller.arn,
                "CreateDate": 0,
            }
        }
    return {
        "User": _shown(entities.find(call.house.records, call, "user", entities.user_name_of(call, request)))
    }


def list_users(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's users by name, without their tags."""
    prefix = request.get("PathPrefix", "/")
    found = [
        _shown(record.document, with_tags=False)
        for record in call.house.records.list("iam.user", call.account_id)
        if record.document["Path"].startswith(prefix)
    ]
    return paging.page(request, "Users", found, lambda user: user["UserName"])


def update_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Rename a user, or move it to another path. Its keys and policies go with it."""
    old_name = request["UserName"]
    new_name = request.get("NewUserName") or old_name
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "user", old_name)
        if new_name.lower() != old_name.lower():
            entities.refuse_taken(
                transaction, call, "user", new_name, f"User with name {new_name} already exists."
            )
        path = request.get("NewPath") or document["Path"]
        document |= {"UserName": new_name, "Path": path, "Arn": entities.arn(call, "user", path, new_name)}
        transaction.delete(entities.key(call, "user", old_name))
        entities.save(transaction, call, "user", document)
        for record in transaction.list("iam.access_key", call.account_id):
            if record.document["UserName"] == old_name:
                transaction.put(record.key, {**record.document, "UserName": new_name})
        for device in mfa.of_user(transaction, call, old_name):
            transaction.put(device.key, {**device.document, "userName": new_name})
    return {}


def delete_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a user that has neither keys nor policies any more."""
    name = request["UserName"]
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "user", name)
        keys = transaction.list("iam.access_key", call.account_id)
        if any(record.document["UserName"] == name for record in keys):
            raise entities.delete_conflict("Cannot delete entity, must delete access keys first.")
        if document.get("attachedPolicies"):
            raise entities.delete_conflict("Cannot delete entity, must detach all policies first.")
        if document.get("inlinePolicies"):
            raise entities.delete_conflict("Cannot delete entity, must delete policies first.")
        if document.get("groups"):
            raise entities.delete_conflict("Cannot delete entity, must remove users from group first.")
        if mfa.of_user(transaction, call, name):
            raise entities.delete_conflict("Cannot delete entity, must delete MFA device first.")
        transaction.delete(entities.key(call, "user", name))
    return {}


def tag_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add tags, or change their values."""
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "user", request["UserName"])
        document["Tags"] = entities.merged_tags(document.get("Tags", []), request["Tags"])
        entities.save(transaction, call, "user", document)
    return {}


def untag_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "user", request["UserName"])
        document["Tags"] = entities.remaining_tags(document.get("Tags", []), request["TagKeys"])
        entities.save(transaction, call, "user", document)
    return {}


def list_user_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A user's tags by key."""
    document = entities.find(call.house.records, call, "user", request["UserName"])
    tags = sorted(document.get("Tags", []), key=lambda tag: tag["Key"])
    return paging.page(request, "Tags", tags, lambda tag: tag["Key"])
