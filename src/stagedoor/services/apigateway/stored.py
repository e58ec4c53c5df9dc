"""REST APIs as records: read with AWS's own not-found errors, written whole.

Kinds of record: the API, the tree of its resources with their methods (one record, so that a change of the tree is
atomic and a deployment is a copy of it), its deployments and its stages (``API/ID`` and ``API/NAME``), API
keys, and usage plans.
"""

from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Key, Reader

API = "apigateway.rest_api"
TREE = "apigateway.resources"
DEPLOYMENT = "apigateway.deployment"
STAGE = "apigateway.stage"
API_KEY = "apigateway.api_key"
USAGE_PLAN = "apigateway.usage_plan"


def not_found(what: str) -> AwsError:
    """404 with AWS's text: what the invalid identifier was to name."""
    return AwsError("NotFoundException", f"Invalid {what} specified", status=404)


def bad_request(message: str) -> AwsError:
    """400: the request asks for what cannot be."""
    return AwsError("BadRequestException", message, status=400)


def unsupported(member: str, why: str = "") -> AwsError:
    """400 for a member that this release does not honour, by name."""
    return bad_request(f"stagedoor does not support {member}{': ' + why if why else '.'}")


def refuse(request: dict[str, Any], *members: str) -> None:
    """Refuse members that are given and not honoured. An empty value is as good as none."""
    for member in members:
        if request.get(member):
            raise unsupported(member)


def conflict(message: str) -> AwsError:
    """409: the name or path is taken."""
    return AwsError("ConflictException", message, status=409)


def key_of(call: Call, kind: str, api_id: str, name: str = "") -> Key:
    """The key of an API's record, or of one of its deployments or stages."""
    return call.key(kind, f"{api_id}/{name}" if name else api_id)


def api(reader: Reader, call: Call, api_id: str) -> Document:
    """The API's document; NotFoundException when there is none."""
    record = reader.get(key_of(call, API, api_id))
    if record is None:
        raise AwsError(
            "NotFoundException", f"Invalid API identifier specified {call.account_id}:{api_id}", status=404
        )
    return record.document


def tree(reader: Reader, call: Call, api_id: str) -> Document:
    """The API's resources by id. NotFoundException for an unknown API."""
    api(reader, call, api_id)
    record = reader.get(key_of(call, TREE, api_id))
    return record.document if record is not None else {}


def resource(resources: Document, resource_id: str) -> Document:
    """One resource of a tree; NotFoundException when there is none."""
    found = resources.get(resource_id)
    if found is None:
        raise not_found("Resource identifier")
    return found


def method(resources: Document, resource_id: str, http_method: str) -> Document:
    """One method of a resource; NotFoundException when there is none."""
    found = resource(resources, resource_id)["resourceMethods"].get(http_method)
    if found is None:
        raise not_found("Method identifier")
    return found


def deployment(reader: Reader, call: Call, api_id: str, deployment_id: str) -> Document:
    """A deployment's document; NotFoundException when there is none."""
    api(reader, call, api_id)
    record = reader.get(key_of(call, DEPLOYMENT, api_id, deployment_id))
    if record is None:
        raise not_found("Deployment identifier")
    return record.document


def stage(reader: Reader, call: Call, api_id: str, stage_name: str) -> Document:
    """A stage's document; NotFoundException when there is none."""
    api(reader, call, api_id)
    record = reader.get(key_of(call, STAGE, api_id, stage_name))
    if record is None:
        raise not_found("stage identifier")
    return record.document


def api_key(reader: Reader, call: Call, key_id: str) -> Document:
    """An API key's document; NotFoundException when there is none."""
    record = reader.get(key_of(call, API_KEY, key_id))
    if record is None:
        raise not_found("API Key identifier")
    return record.document


def usage_plan(reader: Reader, call: Call, plan_id: str) -> Document:
    """A usage plan's document; NotFoundException when there is none."""
    record = reader.get(key_of(call, USAGE_PLAN, plan_id))
    if record is None:
        raise not_found("Usage Plan ID")
    return record.document


def page(items: list[Document], request: dict[str, Any]) -> dict[str, Any]:
    """One page of ``items`` (each with an ``id`` or ``stageName``) by ``limit`` and ``position``."""
    position, limit = request.get("position"), int(request.get("limit") or 25)
    if not 1 <= limit <= 500:
        raise bad_request("Invalid limit specified: it is a number from 1 to 500")
    start = 0
    if position is not None:
        if not position.isdigit():
            raise bad_request("Invalid position parameter specified")
        start = int(position)
    answer: dict[str, Any] = {"items": items[start : start + limit]}
    if start + limit < len(items):
        answer["position"] = str(start + limit)
    return answer
