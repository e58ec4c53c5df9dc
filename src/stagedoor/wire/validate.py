"""Parameters against every constraint of the model, between ``parse`` and the operation; in AWS's words.

One error names all violations: ``2 validation errors detected: Value 'x' at 'endpointName' failed to satisfy
constraint: …; Value null at 'tags.1.member.key' failed to satisfy constraint: Member must not be null``. Members are
named as AWS names them there, with a small first letter. Which code that error has, and which service words what
differently, is in ``quirks.toml``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from stagedoor.domain.errors import AwsError
from stagedoor.wire import patterns, quirks

if TYPE_CHECKING:
    from botocore.model import OperationModel

_LONGEST_SHOWN_VALUE = 2048
_NOT_NULL = "Member must not be null"


@dataclass(frozen=True, slots=True)
class Violation:
    """One violated constraint: of which member, where, with which value, and what it must be."""

    member: str
    shape: Any
    path: str
    value: Any
    constraint: str
    kind: str  # required, enum, pattern, length, range, union, element

    def text(self) -> str:
        return f"Value{_shown(self.shape, self.value)} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def request(operation: "OperationModel", params: Mapping[str, Any]) -> None:
    """Raises one AwsError with the service's own code and text when a constraint of the input is violated."""
    if operation.input_shape is None:
        return
    found = list(violations(operation.input_shape, params, _prefix(operation)))
    if found:
        raise _error(operation, found)


@cache
def _prefix(operation: "OperationModel") -> str:
    """What the service puts before the names of members."""
    prefix = quirks.of(operation.service_model.service_name).path_prefix
    return prefix.format(operation=operation.name[:1].lower() + operation.name[1:])


def violations(shape: Any, value: Any, prefix: str = "") -> Iterator[Violation]:
    """Every violation in a structure, in the model's order; members are named with ``prefix`` before them."""
    return _structure(shape, value, prefix)


def _structure(shape: Any, value: Any, path: str) -> Iterator[Violation]:
    if shape.is_document_type:
        return
    if shape.is_tagged_union and len(value) != 1:
        yield Violation(
            "", shape, path.rstrip(".") or "input", value, "Member must have exactly one member set", "union"
        )
    required = _required(shape)
    for name, (member, shown) in _members(shape).items():
        item = value.get(name)
        place = f"{path}.{shown}" if path and path[-1] != "." else path + shown
        if item is not None:
            yield from _value(name, member, item, place)
        elif name in required:
            yield Violation(name, member, place, None, _NOT_NULL, "required")


@cache
def _required(shape: Any) -> frozenset[str]:
    return frozenset(shape.required_members)


@cache
def _members(shape: Any) -> dict[str, tuple[Any, str]]:
    """Members with their names as AWS shows them."""
    return {name: (member, name[:1].lower() + name[1:]) for name, member in shape.members.items()}


def _value(name: str, shape: Any, value: Any, path: str) -> Iterator[Violation]:
    match shape.type_name:
        case "structure":
            yield from _structure(shape, value, path)
        case "list":
            yield from _length(name, shape, value, path)
            yield from _elements(name, shape, value, path)
        case "map":
            yield from _length(name, shape, value, path)
            yield from _entries(name, shape, value, path)
        case _:
            for kind, constraint in _violated(shape, value):
                yield Violation(name, shape, path, value, constraint, kind)


def _length(name: str, shape: Any, value: Any, path: str) -> Iterator[Violation]:
    for constraint in _outside_length(shape, len(value)):
        yield Violation(name, shape, path, value, constraint, "length")


def _elements(name: str, shape: Any, value: Any, path: str) -> Iterator[Violation]:
    member = shape.member
    if member.type_name in ("structure", "list", "map"):
        for index, item in enumerate(value, 1):
            place = f"{path}.{index}.member"
            if item is None:
                yield Violation(name, member, place, None, _NOT_NULL, "required")
            else:
                yield from _value(name, member, item, place)
        return
    rules = constraints(member)
    refused = False
    for index, item in enumerate(value, 1):
        if item is None:
            yield Violation(name, member, f"{path}.{index}.member", None, _NOT_NULL, "required")
        elif not refused and rules:
            refused = next(_violated(member, item), None) is not None
    if refused:
        text = f"Member must satisfy constraint: [{', '.join(rules)}]"
        yield Violation(name, shape, path, value, text, "element")


