"""An operation's result to the answer of its protocol: the last step of a request that went well."""

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stagedoor.wire import quirks, render_cbor, render_json, render_text, render_xml
from stagedoor.wire.answer import Answer, request_id_headers
from stagedoor.wire.eventstream import CONTENT_TYPE as EVENT_STREAM

if TYPE_CHECKING:
    from botocore.model import OperationModel

__all__ = ["Answer", "serialise"]

_ENDS_LINE = re.compile(r"[\r\n\0]").search


def serialise(
    operation: "OperationModel", protocol: str, result: Mapping[str, Any], request_id: str
) -> Answer:
    """The answer for a result in the model's output shape.

    Members that are absent or None are left out. Timestamps may be datetimes or seconds since the epoch. A streaming
    payload that is not ``bytes`` or ``str`` becomes the answer's body untouched. Keys of S3 listings are given plain:
    they are percent-encoded here when the result says ``EncodingType: url``; IAM's policy documents likewise.
    """
    plan = _plan(operation, protocol)
    plan.refuse_unknown(result)
    match protocol:
        case "json":
            return plan.json(result, request_id)
        case "smithy-rpc-v2-cbor":
            return plan.cbor(result, request_id)
        case "query":
            return plan.query(result, request_id)
        case _:
            return plan.rest(result, request_id)


