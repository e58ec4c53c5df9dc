"""Values of the model's shapes to XML; for the query and rest-xml protocols."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from stagedoor.wire import render_text
from stagedoor.wire.quirks import Quirks

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

# What must not stand as it is: markup, and line ends a reader would normalise. Other control characters become
# character references too, as S3 writes them for keys that have any.
_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\ud800-\udfff\ufffe\uffff]")
_SPECIAL_IN_ATTRIBUTE = re.compile('[&<>"\\s\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", " ": " "}


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    return _NAMED.get(character) or f"&#x{ord(character):x};"


# Beyond tab and the line ends XML 1.0 has no control characters, not even as references.
_ILLEGIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escape(text: str) -> str:
    """Text for an element's content."""
    return _SPECIAL.sub(_reference, text)


def legible(text: str) -> str:
    """Text for people: what no parser of XML 1.0 takes (control characters) is replaced, as its sense is not lost by that."""
    return _SPECIAL.sub(_reference, _ILLEGIBLE.sub("\ufffd", text))


def element(name: str, content: str, attributes: Iterable[tuple[str, str]] = ()) -> str:
    """An element around content that is already XML."""
    shown = "".join(f' {key}="{_SPECIAL_IN_ATTRIBUTE.sub(_reference, value)}"' for key, value in attributes)
    return f"<{name}{shown}>{content}</{name}>" if content else f"<{name}{shown}/>"


class XmlWriter:
    """Writes values as elements, with one service's timestamp precision and encoded shapes."""

    def __init__(self, known: Quirks) -> None:
        self._fraction = known.iso8601_fraction
        self._percent_encoded = known.percent_encoded_answer_shapes

    def member(self, shape: Any, name: str, value: Any) -> str:
        """The element or elements of one member, called ``name`` unless the model says otherwise."""
        return self._named(shape, shape.serialization.get("name", name), value)

    def _named(self, shape: Any, name: str, value: Any) -> str:
        match shape.type_name:
            case "structure":
                return self.structure(shape, name, value)
            case "list":
                return self._list(shape, name, value)
            case "map":
                return self._map(shape, name, value)
            case _:
                return element(name, escape(self.text(shape, value)), namespace(shape))

    def text(self, shape: Any, value: Any) -> str:
        if shape.name in self._percent_encoded:
            return quote(value, safe="~")
        return render_text.text_of(shape, value, "iso8601", self._fraction)

    def structure(self, shape: Any, name: str, value: Any, attributes: Iterable[tuple[str, str]] = ()) -> str:
        own = [
            (member.serialization.get("name", key), self.text(member, value[key]))
            for key, member in shape.members.items()
            if member.serialization.get("xmlAttribute") and value.get(key) is not None
        ]
        return element(name, self.content(shape, value), [*attributes, *namespace(shape), *own])

    def content(self, shape: Any, value: Any) -> str:
        """The members of a structure that travel as elements, one after the other."""
        return "".join(
            self.member(member, key, value[key])
            for key, member in shape.members.items()
            if value.get(key) is not None
            and not member.serialization.get("xmlAttribute")
            and not outside_body(member)
        )

    def _list(self, shape: Any, name: str, value: Any) -> str:
        if shape.serialization.get("flattened"):
            return "".join(self._named(shape.member, name, item) for item in value)
        item_name = shape.member.serialization.get("name", "member")
        content = "".join(self._named(shape.member, item_name, item) for item in value)
        return element(name, content, namespace(shape))

    def _map(self, shape: Any, name: str, value: Any) -> str:
        flattened = shape.serialization.get("flattened")
        key_name = shape.key.serialization.get("name", "key")
        entry_name = name if flattened else "entry"
        own = namespace(shape)
        entries = "".join(
            element(
                entry_name,
                element(key_name, escape(str(key)), namespace(shape.key))
                + self.member(shape.value, "value", item),
                own if flattened else (),
            )
            for key, item in value.items()
            if item is not None
        )
        return entries if flattened else element(name, entries, own)


def outside_body(shape: Any) -> bool:
    """Whether a member of an answer travels as header or status."""
    return shape.serialization.get("location") in ("header", "headers", "statusCode")


def namespace(shape: Any) -> list[tuple[str, str]]:
    """The xmlns attribute a shape is modelled with, if any."""
    modelled = shape.serialization.get("xmlNamespace")
    if not modelled:
        return []
    if isinstance(modelled, str):
        return [("xmlns", modelled)]
    prefix = modelled.get("prefix")
    return [(f"xmlns:{prefix}" if prefix else "xmlns", modelled["uri"])]
