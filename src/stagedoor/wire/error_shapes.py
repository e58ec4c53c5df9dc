"""The errors of one service, read from its model file without botocore's code: for processes that answer one operation.

Place in the flow: ``front.invocations`` has ``wire.errors`` write its errors with these. Importing ``botocore.model`` and keeping whole
models would cost a front process several times what it needs.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from stagedoor.wire import models

_SCALARS: Final = frozenset({"string", "integer", "long", "boolean"})


@dataclass(frozen=True, slots=True)
class ErrorMember:
    """A member of an error's shape, under the names that botocore's shapes have."""

    type_name: str
    serialization: dict[str, str]


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """The shape of an error, under the names that botocore's shapes have."""

    name: str
    error_code: str
    metadata: dict[str, Any]
    members: dict[str, ErrorMember]


@dataclass(frozen=True, slots=True)
class ServiceErrors:
    """What ``wire.errors`` asks of a service when the operation's own model is not at hand. ``errors`` by code and by name."""

    name: str
    errors: dict[str, ErrorShape]
    faults: frozenset[str]
    query_compatible: bool = False
    json_version: str = "1.1"
    xml_namespace: str = field(default="", repr=False)


@cache
def errors_of(name: str) -> ServiceErrors:
    """The errors of the service called ``name`` as boto3 calls it. ValueError when one of them has members that are no scalars."""
    contents = models.description(name)
    shapes: dict[str, dict[str, Any]] = contents["shapes"]
    found: dict[str, ErrorShape] = {}
    for shape_name, shape in shapes.items():
        if shape.get("exception"):
            error: dict[str, Any] = shape.get("error", {})
            members = {
                member_name: _member(shapes, member) for member_name, member in shape["members"].items()
            }
            found[shape_name] = ErrorShape(
                shape_name, error.get("code", shape_name), {"error": error}, members
            )
    by_code = {shape.error_code: shape for shape in found.values()}
    return ServiceErrors(name, found | by_code, models.faults_of(contents))


def _member(shapes: dict[str, dict[str, Any]], member: dict[str, Any]) -> ErrorMember:
    type_name = str(shapes[member["shape"]]["type"])
    if type_name not in _SCALARS:
        raise ValueError(f"an error with a member of type {type_name}")
    places = {"locationName": "name", "location": "location"}
    return ErrorMember(type_name, {new: str(member[old]) for old, new in places.items() if old in member})
