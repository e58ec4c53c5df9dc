"""Groups: what several users may do together. A user's record names its groups; the policies are in ``group_policies``."""

from collections.abc import Mapping
from typing import Any, Final

from stagedoor.domain import ids
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, paging
from stagedoor.store.records import Document, Reader, Transaction

_MAX_GROUPS_OF_USER: Final = 10


def create_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a group without users and permissions."""
    name, path = request["GroupName"], request.get("Path", "/")
    document: Document = {
        "Path": path,
        "GroupName": name,
        "GroupId": ids.iam_id("AGPA"),
        "Arn": entities.arn(call, "group", path, name),
        "CreateDate": int(call.now),
    }
    with call.house.records.transaction() as transaction:
        entities.refuse_taken(transaction, call, "group", name, f"Group with name {name} already exists.")
        transaction.insert(entities.key(call, "group", name), document)
    return {"Group": _shown(document)}


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("Path", "GroupName", "GroupId", "Arn", "CreateDate")}


def _members(reader: Reader, call: Call, name: str) -> list[Document]:
    return [
        record.document
        for record in reader.list("iam.user", call.account_id)
        if name in record.document.get("groups", ())
    ]


def get_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One group and its users by name."""
    reader = call.house.records
    group = entities.find(reader, call, "group", request["GroupName"])
    users = [
        {name: user[name] for name in ("Path", "UserName", "UserId", "Arn", "CreateDate")}
        for user in _members(reader, call, request["GroupName"])
    ]
    return {"Group": _shown(group), **paging.page(request, "Users", users, lambda user: user["UserName"])}


def list_groups(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's groups by name."""
    prefix = request.get("PathPrefix", "/")
    found = [
        _shown(record.document)
        for record in call.house.records.list("iam.group", call.account_id)
        if record.document["Path"].startswith(prefix)
    ]
    return paging.page(request, "Groups", found, lambda group: group["GroupName"])


def list_groups_for_user(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The groups that a user is in, by name."""
    reader = call.house.records
    user = entities.find(reader, call, "user", request["UserName"])
    found = [_shown(entities.find(reader, call, "group", name)) for name in sorted(user.get("groups", ()))]
    return paging.page(request, "Groups", found, lambda group: group["GroupName"])


def update_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Rename a group, or move it to another path. Its users and policies stay with it."""
    old_name = request["GroupName"]
    new_name = request.get("NewGroupName") or old_name
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "group", old_name)
        if new_name.lower() != old_name.lower():
            taken = f"Group with name {new_name} already exists."
            entities.refuse_taken(transaction, call, "group", new_name, taken)
        path = request.get("NewPath") or document["Path"]
        document |= {"GroupName": new_name, "Path": path, "Arn": entities.arn(call, "group", path, new_name)}
        transaction.delete(entities.key(call, "group", old_name))
        entities.save(transaction, call, "group", document)
        for user in _members(transaction, call, old_name):
            names = [new_name if name == old_name else name for name in user["groups"]]
            entities.save(transaction, call, "user", {**user, "groups": names})
    return {}


def delete_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a group that has neither users nor policies any more."""
    name = request["GroupName"]
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "group", name)
        if _members(transaction, call, name):
            raise entities.delete_conflict("Cannot delete entity, must remove users from group first.")
        if document.get("attachedPolicies"):
            raise entities.delete_conflict("Cannot delete entity, must detach all policies first.")
        if document.get("inlinePolicies"):
            raise entities.delete_conflict("Cannot delete entity, must delete policies first.")
        transaction.delete(entities.key(call, "group", name))
    return {}


def add_user_to_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Put a user into a group; nothing happens when it is in it already."""
    name = request["GroupName"]
    with call.house.records.transaction() as transaction:
        entities.find(transaction, call, "group", name)
        user = _user(transaction, call, request)
        groups: list[str] = user.get("groups", [])
        if name in groups:
            return {}
        if len(groups) >= _MAX_GROUPS_OF_USER:
            raise entities.limit_exceeded(f"Cannot exceed quota for GroupsPerUser: {_MAX_GROUPS_OF_USER}")
        entities.save(transaction, call, "user", {**user, "groups": [*groups, name]})
    return {}


def remove_user_from_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take a user out of a group."""
    name = request["GroupName"]
    with call.house.records.transaction() as transaction:
        entities.find(transaction, call, "group", name)
        user = _user(transaction, call, request)
        groups = [one for one in user.get("groups", []) if one != name]
        entities.save(transaction, call, "user", {**user, "groups": groups})
    return {}


def _user(transaction: Transaction, call: Call, request: Mapping[str, Any]) -> Document:
    return entities.find(transaction, call, "user", request["UserName"])
