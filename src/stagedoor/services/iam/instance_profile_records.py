"""Instance profiles as records: shared by those who make them and those who show which ones a role is in."""

from collections.abc import Mapping
from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.iam import entities
from stagedoor.store.records import Document, Reader

KIND = "iam.instance_profile"


def find(reader: Reader, call: Call, name: str) -> Document:
    """A copy of the profile's document. NoSuchEntity."""
    record = reader.get(entities.key(call, "instance_profile", name))
    if record is None:
        raise entities.no_such_entity(f"Instance Profile {name} cannot be found.")
    return dict(record.document)


def with_role(reader: Reader, call: Call, role_name: str) -> list[Document]:
    """The profiles that hold a role."""
    return [
        record.document
        for record in reader.list(KIND, call.account_id)
        if role_name in record.document["roles"]
    ]


def shown(reader: Reader, call: Call, document: Mapping[str, Any]) -> dict[str, Any]:
    """A profile as answers show it, with its role."""
    names = ("Path", "InstanceProfileName", "InstanceProfileId", "Arn", "CreateDate")
    role_names = (
        "Path",
        "RoleName",
        "RoleId",
        "Arn",
        "CreateDate",
        "AssumeRolePolicyDocument",
    )
    found = {name: document[name] for name in names}
    roles = [entities.find(reader, call, "role", name) for name in document["roles"]]
    found["Roles"] = [{name: role[name] for name in role_names} for role in roles]
    if document.get("Tags"):
        found["Tags"] = document["Tags"]
    return found
