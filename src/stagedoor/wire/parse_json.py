"""JSON bodies to values of the model's shapes; for the json and rest-json protocols."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from stagedoor.wire import scalars
from stagedoor.wire.requests import UnreadableError

if TYPE_CHECKING:
    from botocore.model import ListShape, MapShape, Shape, StructureShape

# An escaped surrogate; only then the text is looked at again for one without its partner.
_SURROGATE_ESCAPE = re.compile(rb"\\[uU][dD][89a-fA-F]")
_LONGEST_NUMBER = 400  # digits; Python itself refuses integers beyond 4,300


def load(body: bytes) -> Any:
    """The JSON document of a body.

    UnreadableError for what JSON does not have, or a careless parser would let through: NaN, duplicate keys, lone
    surrogates, numbers of absurd length, nesting beyond the interpreter's stack.
    """
    try:
        text = body.decode("utf-8")
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except RecursionError as error:
        raise UnreadableError("the JSON document is nested too deeply") from error
    except ValueError as error:
        raise UnreadableError(f"the body is not JSON: {error}") from error
    if _SURROGATE_ESCAPE.search(body):
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except (UnicodeEncodeError, RecursionError) as error:
            raise UnreadableError("the JSON document holds a lone surrogate") from error
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"duplicate key {twice[:80]!r}")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number too large")
    return value


def value_of(shape: "Shape", raw: Any, path: str = "") -> Any:
    """The value of a shape from its JSON form: only modelled members, nulls left out of structures.

    UnreadableError in AWS's words (``NUMBER_VALUE can not be converted to a String``) with the member's path.
    """
    return _READERS[shape.type_name](shape, raw, path)


def _structure(shape: "StructureShape", raw: Any, path: str) -> Any:
    if shape.is_document_type:
        return raw
    if not isinstance(raw, dict):
        raise _unexpected(raw, "a structure", path)
    given = cast("Mapping[str, Any]", raw)
    result: dict[str, Any] = {}
    for name, member in shape.members.items():
        value = given.get(member.serialization.get("name", name))
        if value is not None:
            result[name] = value_of(member, value, f"{path}.{name}" if path else name)
    return result


def _list(shape: "ListShape", raw: Any, path: str) -> list[Any]:
    if not isinstance(raw, list):
        raise _unexpected(raw, "a list", path)
    member = shape.member
    read = _READERS[member.type_name]
    items = cast("list[Any]", raw)
    # A null stays: validation says which element must not be null.
    return [
        None if item is None else read(member, item, f"{path}.{index}") for index, item in enumerate(items, 1)
    ]


def _map(shape: "MapShape", raw: Any, path: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _unexpected(raw, "a map", path)
    member = shape.value
    read = _READERS[member.type_name]
    entries = cast("Mapping[str, Any]", raw)
    return {
        key: None if item is None else read(member, item, f"{path}.{key[:64]}")
        for key, item in entries.items()
    }


def _string(shape: "Shape", raw: Any, path: str) -> str:
    if isinstance(raw, str):
        return raw
    raise _unexpected(raw, "a String", path)


def _integer_value(shape: "Shape", raw: Any, path: str) -> int:
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise _unexpected(raw, "an Integer" if shape.type_name == "integer" else "a Long", path)
    return scalars.in_range(raw, shape.type_name, path)


def _float_value(shape: "Shape", raw: Any, path: str) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError as error:
            raise UnreadableError("the number is too large", path) from error
    if isinstance(raw, str):
        value = scalars.not_finite(raw)
        if value is not None:
            return value
    raise _unexpected(raw, "a Float" if shape.type_name == "float" else "a Double", path)


def _boolean(shape: "Shape", raw: Any, path: str) -> bool:
    if isinstance(raw, bool):
        return raw
    raise _unexpected(raw, "a Boolean", path)


def _blob(shape: "Shape", raw: Any, path: str) -> bytes:
    if isinstance(raw, str):
        return scalars.blob(raw, path)
    raise _unexpected(raw, "a ByteBuffer", path)


def _timestamp(shape: "Shape", raw: Any, path: str) -> Any:
    if isinstance(raw, str) or (isinstance(raw, int | float) and not isinstance(raw, bool)):
        return scalars.timestamp(raw, path)
    raise _unexpected(raw, "a timestamp", path)


def _unexpected(raw: Any, wanted: str, path: str) -> UnreadableError:
    match raw:
        case dict():
            return UnreadableError("Start of structure or map found where not expected", path)
        case list():
            return UnreadableError("Start of list found where not expected", path)
        case bool():
            found = "TRUE_VALUE" if raw else "FALSE_VALUE"
        case int() | float():
            found = "NUMBER_VALUE"
        case str():
            found = "STRING_VALUE"
        case _:
            found = "NULL_VALUE"
    return UnreadableError(f"{found} can not be converted to {wanted}", path)


_READERS: dict[str, Callable[[Any, Any, str], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "character": _string,
    "integer": _integer_value,
    "long": _integer_value,
    "float": _float_value,
    "double": _float_value,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": _timestamp,
}
