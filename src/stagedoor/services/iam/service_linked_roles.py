"""Roles that belong to a service: made with the name and the trust that the service has on AWS, and deleted as a task.

They get no policies here: no such service acts in the account. Which services have one is data beside this file.
"""

import json
import tomllib
import uuid
from functools import cache
from pathlib import Path
from typing import Any, Final

from stagedoor.domain import ids
from stagedoor.services.call import Call
from stagedoor.services.iam import entities
from stagedoor.store.records import Document

_MAX_SESSION_S: Final = 3_600


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def create_service_linked_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make the role of a service. InvalidInput for services without one, or that take no suffix."""
    service, suffix = request["AWSServiceName"], request.get("CustomSuffix")
    name: str | None = _table()["roles"].get(service)
    if name is None:
        raise entities.invalid_input(
            f"Service-linked roles of {service} are not known to stagedoor. Known: {', '.join(sorted(_table()['roles']))}."
        )
    if suffix is not None:
        if service not in _table()["suffix"]["services"]:
            raise entities.invalid_input(f"Custom suffix is not allowed for {service}")
        name = f"{name}_{suffix}"
    path = f"{entities.SERVICE_LINKED_PATH}{service}/"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["sts:AssumeRole"]}],
    }
    document: Document = {
        "Path": path,
        "RoleName": name,
        "RoleId": ids.iam_id("AROA"),
        "Arn": entities.arn(call, "role", path, name),
        "CreateDate": int(call.now),
        "AssumeRolePolicyDocument": json.dumps(trust),
        "MaxSessionDuration": _MAX_SESSION_S,
    }
    if request.get("Description") is not None:
        document["Description"] = request["Description"]
    with call.house.records.transaction() as transaction:
        if transaction.spelt("iam.role", call.account_id, name) is not None:
            raise entities.invalid_input(
                f"Service role name {name} has been taken in this account, please try a different suffix."
            )
        transaction.insert(entities.key(call, "role", name), document)
    shown = ("Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument")
    return {"Role": {member: document[member] for member in shown}}


def delete_service_linked_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete the role of a service; the task of it is done at once."""
    name = request["RoleName"]
    with call.house.records.transaction() as transaction:
        document = entities.find(transaction, call, "role", name)
        if not document["Path"].startswith(entities.SERVICE_LINKED_PATH):
            raise entities.invalid_input(f"{name} is no service-linked role: DeleteRole deletes it.")
        task_id = f"task{document['Path']}{name}/{uuid.uuid4()}"
        transaction.delete(entities.key(call, "role", name))
        transaction.put(entities.key(call, "role_deletion", task_id), {"Status": "SUCCEEDED"})
    return {"DeletionTaskId": task_id}


def get_service_linked_role_deletion_status(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """How far a deletion is."""
    record = call.house.records.get(entities.key(call, "role_deletion", request["DeletionTaskId"]))
    if record is None:
        raise entities.no_such_entity(f"Deletion task {request['DeletionTaskId']} cannot be found.")
    return {"Status": record.document["Status"]}
