"""The JSONPath subset of batch transform's filters: ``$``, ``.name``, ``*``, ``['a','b']``, ``[0,-1]``, ``[1:3]``.

Place in the flow: CreateTransformJob parses InputFilter and OutputFilter to refuse what is no path; ``data_processing``
applies them to CSV rows (as arrays) and JSON records.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_INTEGER = r"-?\d{1,9}"
_STEP = re.compile(
    rf"""
    \.?\[\s*(?P<slice>(?:{_INTEGER})?\s*:\s*(?:{_INTEGER})?)\s*\]
  | \.?\[\s*(?P<indices>{_INTEGER}(?:\s*,\s*{_INTEGER})*)\s*\]
  | \.?\[\s*(?P<names>{_QUOTED}(?:\s*,\s*{_QUOTED})*)\s*\]
  | \.?\[\s*(?P<every>\*)\s*\]
  | \.(?P<name>{_NAME})
  | \.(?P<star>\*)
    """,
    re.VERBOSE,
)


class JsonPathError(ValueError):
    """The text is no path of the subset, or the path does not fit a record; the message says where."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step down: members by name, elements by index, a slice, or everything."""

    kind: Literal["names", "indices", "slice", "every"]
    names: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path. ``is_all`` for ``$``, which selects the record as it is."""

    text: str
    steps: tuple[Step, ...]

    @property
    def is_all(self) -> bool:
        return not self.steps

    @classmethod
    def parse(cls, text: str) -> "JsonPath":
        """Read a path; JsonPathError for anything outside the subset."""
        if not text.startswith("$"):
            raise JsonPathError(f"the JSONPath {text!r} must begin with $")
        steps: list[Step] = []
        position = 1
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None:
                raise JsonPathError(f"the JSONPath {text!r} cannot be read from {text[position:]!r} on")
            steps.append(_step(match))
            position = match.end()
        return cls(text, tuple(steps))

    def select(self, value: Any) -> Any:
        """What the path selects from a record; JsonPathError when a name or index is not there."""
        return _select(self, value, self.steps)

    def columns(self, width: int) -> list[int] | range | None:
        """For a row of ``width`` fields: the indices selected, in order; None when the path is not about columns."""
        if not self.steps:
            return range(width)
        if len(self.steps) != 1:
            return None
        step = self.steps[0]
        if step.kind == "indices":
            if any(not -width <= index < width for index in step.indices):
                raise JsonPathError(
                    f"the JSONPath {self.text!r} selects a column that a row of {width} does not have"
                )
            return [index % width for index in step.indices]
        if step.kind == "slice":
            return range(width)[step.start : step.end]
        return range(width) if step.kind == "every" else None


def _step(match: re.Match[str]) -> Step:
    if match["slice"] is not None:
        start, end = (part.strip() for part in match["slice"].split(":"))
        return Step("slice", start=int(start) if start else None, end=int(end) if end else None)
    if match["indices"] is not None:
        return Step("indices", indices=tuple(int(part) for part in match["indices"].split(",")))
    if match["names"] is not None:
        quoted: list[str] = re.findall(_QUOTED, match["names"])
        return Step("names", names=tuple(re.sub(r"\\(.)", r"\1", name[1:-1]) for name in quoted))
    if match["name"] is not None:
        return Step("names", names=(match["name"],))
    return Step("every")


def _select(path: JsonPath, value: Any, steps: Sequence[Step]) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]

    def down(inner: Any) -> Any:
        return _select(path, inner, rest)

    match step.kind:
        case "names":
            return _select_names(path, value, step, down)
        case "indices":
            if not isinstance(value, list):
                raise JsonPathError(f"the JSONPath {path.text!r} asks for an element of what is no array")
            elements = cast("list[Any]", value)
            if any(not -len(elements) <= index < len(elements) for index in step.indices):
                raise JsonPathError(f"the JSONPath {path.text!r} selects an element that is not there")
            chosen = [down(elements[index]) for index in step.indices]
            return chosen[0] if len(chosen) == 1 else chosen
        case "slice":
            if not isinstance(value, list):
                raise JsonPathError(f"the JSONPath {path.text!r} asks for elements of what is no array")
            return [down(inner) for inner in cast("list[Any]", value)[step.start : step.end]]
        case "every":
            if isinstance(value, dict):
                return [down(inner) for inner in cast("dict[str, Any]", value).values()]
            if isinstance(value, list):
                return [down(inner) for inner in cast("list[Any]", value)]
            raise JsonPathError(f"the JSONPath {path.text!r} asks for the members of a single value")


def _select_names(path: JsonPath, value: Any, step: Step, down: Callable[[Any], Any]) -> Any:
    if not isinstance(value, dict):
        raise JsonPathError(f"the JSONPath {path.text!r} asks for a member of what is no object")
    members = cast("dict[str, Any]", value)
    missing = [name for name in step.names if name not in members]
    if missing:
        raise JsonPathError(f"the JSONPath {path.text!r} selects {missing[0]!r}, which is not there")
    if len(step.names) == 1:
        return down(members[step.names[0]])
    return {name: down(members[name]) for name in step.names}
