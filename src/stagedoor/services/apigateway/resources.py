"""The tree of an API's resources: one path part each."""

import re
from typing import Any

from stagedoor.domain import ids
from stagedoor.services.apigateway import patches, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document

_PATH_PART = re.compile(r"\{[a-zA-Z0-9._-]+\+?\}|[a-zA-Z0-9._~:@!$&'()*,;=%-]+")
_RULES = patches.Rules({"pathPart": patches.text, "parentId": patches.text})


def create_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A child of ``parentId``. At most one variable per level, nothing below a greedy one."""
    api_id = request["restApiId"]
    with call.house.records.transaction() as transaction:
        resources = stored.tree(transaction, call, api_id)
        made: Document = {"id": ids.resource_suffix(), "resourceMethods": {}}
        _place(resources, made, request["parentId"], request["pathPart"])
        resources[made["id"]] = made
        transaction.put(stored.key_of(call, stored.TREE, api_id), resources)
    return answer(made, embed=False)


def get_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One resource; with ``embed=methods`` its methods."""
    resources = stored.tree(call.house.records, call, request["restApiId"])
    return answer(stored.resource(resources, request["resourceId"]), embed=_embeds(request))


def get_resources(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All resources, by path."""
    resources = stored.tree(call.house.records, call, request["restApiId"])
    found = sorted(resources.values(), key=lambda resource: resource["path"])
    return stored.page([answer(resource, embed=_embeds(request)) for resource in found], request)


def update_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Move a resource or rename its path part; everything below it moves along."""
    api_id, resource_id = request["restApiId"], request["resourceId"]
    with call.house.records.transaction() as transaction:
        resources = stored.tree(transaction, call, api_id)
        found = stored.resource(resources, resource_id)
        if "parentId" not in found:
            raise stored.bad_request("The root resource cannot be changed")
        patched = _RULES.apply(found, request.get("patchOperations"))
        if any(patched["parentId"] == below["id"] for below in _below(resources, resource_id)):
            raise stored.bad_request("A resource cannot be moved below itself")
        resources[resource_id] = patched
        _place(resources, patched, patched["parentId"], patched["pathPart"])
        for below in _below(resources, resource_id)[1:]:
            below["path"] = _path(resources[below["parentId"]], below["pathPart"])
        transaction.put(stored.key_of(call, stored.TREE, api_id), resources)
    return answer(patched, embed=False)


def delete_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a resource with everything below it; the root stays."""
    api_id, resource_id = request["restApiId"], request["resourceId"]
    with call.house.records.transaction() as transaction:
        resources = stored.tree(transaction, call, api_id)
        if "parentId" not in stored.resource(resources, resource_id):
            raise stored.bad_request("The root resource cannot be deleted; delete the API instead")
        for below in _below(resources, resource_id):
            del resources[below["id"]]
        transaction.put(stored.key_of(call, stored.TREE, api_id), resources)
    return {}


def answer(resource: Document, *, embed: bool) -> Document:
    """A resource as AWS answers it: its methods by name alone, or embedded."""
    shown = {k: v for k, v in resource.items() if k != "resourceMethods"}
    if resource["resourceMethods"]:
        shown["resourceMethods"] = {
            name: method if embed else {} for name, method in resource["resourceMethods"].items()
        }
    return shown


def _embeds(request: dict[str, Any]) -> bool:
    return "methods" in (request.get("embed") or [])


def _path(parent: Document, part: str) -> str:
    return parent["path"].rstrip("/") + "/" + part


def _below(resources: Document, resource_id: str) -> list[Document]:
    """The resource and all below it, parents first."""
    found = [resources[resource_id]]
    for above in found:
        found += [r for r in resources.values() if r.get("parentId") == above["id"]]
    return found


def _place(resources: Document, made: Document, parent_id: str, part: str) -> None:
    parent = stored.resource(resources, parent_id)
    if not _PATH_PART.fullmatch(part):
        raise stored.bad_request(
            "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at "
            "the beginning and the end."
        )
    if parent.get("pathPart", "").endswith("+}"):
        raise stored.bad_request(
            f"Cannot create a child of a resource with a greedy path variable: {parent['pathPart']}"
        )
    for sibling in resources.values():
        if sibling.get("parentId") != parent_id or sibling["id"] == made["id"]:
            continue
        if sibling["pathPart"] == part:
            raise stored.conflict(f"Another resource with the same parent already has this name: {part}")
        if (
            part.startswith("{")
            and sibling["pathPart"].startswith("{")
            and part.endswith("+}") == sibling["pathPart"].endswith("+}")
        ):
            raise stored.bad_request(
                f"A sibling ({sibling['pathPart']}) of this resource already has a variable path part -- "
                "only one is allowed"
            )
    made |= {"parentId": parent_id, "pathPart": part, "path": _path(parent, part)}
