"""Event stream framing (``application/vnd.amazon.eventstream``): one message per event of a streaming answer.

A message: total length, headers' length, CRC of these two, headers, payload, CRC of all before; numbers big-endian.
"""

import struct
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stagedoor.wire import quirks, render_cbor, render_json, render_xml, timestamps

if TYPE_CHECKING:
    from botocore.model import OperationModel

CONTENT_TYPE = "application/vnd.amazon.eventstream"

HeaderValue = bool | int | bytes | str | datetime | UUID
_LONGEST_PAYLOAD = 16 * 1024 * 1024 - 131_072 - 16


def encode(event_type: str, payload: bytes, headers: Mapping[str, HeaderValue] | None = None) -> bytes:
    """One event message. ``headers`` are further ones (``:content-type`` among them); they come after the type."""
    return message({":message-type": "event", ":event-type": event_type, **(headers or {})}, payload)


def encode_exception(exception_type: str, payload: bytes, content_type: str = "application/json") -> bytes:
    """A modelled error in the middle of a stream; the last message."""
    headers: dict[str, HeaderValue] = {
        ":message-type": "exception",
        ":exception-type": exception_type,
        ":content-type": content_type,
    }
    return message(headers, payload)


def encode_error(code: str, text: str) -> bytes:
    """An error that is not modelled, in the middle of a stream; the last message."""
    return message({":message-type": "error", ":error-code": code, ":error-message": text}, b"")


def message(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """One message with the given headers. ValueError when the payload is too long for one."""
    if len(payload) > _LONGEST_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes is too long for one event")
    raw = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + raw + payload
    return start + struct.pack(">I", zlib.crc32(start))


def _header(name: str, value: HeaderValue) -> bytes:
    raw = name.encode("utf-8")
    return bytes((len(raw),)) + raw + _header_value(value)


def _header_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case int():
            return (
                b"\x04" + struct.pack(">i", value)
                if -(1 << 31) <= value < 1 << 31
                else b"\x05" + struct.pack(">q", value)
            )
        case bytes():
            return b"\x06" + struct.pack(">H", len(value)) + value
        case str():
            raw = value.encode("utf-8")
            return b"\x07" + struct.pack(">H", len(raw)) + raw
        case datetime():
            return b"\x08" + struct.pack(">q", round(timestamps.epoch(value) * 1000))
        case UUID():
            return b"\x09" + value.bytes


def event(operation: "OperationModel", protocol: str, name: str, value: Mapping[str, Any]) -> bytes:
    """One event of an operation's answer, from the model: ``name`` is the stream's member, ``value`` its structure."""
    stream: Any = operation.get_event_stream_output()
    if stream is None or name not in stream.members:
        raise KeyError(f"{operation.name} has no event {name}")
    shape: Any = stream.members[name]
    headers: dict[str, HeaderValue] = {}
    payload, content_type = b"", ""
    has_payload_member = False
    for key, member in shape.members.items():
        given = value.get(key)
        if member.serialization.get("eventpayload"):
            has_payload_member = True
            if given is not None:
                payload, content_type = _payload(operation, protocol, member, key, given)
        elif member.serialization.get("eventheader") and given is not None:
            headers[key] = timestamps.to_datetime(given) if member.type_name == "timestamp" else given
    if not has_payload_member and shape.members:
        payload, content_type = _document(operation, protocol, shape, name, value)
    if content_type:
        headers = {":content-type": content_type, **headers}
    if shape.metadata.get("exception"):
        return encode_exception(name, payload, content_type or "application/json")
    return encode(name, payload, headers)


def initial_response(operation: "OperationModel", protocol: str, result: Mapping[str, Any]) -> bytes:
    """The first message of a stream in an rpc protocol: the members of the answer beside the stream."""
    shape: Any = operation.output_shape
    rest = {key: value for key, value in result.items() if key != shape.event_stream_name}
    payload, content_type = _document(operation, protocol, shape, operation.name, rest)
    return encode("initial-response", payload, {":content-type": content_type})


def _payload(
    operation: "OperationModel", protocol: str, shape: Any, name: str, value: Any
) -> tuple[bytes, str]:
    if shape.type_name == "blob":
        return value, "application/octet-stream"
    if shape.type_name == "string":
        return value.encode("utf-8"), "text/plain"
    return _document(operation, protocol, shape, name, value)


def _document(
    operation: "OperationModel", protocol: str, shape: Any, name: str, value: Any
) -> tuple[bytes, str]:
    if protocol == "rest-xml":
        writer = render_xml.XmlWriter(quirks.of(operation.service_model.service_name))
        text = writer.structure(shape, shape.serialization.get("name", name), value)
        return text.encode("utf-8"), "text/xml"
    if protocol == "smithy-rpc-v2-cbor":
        return render_cbor.structure(shape, value), "application/cbor"
    return render_json.dump(render_json.structure(shape, value)), "application/json"
