"""REST APIs: create, get, list, update, delete."""

from typing import Any

from stagedoor.domain import ids
from stagedoor.services.apigateway import patches, resource_policies, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document

_RULES = patches.Rules(
    {
        "name": patches.text,
        "description": patches.text,
        "disableExecuteApiEndpoint": patches.boolean,
        "policy": patches.text,
    },
    lists=("binaryMediaTypes",),
)


def create_rest_api(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """An API with its root resource. ``endpointConfiguration`` is recorded: every API answers on the public listener."""
    stored.refuse(request, "cloneFrom", "minimumCompressionSize", "securityPolicy", "endpointAccessMode")
    if request.get("apiKeySource", "HEADER") != "HEADER":
        raise stored.unsupported(f"apiKeySource {request['apiKeySource']}")
    if not request["name"].strip():
        raise stored.bad_request("Name cannot be empty")
    configuration: dict[str, list[str]] = request.get("endpointConfiguration") or {}
    types = configuration.get("types") or ["EDGE"]
    if "PRIVATE" in types:
        raise stored.unsupported("endpointConfiguration.types PRIVATE")
    api_id, root_id = ids.rest_api_id(), ids.rest_api_id()
    document: Document = {
        "id": api_id,
        "name": request["name"],
        "createdDate": int(call.now),
        "apiKeySource": "HEADER",
        "endpointConfiguration": {"types": types},
        "disableExecuteApiEndpoint": bool(request.get("disableExecuteApiEndpoint")),
        "rootResourceId": root_id,
    }
    for member in ("description", "version", "tags"):
        if request.get(member):
            document[member] = request[member]
    if request.get("binaryMediaTypes"):
        document["binaryMediaTypes"] = list(request["binaryMediaTypes"])
    if request.get("policy"):
        document["policy"] = resource_policies.checked(call, api_id, request["policy"])
    root: Document = {"id": root_id, "path": "/", "resourceMethods": {}}
    with call.house.records.transaction() as transaction:
        transaction.insert(stored.key_of(call, stored.API, api_id), document)
        transaction.insert(stored.key_of(call, stored.TREE, api_id), {root_id: root})
    return _shown(document)


def get_rest_api(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One API."""
    return _shown(stored.api(call.house.records, call, request["restApiId"]))


def get_rest_apis(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All APIs of the account and region, in the order of their creation."""
    records = call.house.records.list(stored.API, call.account_id, call.region)
    documents = sorted((r.document for r in records), key=lambda d: (d["createdDate"], d["id"]))
    return stored.page([_shown(document) for document in documents], request)


def update_rest_api(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch an API's name, description, binary media types, resource policy, or close its default endpoint."""
    with call.house.records.transaction() as transaction:
        document = stored.api(transaction, call, request["restApiId"])
        patched = _RULES.apply(document, request.get("patchOperations"))
        if not patched.get("policy"):
            patched.pop("policy", None)
        elif patched["policy"] != document.get("policy"):
            patched["policy"] = resource_policies.checked(call, patched["id"], patched["policy"])
        transaction.put(stored.key_of(call, stored.API, request["restApiId"]), patched)
    return _shown(patched)


def delete_rest_api(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete an API with its resources, deployments and stages."""
    api_id = request["restApiId"]
    with call.house.records.transaction() as transaction:
        stored.api(transaction, call, api_id)
        for record in transaction.list(stored.USAGE_PLAN, call.account_id, call.region):
            plan = record.document
            kept = [each for each in plan["apiStages"] if each["apiId"] != api_id]
            if len(kept) < len(plan["apiStages"]):
                transaction.put(record.key, plan | {"apiStages": kept})
        for kind in (stored.DEPLOYMENT, stored.STAGE):
            for record in transaction.list(kind, call.account_id, call.region, prefix=f"{api_id}/"):
                transaction.delete(record.key)
        transaction.delete(stored.key_of(call, stored.TREE, api_id))
        transaction.delete(stored.key_of(call, stored.API, api_id))
    return {}


def _shown(document: Document) -> Document:
    policy = document.get("policy")
    return document | {"policy": resource_policies.shown(policy)} if policy else document
