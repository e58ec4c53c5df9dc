"""Ways to spoil a good request: what a client with a fault, or somebody curious, may send after signing it well."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from journeys.operations import Operation, WrittenRequest

LONG = "x" * 5_000
# For each type of a member, values that JSON can say and that are of another type.
WRONG_JSON: dict[str, tuple[Any, ...]] = {
    "string": (5, [], {"a": 1}, True),
    "integer": ("five", [], {}, 1.5, 10**30),
    "long": ("five", [], {}, 1e400),
    "float": ("much", [], {}),
    "double": ("much", [], {}),
    "boolean": ("yes", 1, []),
    "timestamp": ("yesterday-ish", [], {}, 1e300),
    "blob": (5, [], "not base64!"),
    "list": ("x", 5, {"a": 1}, [[[]]]),
    "map": ("x", 5, [], [{}]),
    "structure": ("x", 5, [], [{}]),
}
GARBAGE = {
    "json": (b"{", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 100),
    "query": (b"Action=%zz", b"\xff\xfe", b"=", b"Action=&Version=", b"Action=Nothing&Version=2010-05-08", b"a" * 100_000),
    "rest-xml": (b"<", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff\xfe\x00", b"{}", b"<a>" * 50_000),
    "smithy-rpc-v2-cbor": (b"{", b"\xa1", b"\xff", b"\x80", b"\xf6", b"\x00", b"\xff\xfe\x00", b"\x81" * 100_000, b"\xbf\x61a" * 50_000),
}  # fmt: skip
GARBAGE["rest-json"] = GARBAGE["json"]


def without_required_members(operation: Operation) -> Iterator[tuple[str, WrittenRequest]]:
    """One request for each required member that a client can leave out."""
    shape = operation.model.input_shape
    if shape is None:
        return
    whole = operation.smallest()
    for name in shape.required_members:
        if shape.members[name].serialization.get("location") == "uri":
            continue  # without it, the path is another one
        yield (
            f"without {name}",
            operation.request({key: item for key, item in whole.items() if key != name}),
        )


def with_wrong_types(operation: Operation) -> Iterator[tuple[str, WrittenRequest]]:
    """One request for each wrong type of each member of a JSON body."""
    if operation.protocol not in {"json", "rest-json"}:
        return
    shape = operation.model.input_shape
    if shape is None or shape.serialization.get("payload"):
        return
    whole = operation.request(operation.smallest())
    document = json.loads(whole.body or b"{}") if not whole.body or whole.body[:1] == b"{" else None
    if document is None:
        return
    for name, member in operation.members.items():
        if member.serialization.get("location") or member.serialization.get("streaming"):
            continue
        wire_name = member.serialization.get("name", name)
        for value in WRONG_JSON[member.type_name]:
            body = json.dumps({**document, wire_name: value}).encode()
            yield f"{name} = {str(value)[:20]!r}", whole.but(body=body)


def with_garbage(operation: Operation) -> Iterator[tuple[str, WrittenRequest]]:
    """The body is not what the protocol says; for operations whose input has one."""
    whole = operation.request(operation.smallest())
    if operation.protocol in {"rest-json", "rest-xml"} and not has_document(operation):
        return
    for body in GARBAGE[operation.protocol]:
        yield f"body {body[:20]!r}", whole.but(body=body)


def has_document(operation: Operation) -> bool:
    """Whether the body of a request is a document of the protocol (no stream, no text of the caller's own)."""
    shape = operation.model.input_shape
    if shape is None:
        return False
    payload = shape.serialization.get("payload")
    if payload is not None:
        return shape.members[payload].type_name == "structure"
    return any(not member.serialization.get("location") for member in shape.members.values())


def with_odd_values(operation: Operation, whole: dict[str, Any]) -> Iterator[tuple[str, WrittenRequest]]:
    """Values that a client would let through and that hardly anything allows, in place of those of ``whole``."""
    for name, member in operation.members.items():
        for value in _odd_values(member):
            in_head = member.serialization.get("location") in {"header", "uri"}
            sent = quote(value) if in_head and isinstance(value, str) and not value.isascii() else value
            yield f"{name} = {str(sent)[:20]!r}", operation.request({**whole, name: sent})


def _odd_values(member: Any) -> tuple[Any, ...]:
    match member.type_name:
        case "string":
            return (LONG, "../../etc/passwd", "a b\tc", "näme", "arn:aws:x:y:z", "%00", "*")
        case "integer" | "long":
            return (-1, 2**31, 2**63)
        case "list":
            return ([],)
        case "map":
            return ({},)
        case "blob":
            return (b"\x00\xff" * 10,)
        case _:
            return ()