def _entries(name: str, shape: Any, value: Any, path: str) -> Iterator[Violation]:
    if any(next(_violated(shape.key, key), None) is not None for key in value):
        text = f"Map keys must satisfy constraint: [{', '.join(constraints(shape.key))}]"
        yield Violation(name, shape, path, value, text, "element")
    member = shape.value
    refused = False
    for key, item in value.items():
        place = f"{path}.{key}.member"
        if item is None:
            yield Violation(name, member, place, None, _NOT_NULL, "required")
        elif member.type_name in ("structure", "list", "map"):
            yield from _value(name, member, item, place)
        elif not refused:
            refused = next(_violated(member, item), None) is not None
    if refused:
        text = f"Map value must satisfy constraint: [{', '.join(constraints(member))}]"
        yield Violation(name, shape, path, value, text, "element")


@cache
def constraints(shape: Any) -> tuple[str, ...]:
    """Every constraint of a scalar shape in AWS's words, in the order AWS lists them."""
    metadata = shape.metadata
    texts: list[str] = []
    if shape.type_name in ("string", "blob"):
        texts += _length_limits(metadata)
    elif shape.type_name in ("integer", "long", "float", "double"):
        texts += _range_limits(metadata)
    if "pattern" in metadata:
        texts.append(_pattern_text(metadata["pattern"]))
    if metadata.get("enum"):
        texts.append(_enum_text(shape))
    return tuple(texts)


def _violated(shape: Any, value: Any) -> Iterator[tuple[str, str]]:
    """Kind and text of each constraint that a scalar value violates."""
    metadata = shape.metadata
    match shape.type_name:
        case "string" if isinstance(value, str):
            for text in _outside_length(shape, len(value)):
                yield "length", text
            if "pattern" in metadata and not patterns.matches(metadata["pattern"], value):
                yield "pattern", _pattern_text(metadata["pattern"])
            if metadata.get("enum") and value not in metadata["enum"]:
                yield "enum", _enum_text(shape)
        case "blob" if isinstance(value, bytes):
            for text in _outside_length(shape, len(value)):
                yield "length", text
        case "integer" | "long" | "float" | "double":
            for text in _outside_range(metadata, value):
                yield "range", text
        case _:
            return


def _outside_length(shape: Any, length: int) -> Iterator[str]:
    metadata = shape.metadata
    if "max" in metadata and length > metadata["max"]:
        yield f"Member must have length less than or equal to {metadata['max']}"
    if "min" in metadata and length < metadata["min"]:
        yield f"Member must have length greater than or equal to {metadata['min']}"


def _outside_range(metadata: Mapping[str, Any], value: float) -> Iterator[str]:
    # A NaN is in no range.
    if "max" in metadata and not value <= metadata["max"]:
        yield f"Member must have value less than or equal to {metadata['max']}"
    if "min" in metadata and not value >= metadata["min"]:
        yield f"Member must have value greater than or equal to {metadata['min']}"


def _length_limits(metadata: Mapping[str, Any]) -> Iterator[str]:
    if "max" in metadata:
        yield f"Member must have length less than or equal to {metadata['max']}"
    if "min" in metadata:
        yield f"Member must have length greater than or equal to {metadata['min']}"


def _range_limits(metadata: Mapping[str, Any]) -> Iterator[str]:
    if "max" in metadata:
        yield f"Member must have value less than or equal to {metadata['max']}"
    if "min" in metadata:
        yield f"Member must have value greater than or equal to {metadata['min']}"


