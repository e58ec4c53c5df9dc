"""Tags of APIs and stages."""

import re
from typing import Any

from stagedoor.services.apigateway import stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Key, Reader

_ARN = re.compile(r"arn:aws:apigateway:[a-z0-9-]+::/restapis/([a-z0-9]+)(?:/stages/([a-zA-Z0-9_-]+))?")


def tag_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace tags."""
    with call.house.records.transaction() as transaction:
        key, document = _target(transaction, call, request["resourceArn"])
        document["tags"] = document.get("tags", {}) | request["tags"]
        transaction.put(key, document)
    return {}


def untag_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    with call.house.records.transaction() as transaction:
        key, document = _target(transaction, call, request["resourceArn"])
        document["tags"] = {k: v for k, v in document.get("tags", {}).items() if k not in request["tagKeys"]}
        transaction.put(key, document)
    return {}


def get_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All tags of an API or a stage."""
    _, document = _target(call.house.records, call, request["resourceArn"])
    return {"tags": document.get("tags", {})}


def _target(reader: Reader, call: Call, arn: str) -> tuple[Key, Document]:
    match = _ARN.fullmatch(arn)
    if match is None:
        raise stored.bad_request(f"Invalid ARN specified in the request: {arn}")
    api_id, stage_name = match[1], match[2]
    if stage_name:
        return stored.key_of(call, stored.STAGE, api_id, stage_name), stored.stage(
            reader, call, api_id, stage_name
        )
    return stored.key_of(call, stored.API, api_id), stored.api(reader, call, api_id)
