"""A small XML tree from untrusted bytes: no DTD, no entities, bounded depth and attributes."""

from dataclasses import dataclass, field
from xml.parsers import expat

from stagedoor.wire.requests import UnreadableError

_DEEPEST = 128
_MOST_ATTRIBUTES = 64
_ATTRIBUTE_CHARACTERS = 65_536


@dataclass(slots=True)
class Element:
    """One element: its name without namespace prefix, attributes as written, text, children."""

    name: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list["Element"])
    text: str = ""

    def attribute(self, name: str) -> str | None:
        """An attribute by its qualified name, or by its local name when the prefix was chosen differently."""
        if name in self.attributes:
            return self.attributes[name]
        local = name.rpartition(":")[2]
        for key, value in self.attributes.items():
            if ":" in key and key.rpartition(":")[2] == local and not key.startswith("xmlns:"):
                return value
        return None


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []

    def start(self, name: str, attributes: list[str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise UnreadableError("the XML document is nested too deeply")
        if len(attributes) > 2 * _MOST_ATTRIBUTES or sum(map(len, attributes)) > _ATTRIBUTE_CHARACTERS:
            raise UnreadableError("an element has too many attributes")
        element = Element(name.rpartition(":")[2], dict(zip(attributes[::2], attributes[1::2], strict=True)))
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def end(self, _name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, text: str) -> None:
        if self._texts:
            self._texts[-1].append(text)

    def doctype(self, *_: object) -> None:
        raise UnreadableError("the XML document has a document type declaration")


def load(body: bytes) -> Element:
    """The root element. UnreadableError when the body is not well-formed or asks for more than is safe."""
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UnreadableError(f"the body is not XML: {error}") from error
    if builder.root is None:
        raise UnreadableError("the body is not XML: no element")
    return builder.root