class _Plan:
    """How to write the answers of one operation in one protocol; made once."""

    def __init__(self, operation: "OperationModel", protocol: str) -> None:
        self._operation = operation
        self._protocol = protocol
        service = operation.service_model
        self._metadata: Mapping[str, Any] = service.metadata
        self._quirks = quirks.of(service.service_name)
        self._xml = render_xml.XmlWriter(self._quirks)
        self._shape: Any = operation.output_shape
        self._members: Mapping[str, Any] = self._shape.members if self._shape is not None else {}
        self._status: int = operation.http.get("responseCode") or 200
        self._status_member: str | None = None
        self._headers: list[tuple[str, str, Any]] = []
        self._header_maps: list[tuple[str, str, Any]] = []
        self._has_body_members = False
        self._payload: str | None = (
            self._shape.serialization.get("payload") if self._shape is not None else None
        )
        self._event_member: str | None = self._shape.event_stream_name if self._shape is not None else None
        for name, member in self._members.items():
            self._place(name, member)
        self._url_encoded = self._quirks.url_encoded.get(operation.name, [])

    def _place(self, name: str, member: Any) -> None:
        wire_name = member.serialization.get("name", name)
        match member.serialization.get("location"):
            case "statusCode":
                self._status_member = name
            case "header":
                self._headers.append((name, wire_name, member))
            case "headers":
                self._header_maps.append((name, wire_name, member))
            case _:
                self._has_body_members = True

    def refuse_unknown(self, result: Mapping[str, Any]) -> None:
        """A result member the model does not have is a mistake in a handler, never to be dropped in silence."""
        for name in result:
            if name not in self._members:
                raise KeyError(f"{self._operation.name} has no output member {name}")

    def json(self, result: Mapping[str, Any], request_id: str) -> Answer:
        headers = [("Content-Type", f"application/x-amz-json-{self._metadata.get('jsonVersion', '1.1')}")]
        headers += request_id_headers(self._quirks.request_id_header, request_id)
        if self._event_member and result.get(self._event_member) is not None:
            return self._events(result[self._event_member], headers)
        body = (
            render_json.dump(render_json.structure(self._shape, result)) if self._shape is not None else b"{}"
        )
        return Answer(200, headers, body)

    def cbor(self, result: Mapping[str, Any], request_id: str) -> Answer:
        headers = [("smithy-protocol", "rpc-v2-cbor")]
        headers += request_id_headers(self._quirks.request_id_header, request_id)
        if self._shape is None:
            return Answer(200, headers)
        if self._event_member and result.get(self._event_member) is not None:
            return self._events(result[self._event_member], headers)
        headers.insert(0, ("Content-Type", "application/cbor"))
        return Answer(200, headers, render_cbor.structure(self._shape, result))

    def query(self, result: Mapping[str, Any], request_id: str) -> Answer:
        name = self._operation.name
        inner = ""
        if self._shape is not None:
            wrapper = self._shape.serialization.get("resultWrapper", f"{name}Result")
            inner = self._xml.structure(self._shape, wrapper, result)
        metadata = render_xml.element(
            "ResponseMetadata", render_xml.element("RequestId", render_xml.escape(request_id))
        )
        uri = self._metadata.get("xmlNamespace")
        body = render_xml.element(f"{name}Response", inner + metadata, [("xmlns", uri)] if uri else [])
        headers = [("Content-Type", "text/xml")]
        headers += request_id_headers(self._quirks.request_id_header, request_id)
        return Answer(200, headers, body.encode("utf-8"))

    def rest(self, result: Mapping[str, Any], request_id: str) -> Answer:
        if self._url_encoded and result.get("EncodingType") == "url":
            result = url_encoded(result, self._url_encoded)
        status = self._status
        if self._status_member is not None and result.get(self._status_member) is not None:
            status = int(result[self._status_member])
        headers = request_id_headers(self._quirks.request_id_header, request_id)
        headers += self.member_headers(result)
        body, content_type = self._rest_body(result)
        if content_type and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", content_type))
        return Answer(status, headers, body)

    def member_headers(self, result: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The members that travel as headers. ValueError for a value that would end the header's line."""
        fraction = self._quirks.iso8601_fraction
        headers = [
            (wire_name, render_text.header_of(member, result[name], fraction))
            for name, wire_name, member in self._headers
            if result.get(name) is not None and not (member.type_name == "list" and not result[name])
        ]
        for name, prefix, _ in self._header_maps:
            entries: Mapping[str, Any] = result.get(name) or {}
            headers += [(prefix + key, str(text)) for key, text in entries.items()]
        for name, text in headers:
            if _ENDS_LINE(name) or _ENDS_LINE(text):
                raise ValueError(f"the header {name!r} would hold a line end")
        return headers

    def _rest_body(self, result: Mapping[str, Any]) -> tuple[bytes | object, str]:
        """The body and its content type; no type where there is no body."""
        if self._payload is not None:
            return self._payload_body(self._payload, result.get(self._payload))
        if not self._has_body_members:
            # An output that is modelled as a document without members is an empty document in JSON.
            empty_document = self._protocol == "rest-json" and self._shape is not None and not self._members
            return (b"{}", "application/json") if empty_document else (b"", "")
        if self._protocol == "rest-json":
            body = {
                member.serialization.get("name", name): render_json.value_of(member, result[name])
                for name, member in self._members.items()
                if result.get(name) is not None and not render_xml.outside_body(member)
            }
            return render_json.dump(body), "application/json"
        return self._xml_body(result), "application/xml"

    def _xml_body(self, result: Mapping[str, Any]) -> bytes:
        name = self._operation.name
        root = self._quirks.roots.get(name) or self._shape.serialization.get("name") or self._shape.name
        own = self._root_namespace(self._shape)
        text_member = self._quirks.text_roots.get(name)
        if text_member is not None:
            content = render_xml.escape(str(result.get(text_member) or ""))
            return (render_xml.DECLARATION + render_xml.element(root, content, own)).encode("utf-8")
        return (render_xml.DECLARATION + self._xml.structure(self._shape, root, result, own)).encode("utf-8")

    def _root_namespace(self, shape: Any) -> list[tuple[str, str]]:
        if render_xml.namespace(shape):
            return []  # the shape brings its own
        uri: str = self._quirks.answer_namespace or self._metadata.get("xmlNamespace", "")
        return [("xmlns", uri)] if uri else []

    def _payload_body(self, name: str, value: Any) -> tuple[bytes | object, str]:
        shape = self._members[name]
        if shape.serialization.get("eventstream"):
            return (b"" if value is None else value), EVENT_STREAM
        if value is None:
            return b"", ""
        if shape.type_name == "string":
            return str(value).encode("utf-8"), "text/plain"
        if shape.type_name == "blob":
            body = value.encode("utf-8") if isinstance(value, str) else value
            return body, "application/octet-stream"
        if self._protocol == "rest-json":
            return render_json.dump(render_json.value_of(shape, value)), "application/json"
        root = shape.serialization.get("name") or self._payload_root(name, shape)
        text = self._xml.structure(shape, root, value, self._root_namespace(shape))
        return (render_xml.DECLARATION + text).encode("utf-8"), "application/xml"

    def _payload_root(self, name: str, shape: Any) -> str:
        """S3 names the element after the member; the protocol as such after the shape."""
        return name if self._quirks.answer_namespace else shape.name

    @staticmethod
    def _events(stream: Any, headers: list[tuple[str, str]]) -> Answer:
        others = [pair for pair in headers if pair[0] != "Content-Type"]
        return Answer(200, [("Content-Type", EVENT_STREAM), *others], stream)


def url_encoded(result: Mapping[str, Any], members: list[str]) -> dict[str, Any]:
    """A copy of a listing with the named members percent-encoded (``Contents.Key``: in every element of the list)."""
    copy = dict(result)
    for path in members:
        top, _, below = path.partition(".")
        value = copy.get(top)
        if value is None:
            continue
        if not below:
            copy[top] = quote(value, safe="/*-._")
        else:
            copy[top] = [{**item, below: quote(item[below], safe="/*-._")} for item in value]
    return copy


@cache
def _plan(operation: "OperationModel", protocol: str) -> _Plan:
    return _Plan(operation, protocol)
