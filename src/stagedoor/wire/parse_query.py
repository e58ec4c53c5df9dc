"""Form parameters of the query protocol (``Tags.member.1.Key=a``) to values of the model's shapes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stagedoor.wire import scalars
from stagedoor.wire.requests import UnreadableError

if TYPE_CHECKING:
    from botocore.model import ListShape, MapShape, StructureShape

_DEEPEST = 64  # levels of a parameter's name; the deepest input of a query service has fewer than ten
_RESERVED = frozenset({"Action", "Version"})


@dataclass(slots=True)
class _Node:
    """One level of the dotted names: the text given for it, and what lies below."""

    text: str | None = None
    below: dict[str, "_Node"] = field(default_factory=dict[str, "_Node"])


def value_of(shape: "StructureShape", parameters: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The input structure from the parameters of a request. UnreadableError when one is not of its type."""
    root = _Node()
    for name, text in parameters:
        if name in _RESERVED or name.startswith("X-Amz-"):
            continue
        node = root
        parts = name.split(".")
        if len(parts) > _DEEPEST:
            raise UnreadableError("a parameter's name has too many levels", name[:64])
        for part in parts:
            node = node.below.setdefault(part, _Node())
        if node.text is not None:
            raise UnreadableError("the parameter is given twice", name[:64])
        node.text = text
    return _structure(shape, root, "")


def _value(shape: Any, node: _Node, path: str) -> Any:
    match shape.type_name:
        case "structure":
            return _structure(shape, node, path)
        case "list":
            return _list(shape, node, path)
        case "map":
            return _map(shape, node, path)
        case _:
            if node.below or node.text is None:
                raise UnreadableError(f"members are given below a {shape.type_name}", path)
            return scalars.from_text(shape, node.text, path)


def _structure(shape: "StructureShape", node: _Node, path: str) -> dict[str, Any]:
    if node.text:
        raise UnreadableError("a value is given for a structure", path)
    result: dict[str, Any] = {}
    member: Any
    for name, member in shape.members.items():
        child = node.below.get(member.serialization.get("name", name))
        if child is None and member.type_name == "list" and member.serialization.get("flattened"):
            # Some models name a flattened list's elements where they mean the list.
            child = node.below.get(member.member.serialization.get("name", ""))
        if child is not None:
            result[name] = _value(member, child, f"{path}.{name}" if path else name)
    return result


def _list(shape: "ListShape", node: _Node, path: str) -> list[Any]:
    if node.text:
        raise UnreadableError("a value is given for a list", path)
    if not shape.serialization.get("flattened"):
        below = node.below.get(shape.member.serialization.get("name", "member"))
        if below is None:
            _only_empty(node, path)
            return []
        node = below
    return [_value(shape.member, child, f"{path}.{index}") for index, child in _numbered(node, path)]


def _map(shape: "MapShape", node: _Node, path: str) -> dict[str, Any]:
    if node.text:
        raise UnreadableError("a value is given for a map", path)
    if not shape.serialization.get("flattened"):
        below = node.below.get("entry")
        if below is None:
            _only_empty(node, path)
            return {}
        node = below
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    result: dict[str, Any] = {}
    for index, entry in _numbered(node, path):
        key = entry.below.get(key_name)
        value = entry.below.get(value_name)
        if key is None or key.text is None or value is None:
            raise UnreadableError(f"entry {index} of a map needs a {key_name} and a {value_name}", path)
        if key.text in result:
            raise UnreadableError(f"the key {key.text[:64]!r} is given twice", path)
        result[key.text] = _value(shape.value, value, f"{path}.{key.text[:64]}")
    return result


def _only_empty(node: _Node, path: str) -> None:
    """``Tags=`` is an empty list; names that are not its elements are a mistake to be named."""
    if node.below:
        raise UnreadableError(f"{next(iter(node.below))[:64]!r} is not how an element is named", path)


def _numbered(node: _Node, path: str) -> list[tuple[int, _Node]]:
    """Elements in the order of their numbers; gaps are closed up."""
    if node.text:
        raise UnreadableError("a value is given where numbered elements belong", path)
    for name in node.below:
        if not (name.isascii() and name.isdigit() and len(name) <= 9):
            raise UnreadableError(f"{name[:64]!r} is not the number of an element", path)
    return sorted(((int(name), child) for name, child in node.below.items()), key=lambda pair: pair[0])
