"""Stages: the names under which a deployment is public."""

import re
from typing import Any

from stagedoor.services.apigateway import method_settings, patches, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_VARIABLE_NAME = re.compile(r"\w+")
_VARIABLE_VALUE = re.compile(r"[A-Za-z0-9._~:/?#&=,-]+")
_RULES = patches.Rules(
    {"deploymentId": patches.text, "description": patches.text}, {"variables": patches.text}
)


def new(name: str, now: float) -> Document:
    """A stage with AWS's defaults."""
    return {
        "stageName": name,
        "cacheClusterEnabled": False,
        "cacheClusterStatus": "NOT_AVAILABLE",
        "methodSettings": {},
        "tracingEnabled": False,
        "createdDate": int(now),
    }


def create_stage(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A stage that points at an existing deployment."""
    stored.refuse(
        request,
        "cacheClusterEnabled",
        "cacheClusterSize",
        "canarySettings",
        "tracingEnabled",
        "documentationVersion",
    )
    api_id, name = request["restApiId"], request["stageName"]
    check_name(name)
    stage = new(name, call.now) | {"deploymentId": request["deploymentId"], "lastUpdatedDate": int(call.now)}
    for member in ("description", "tags"):
        if request.get(member):
            stage[member] = request[member]
    if request.get("variables"):
        stage["variables"] = checked_variables(request["variables"])
    key = stored.key_of(call, stored.STAGE, api_id, name)
    with call.house.records.transaction() as transaction:
        stored.deployment(transaction, call, api_id, request["deploymentId"])
        if transaction.get(key) is not None:
            raise stored.conflict("Stage already exists")
        transaction.insert(key, stage)
    return stage


def get_stage(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One stage."""
    return stored.stage(call.house.records, call, request["restApiId"], request["stageName"])


def get_stages(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All stages of an API; with ``deploymentId`` those that point at it."""
    api_id, wanted = request["restApiId"], request.get("deploymentId")
    stored.api(call.house.records, call, api_id)
    records = call.house.records.list(stored.STAGE, call.account_id, call.region, prefix=f"{api_id}/")
    return {"item": [r.document for r in records if wanted in (None, r.document["deploymentId"])]}


def update_stage(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch a stage: another deployment, other variables, another description, throttles of its methods."""
    api_id, name = request["restApiId"], request["stageName"]
    with call.house.records.transaction() as transaction:
        stage = stored.stage(transaction, call, api_id, name)
        of_methods, others = method_settings.split(request.get("patchOperations"))
        patched = _RULES.apply(stage, others)
        patched["methodSettings"] = method_settings.apply(stage["methodSettings"], of_methods)
        checked_variables(patched.get("variables", {}))
        stored.deployment(transaction, call, api_id, patched["deploymentId"])
        patched["lastUpdatedDate"] = int(call.now)
        transaction.put(stored.key_of(call, stored.STAGE, api_id, name), patched)
    return patched


def delete_stage(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Close a stage; the deployment stays."""
    with call.house.records.transaction() as transaction:
        stored.stage(transaction, call, request["restApiId"], request["stageName"])
        transaction.delete(stored.key_of(call, stored.STAGE, request["restApiId"], request["stageName"]))
    return {}


def check_name(name: str) -> None:
    """BadRequestException for a name that cannot be a path segment."""
    if not _NAME.fullmatch(name):
        raise stored.bad_request("Stage name only allows a-zA-Z0-9_-")


def checked_variables(variables: dict[str, str]) -> dict[str, str]:
    """The variables, when AWS would take them."""
    for name, value in variables.items():
        if not _VARIABLE_NAME.fullmatch(name):
            raise stored.bad_request(f"Stage variable name {name} only allows a-zA-Z0-9_")
        if not _VARIABLE_VALUE.fullmatch(value):
            raise stored.bad_request(
                f"Stage variable value of {name} must match the regular expression [A-Za-z0-9-._~:/?#&=,]+"
            )
    return variables
