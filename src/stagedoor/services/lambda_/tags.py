"""Tags of functions."""

from collections.abc import Mapping
from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.lambda_ import stored
from stagedoor.services.lambda_.naming import FunctionRef, invalid, requested_function

_MAX_TAGS = 50
_MAX_KEY_LENGTH = 128
_MAX_VALUE_LENGTH = 256


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, when they are within AWS's limits; InvalidParameterValueException otherwise."""
    if len(tags) > _MAX_TAGS:
        raise invalid("Number of tags exceeds resource tag limit.")
    for key, value in tags.items():
        if not 1 <= len(key) <= _MAX_KEY_LENGTH or len(value) > _MAX_VALUE_LENGTH:
            raise invalid(
                f"The tag {key!r} is too long: keys have 1 to {_MAX_KEY_LENGTH} characters, values up to {_MAX_VALUE_LENGTH}."
            )
        if key.lower().startswith("aws:"):
            raise invalid(f"The tag key {key!r} begins with aws:, which is reserved.")
    return dict(tags)


def _tagged(call: Call, request: Mapping[str, Any]) -> FunctionRef:
    ref = requested_function(call, request["Resource"])
    if ref.qualifier:
        raise invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return ref


def tag_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace tags."""
    ref = _tagged(call, request)
    tags = check_tags(request["Tags"])
    if not tags:
        raise invalid("An error occurred and the request cannot be processed.")
    with call.house.records.transaction() as transaction:
        document = stored.existing(transaction, ref)
        transaction.put(ref.key, {**document, "Tags": check_tags({**document["Tags"], **tags})})
    return {}


def untag_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Drop tags; those that are not there do not matter."""
    ref = _tagged(call, request)
    with call.house.records.transaction() as transaction:
        document = stored.existing(transaction, ref)
        kept = {key: value for key, value in document["Tags"].items() if key not in request["TagKeys"]}
        transaction.put(ref.key, {**document, "Tags": kept})
    return {}


def list_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All tags."""
    return {"Tags": stored.existing(call.house.records, _tagged(call, request))["Tags"]}
