"""CBOR documents to values of the model's shapes; for smithy-rpc-v2-cbor."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from stagedoor.wire import scalars
from stagedoor.wire.requests import UnreadableError

if TYPE_CHECKING:
    from botocore.model import StructureShape


def value_of(shape: Any, raw: Any, path: str = "") -> Any:
    """The value of a shape from a decoded CBOR item: only modelled members, nulls left out of structures."""
    type_name: str = shape.type_name
    match type_name:
        case "structure":
            if isinstance(raw, dict):
                return _structure(shape, cast("Mapping[str, Any]", raw), path)
        case "list":
            if isinstance(raw, list):
                items = cast("list[Any]", raw)
                return [
                    None if item is None else value_of(shape.member, item, f"{path}.{index}")
                    for index, item in enumerate(items, 1)
                ]
        case "map":
            if isinstance(raw, dict):
                entries = cast("Mapping[str, Any]", raw)
                return {
                    key: None if item is None else value_of(shape.value, item, f"{path}.{key[:64]}")
                    for key, item in entries.items()
                }
        case "timestamp":
            if isinstance(raw, datetime):
                return raw
            if isinstance(raw, int | float) and not isinstance(raw, bool):
                return scalars.timestamp(raw, path)
        case _:
            value = _scalar(type_name, raw, path)
            if value is not None:
                return value
    raise UnreadableError(f"{_kind(raw)} can not be converted to a {type_name}", path)


def _structure(shape: "StructureShape", raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, member in shape.members.items():
        value = raw.get(member.serialization.get("name", name))
        if value is not None:
            result[name] = value_of(member, value, f"{path}.{name}" if path else name)
    return result


def _scalar(type_name: str, raw: Any, path: str) -> Any:
    match type_name:
        case "string" | "character" if isinstance(raw, str):
            return raw
        case "blob" if isinstance(raw, bytes):
            return raw
        case "boolean" if isinstance(raw, bool):
            return raw
        case "integer" | "long" if isinstance(raw, int) and not isinstance(raw, bool):
            return scalars.in_range(raw, type_name, path)
        case "float" | "double" if isinstance(raw, int | float) and not isinstance(raw, bool):
            return float(raw)
        case _:
            return None


def _kind(raw: Any) -> str:
    match raw:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case bytes():
            return "a byte string"
        case list():
            return "a list"
        case dict():
            return "a map"
        case datetime():
            return "a timestamp"
        case _:
            return "null"