def _pattern_text(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _enum_values(shape: Any) -> str:
    return f"[{', '.join(shape.metadata['enum'])}]"


def _enum_text(shape: Any) -> str:
    return f"Member must satisfy enum value set: {_enum_values(shape)}"


def _shown(shape: Any, value: Any) -> str:
    """`` null``, `` 'value'``, or nothing at all for what must not be shown."""
    if value is None:
        return " null"
    if shape.metadata.get("sensitive") or shape.type_name == "blob":
        return ""
    text = _plain(shape, value)
    return f" '{text if len(text) <= _LONGEST_SHOWN_VALUE else text[:_LONGEST_SHOWN_VALUE] + '...'}'"


def _plain(shape: Any, value: Any) -> str:
    """A value as AWS's Java prints it; what is sensitive below stays hidden."""
    if value is None:
        return "null"
    if shape.metadata.get("sensitive"):
        return "***"
    match shape.type_name:
        case "list":
            return f"[{', '.join(_plain(shape.member, item) for item in value)}]"
        case "map":
            return f"{{{', '.join(f'{key}={_plain(shape.value, item)}' for key, item in value.items())}}}"
        case "structure":
            members = shape.members
            shown = ", ".join(
                f"{name}={_plain(members[name], item)}" for name, item in value.items() if name in members
            )
            return f"{shape.name}({shown})"
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return value.isoformat() if isinstance(value, datetime) else str(value)
        case "blob":
            return "***"
        case _:
            return str(value)


def _error(operation: "OperationModel", found: list[Violation]) -> AwsError:
    known = quirks.of(operation.service_model.service_name)
    for violation in found:
        worded = _own_words(known, violation)
        if worded is not None:
            return worded
    if known.missing_in_body_code:
        return _schema_error(operation, known, found[0])
    plural = "error" if len(found) == 1 else "errors"
    texts = "; ".join(violation.text() for violation in found)
    return AwsError(known.validation_code, f"{len(found)} validation {plural} detected: {texts}", status=400)


def _own_words(known: quirks.Quirks, violation: Violation) -> AwsError | None:
    """The error of a constraint that the service words by itself."""
    if violation.kind == "enum" and violation.member in known.enum_errors:
        worded = known.enum_errors[violation.member]
        text = worded["message"].format(
            value=violation.value, path=violation.path, values=_enum_values(violation.shape)
        )
        return AwsError(worded["code"], text, status=400)
    if violation.kind == "required" and violation.member in known.missing_errors:
        missing = known.missing_errors[violation.member]
        return AwsError(
            missing["code"],
            missing["message"],
            status=missing.get("status", 400),
            members=missing.get("members"),
            headers=missing.get("headers"),
        )
    if violation.kind == "pattern":
        text = known.pattern_errors.get(violation.shape.metadata["pattern"])
        if text is not None:
            return AwsError(known.validation_code, text.format(path=violation.path), status=400)
    return None


def _schema_error(operation: "OperationModel", known: quirks.Quirks, violation: Violation) -> AwsError:
    """S3 checks bodies against a schema and headers one by one."""
    shape = operation.input_shape
    top = next((m for m in (shape.members if shape is not None else {}) if _covers(m, violation.path)), "")
    member: Any = shape.members[top] if shape is not None and top else None
    location = member.serialization.get("location") if member is not None else None
    name = member.serialization.get("name", top) if member is not None else violation.path
    if location is None:
        if violation.kind == "required" and "." not in violation.path:
            return AwsError("MissingRequestBodyError", "Request Body is empty", status=400)
        return AwsError(known.missing_in_body_code, known.serialization_message, status=400)
    if violation.kind == "required":
        what = "header" if location in ("header", "headers") else "parameter"
        return AwsError(
            known.missing_header_code, f"Missing required {what} for this request: {name}", status=400
        )
    return AwsError(
        known.validation_code,
        f"The value of {name} is not valid: {violation.constraint}",
        status=400,
        members={"ArgumentName": name, "ArgumentValue": str(violation.value)},
    )


def _covers(member: str, path: str) -> bool:
    shown = member[:1].lower() + member[1:]
    return path == shown or path.startswith(f"{shown}.")
