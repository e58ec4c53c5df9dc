"""Values of the model's shapes to JSON; for the json and rest-json protocols."""

import math
from base64 import b64encode
from typing import TYPE_CHECKING, Any, cast

import orjson

from stagedoor.wire import timestamps

if TYPE_CHECKING:
    from botocore.model import StructureShape


def dump(document: Any) -> bytes:
    """A document as bytes; a lone surrogate (text no client could have sent) becomes a question mark."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_encodable(document))


def _encodable(document: Any) -> Any:
    match document:
        case str():
            return document.encode("utf-8", "replace").decode("utf-8")
        case dict():
            entries = cast("dict[Any, Any]", document)
            return {_encodable(str(key)): _encodable(value) for key, value in entries.items()}
        case list() | tuple():
            items = cast("list[Any]", document)
            return [_encodable(item) for item in items]
        case _:
            return document


def value_of(shape: Any, value: Any) -> Any:
    """The JSON form of a value: members by their wire names, absent and None members left out."""
    match shape.type_name:
        case "structure":
            return value if shape.is_document_type else structure(shape, value)
        case "list":
            member = shape.member
            return [None if item is None else value_of(member, item) for item in value]
        case "map":
            member = shape.value
            return {key: value_of(member, item) for key, item in value.items() if item is not None}
        case "timestamp":
            return _timestamp(shape, value)
        case "blob":
            return b64encode(value.encode("utf-8") if isinstance(value, str) else value).decode("ascii")
        case "float" | "double":
            return finite(value)
        case _:
            return value


def structure(shape: "StructureShape", value: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            result[member.serialization.get("name", name)] = value_of(member, item)
    return result


def _timestamp(shape: Any, value: Any) -> int | float | str:
    form: str = shape.serialization.get("timestampFormat", "unixTimestamp")
    return timestamps.epoch(value) if form.lower() == "unixtimestamp" else timestamps.render(value, form)


def finite(value: float) -> float | str:
    """A number, or the text that stands for one that JSON does not have."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
