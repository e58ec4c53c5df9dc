"""Instance profiles: records that hold a role. There are no instances here to use them; tools make and list them."""

from typing import Any

from stagedoor.domain import ids
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, paging
from stagedoor.services.iam import instance_profile_records as profiles
from stagedoor.store.records import Document


def create_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a profile without a role."""
    name, path = request["InstanceProfileName"], request.get("Path", "/")
    document: Document = {
        "Path": path,
        "InstanceProfileName": name,
        "InstanceProfileId": ids.iam_id("AIPA"),
        "Arn": entities.arn(call, "instance-profile", path, name),
        "CreateDate": int(call.now),
        "roles": [],
    }
    tags = entities.tags(request.get("Tags"))
    if tags:
        document["Tags"] = tags
    with call.house.records.transaction() as transaction:
        taken = f"Instance Profile {name} already exists."
        entities.refuse_taken(transaction, call, "instance_profile", name, taken)
        transaction.insert(entities.key(call, "instance_profile", name), document)
    return {"InstanceProfile": profiles.shown(call.house.records, call, document)}


def get_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One profile with its role."""
    reader = call.house.records
    document = profiles.find(reader, call, request["InstanceProfileName"])
    return {"InstanceProfile": profiles.shown(reader, call, document)}


def list_instance_profiles(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's profiles by name, without their tags."""
    reader, prefix = call.house.records, request.get("PathPrefix", "/")
    found = [
        record.document
        for record in reader.list(profiles.KIND, call.account_id)
        if record.document["Path"].startswith(prefix)
    ]
    return _page(call, request, found)


def list_instance_profiles_for_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The profiles that hold a role. Terraform asks before it deletes one."""
    entities.find(call.house.records, call, "role", request["RoleName"])
    return _page(call, request, profiles.with_role(call.house.records, call, request["RoleName"]))


def _page(call: Call, request: dict[str, Any], found: list[Document]) -> dict[str, Any]:
    shown = [profiles.shown(call.house.records, call, document) for document in found]
    for profile in shown:
        profile.pop("Tags", None)
    return paging.page(request, "InstanceProfiles", shown, lambda profile: profile["InstanceProfileName"])


def delete_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a profile that holds no role any more."""
    name = request["InstanceProfileName"]
    with call.house.records.transaction() as transaction:
        if profiles.find(transaction, call, name)["roles"]:
            raise entities.delete_conflict(
                "Cannot delete entity, must remove roles from instance profile first."
            )
        transaction.delete(entities.key(call, "instance_profile", name))
    return {}


def add_role_to_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Put a role into a profile, which holds one at most."""
    with call.house.records.transaction() as transaction:
        document = profiles.find(transaction, call, request["InstanceProfileName"])
        entities.find(transaction, call, "role", request["RoleName"])
        if document["roles"]:
            raise entities.limit_exceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
        document["roles"] = [request["RoleName"]]
        transaction.put(entities.key(call, "instance_profile", request["InstanceProfileName"]), document)
    return {}


def remove_role_from_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take the role out of a profile."""
    with call.house.records.transaction() as transaction:
        document = profiles.find(transaction, call, request["InstanceProfileName"])
        if request["RoleName"] not in document["roles"]:
            raise entities.no_such_entity(
                f"Role {request['RoleName']} cannot be found in Instance Profile {request['InstanceProfileName']}."
            )
        document["roles"] = []
        transaction.put(entities.key(call, "instance_profile", request["InstanceProfileName"]), document)
    return {}


def tag_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add tags, or change their values."""
    _retag(call, request, entities.merged_tags, request["Tags"])
    return {}


def untag_instance_profile(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    _retag(call, request, entities.remaining_tags, request["TagKeys"])
    return {}


def _retag(call: Call, request: dict[str, Any], change: Any, given: Any) -> None:
    with call.house.records.transaction() as transaction:
        document = profiles.find(transaction, call, request["InstanceProfileName"])
        document["Tags"] = change(document.get("Tags", []), given)
        transaction.put(entities.key(call, "instance_profile", request["InstanceProfileName"]), document)


def list_instance_profile_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A profile's tags by key."""
    document = profiles.find(call.house.records, call, request["InstanceProfileName"])
    tags = sorted(document.get("Tags", []), key=lambda tag: tag["Key"])
    return paging.page(request, "Tags", tags, lambda tag: tag["Key"])
