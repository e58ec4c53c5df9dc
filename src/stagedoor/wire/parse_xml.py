"""XML bodies to values of the model's shapes; for the rest-xml protocol."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stagedoor.wire import scalars
from stagedoor.wire.requests import UnreadableError
from stagedoor.wire.xml_tree import Element

if TYPE_CHECKING:
    from botocore.model import ListShape, MapShape, StructureShape


class XmlReader:
    """Reads elements into values. ``strict`` refuses elements that the shape does not have."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def value_of(self, shape: Any, element: Element, path: str = "") -> Any:
        """The value of a shape from its element. UnreadableError when it is not of the type."""
        match shape.type_name:
            case "structure":
                return self.structure(shape, element, path)
            case "list":
                return self._list(shape, element, path)
            case "map":
                return self._map(shape, self._named(element, "entry", path), path)
            case "string":
                self._no_children(element, path)
                return element.text
            case _:
                self._no_children(element, path)
                return scalars.from_text(shape, element.text.strip(), path)

    def structure(self, shape: "StructureShape", element: Element, path: str = "") -> dict[str, Any]:
        by_name: dict[str, list[Element]] = {}
        for child in element.children:
            by_name.setdefault(child.name, []).append(child)
        result: dict[str, Any] = {}
        member: Any
        for name, member in shape.members.items():
            serialization = member.serialization
            if serialization.get("location"):
                continue
            place = f"{path}.{name}" if path else name
            if serialization.get("xmlAttribute"):
                text = element.attribute(serialization.get("name", name))
                if text is not None:
                    result[name] = scalars.from_text(member, text, place)
                continue
            found = by_name.pop(wire_name(member, name), None)
            if found is None and serialization.get("flattened") and member.type_name == "list":
                # Some models name a flattened list's elements where they mean the list.
                found = by_name.pop(member.member.serialization.get("name", ""), None)
            if found is not None:
                result[name] = self._member(member, found, place)
        if by_name and self._strict:
            raise UnreadableError(f"unknown element {next(iter(by_name))[:64]!r}", path)
        return result

    def _member(self, member: Any, found: list[Element], path: str) -> Any:
        if member.serialization.get("flattened") and member.type_name == "list":
            return self._items(member, found, path)
        if member.serialization.get("flattened") and member.type_name == "map":
            return self._map(member, found, path)
        if len(found) > 1:
            raise UnreadableError(f"the element {found[0].name!r} is given twice", path)
        return self.value_of(member, found[0], path)

    def _list(self, shape: "ListShape", element: Element, path: str) -> list[Any]:
        return self._items(
            shape, self._named(element, shape.member.serialization.get("name", "member"), path), path
        )

    def _items(self, shape: "ListShape", found: Iterable[Element], path: str) -> list[Any]:
        return [self.value_of(shape.member, child, f"{path}.{index}") for index, child in enumerate(found, 1)]

    def _map(self, shape: "MapShape", entries: Iterable[Element], path: str) -> dict[str, Any]:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        result: dict[str, Any] = {}
        for entry in entries:
            parts = {child.name: child for child in entry.children}
            if key_name not in parts or value_name not in parts:
                raise UnreadableError(f"an entry of a map needs a {key_name} and a {value_name}", path)
            key = parts[key_name].text
            if key in result:
                raise UnreadableError(f"the key {key[:64]!r} is given twice", path)
            result[key] = self.value_of(shape.value, parts[value_name], f"{path}.{key[:64]}")
        return result

    def _named(self, element: Element, name: str, path: str) -> list[Element]:
        """The children of that name; others are refused or skipped."""
        others = [child.name for child in element.children if child.name != name]
        if others and self._strict:
            raise UnreadableError(f"unknown element {others[0][:64]!r}", path)
        return [child for child in element.children if child.name == name]

    def _no_children(self, element: Element, path: str) -> None:
        if element.children:
            raise UnreadableError(
                f"the element {element.name[:64]!r} holds elements where a value belongs", path
            )


def wire_name(member: Any, name: str) -> str:
    """The element's name without prefix."""
    return member.serialization.get("name", name).rpartition(":")[2]
