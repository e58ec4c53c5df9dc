"""API keys: what callers of methods with ``apiKeyRequired`` show in ``x-api-key``."""

import re
import secrets
import string
from typing import Any

from stagedoor.domain import ids
from stagedoor.services.apigateway import patches, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Reader

_ALPHABET = string.ascii_letters + string.digits
_VALUE_CHARACTERS = 40
_VALUE = re.compile(r"[!-~]{20,128}")
_RULES = patches.Rules(
    {
        "name": patches.text,
        "description": patches.text,
        "customerId": patches.text,
        "enabled": patches.boolean,
    }
)


def create_api_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A key; its value is made when none is given. Like AWS's, it is off unless ``enabled`` says otherwise."""
    stored.refuse(request, "stageKeys")
    value = request.get("value") or "".join(secrets.choice(_ALPHABET) for _ in range(_VALUE_CHARACTERS))
    if len(value) < 20:
        raise stored.bad_request("API Key value should be at least 20 characters")
    if not _VALUE.fullmatch(value):
        raise stored.bad_request(
            "API Key value should be at most 128 visible characters of ASCII: it is sent in a header"
        )
    key_id = ids.rest_api_id()
    document: Document = {
        "id": key_id,
        "value": value,
        "name": request.get("name") or key_id,
        "enabled": bool(request.get("enabled")),
        "createdDate": int(call.now),
        "lastUpdatedDate": int(call.now),
        "stageKeys": [],
    }
    for member in ("description", "customerId", "tags"):
        if request.get(member):
            document[member] = request[member]
    with call.house.records.transaction() as transaction:
        # Of any account: the value alone says whose it is.
        if any(record.document["value"] == value for record in transaction.list(stored.API_KEY)):
            raise stored.conflict("API Key already exists")
        transaction.insert(stored.key_of(call, stored.API_KEY, key_id), document)
    return document


def get_api_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One key; its value only with ``includeValue``."""
    return _shown(stored.api_key(call.house.records, call, request["apiKey"]), request.get("includeValue"))


def get_api_keys(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's keys; ``nameQuery`` is how their names begin."""
    prefix, customer = request.get("nameQuery") or "", request.get("customerId")
    records = call.house.records.list(stored.API_KEY, call.account_id, call.region)
    found = sorted(
        (
            record.document
            for record in records
            if record.document["name"].startswith(prefix)
            and customer in (None, record.document.get("customerId"))
        ),
        key=lambda document: (document["createdDate"], document["id"]),
    )
    return stored.page([_shown(each, request.get("includeValues")) for each in found], request)


def update_api_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch a key's name, description, customer, or switch it on or off: for the next request."""
    with call.house.records.transaction() as transaction:
        document = stored.api_key(transaction, call, request["apiKey"])
        patched = _RULES.apply(document, request.get("patchOperations"))
        patched["lastUpdatedDate"] = int(call.now)
        transaction.put(stored.key_of(call, stored.API_KEY, request["apiKey"]), patched)
    return _shown(patched, False)


def delete_api_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a key, also from the usage plans that have it."""
    key_id = request["apiKey"]
    with call.house.records.transaction() as transaction:
        stored.api_key(transaction, call, key_id)
        transaction.delete(stored.key_of(call, stored.API_KEY, key_id))
        for record in plans_with(transaction, call, key_id):
            record["keyIds"].remove(key_id)
            transaction.put(stored.key_of(call, stored.USAGE_PLAN, record["id"]), record)
    return {}


def plans_with(reader: Reader, call: Call, key_id: str) -> list[Document]:
    """The usage plans of the account that a key is in."""
    records = reader.list(stored.USAGE_PLAN, call.account_id, call.region)
    return [record.document for record in records if key_id in record.document["keyIds"]]


def _shown(document: Document, with_value: bool | None) -> Document:
    return {name: value for name, value in document.items() if with_value or name != "value"}
