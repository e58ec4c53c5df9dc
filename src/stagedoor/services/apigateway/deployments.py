"""Deployments: copies of an API as it is now, which stages point at."""

from typing import Any

from stagedoor.domain import ids
from stagedoor.services.apigateway import patches, stages, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document

_RULES = patches.Rules({"description": patches.text})


def create_deployment(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Freeze the API. With ``stageName`` the stage is made, or moved to this deployment: at once, for the next request."""
    stored.refuse(request, "cacheClusterEnabled", "cacheClusterSize", "canarySettings", "tracingEnabled")
    api_id = request["restApiId"]
    with call.house.records.transaction() as transaction:
        api = stored.api(transaction, call, api_id)
        resources = stored.tree(transaction, call, api_id)
        _check_complete(resources)
        document: Document = {
            "id": ids.resource_suffix(),
            "createdDate": int(call.now),
            "snapshot": {
                "resources": resources,
                "binaryMediaTypes": api.get("binaryMediaTypes", []),
                "policy": api.get("policy", ""),
            },
        }
        if request.get("description"):
            document["description"] = request["description"]
        transaction.insert(stored.key_of(call, stored.DEPLOYMENT, api_id, document["id"]), document)
        stage_name = request.get("stageName")
        if stage_name:
            stages.check_name(stage_name)
            key = stored.key_of(call, stored.STAGE, api_id, stage_name)
            found = transaction.get(key)
            stage = found.document if found else stages.new(stage_name, call.now)
            stage |= {"deploymentId": document["id"], "lastUpdatedDate": int(call.now)}
            if request.get("stageDescription"):
                stage["description"] = request["stageDescription"]
            if request.get("variables"):
                stage["variables"] = stages.checked_variables(request["variables"])
            transaction.put(key, stage)
    return _answer(document)


def get_deployment(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One deployment; with ``embed=apisummary`` what its resources answer."""
    found = stored.deployment(call.house.records, call, request["restApiId"], request["deploymentId"])
    answer = _answer(found)
    if "apisummary" in (request.get("embed") or []):
        answer["apiSummary"] = {
            resource["path"]: {
                name: {"authorizationType": m["authorizationType"], "apiKeyRequired": m["apiKeyRequired"]}
                for name, m in resource["resourceMethods"].items()
            }
            for resource in found["snapshot"]["resources"].values()
            if resource["resourceMethods"]
        }
    return answer


def get_deployments(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All deployments of an API, oldest first."""
    stored.api(call.house.records, call, request["restApiId"])
    records = call.house.records.list(
        stored.DEPLOYMENT, call.account_id, call.region, prefix=f"{request['restApiId']}/"
    )
    found = sorted((r.document for r in records), key=lambda d: (d["createdDate"], d["id"]))
    return stored.page([_answer(document) for document in found], request)


def update_deployment(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch a deployment's description."""
    api_id, deployment_id = request["restApiId"], request["deploymentId"]
    with call.house.records.transaction() as transaction:
        document = stored.deployment(transaction, call, api_id, deployment_id)
        patched = _RULES.apply(document, request.get("patchOperations"))
        transaction.put(stored.key_of(call, stored.DEPLOYMENT, api_id, deployment_id), patched)
    return _answer(patched)


def delete_deployment(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a deployment that no stage points at."""
    api_id, deployment_id = request["restApiId"], request["deploymentId"]
    with call.house.records.transaction() as transaction:
        stored.deployment(transaction, call, api_id, deployment_id)
        for record in transaction.list(stored.STAGE, call.account_id, call.region, prefix=f"{api_id}/"):
            if record.document["deploymentId"] == deployment_id:
                raise stored.bad_request(
                    "Active stages pointing to this deployment must be moved or deleted: "
                    + record.document["stageName"]
                )
        transaction.delete(stored.key_of(call, stored.DEPLOYMENT, api_id, deployment_id))
    return {}


def _answer(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "snapshot"}


def _check_complete(resources: Document) -> None:
    methods = [m for resource in resources.values() for m in resource["resourceMethods"].values()]
    if not methods:
        raise stored.bad_request("The REST API doesn't contain any methods")
    if any("methodIntegration" not in method for method in methods):
        raise stored.bad_request("No integration defined for method")
