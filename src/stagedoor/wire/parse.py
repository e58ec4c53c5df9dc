"""A routed request to the parameters of its operation, in the model's shapes: between ``routes`` and ``validate``."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from stagedoor.domain.errors import AwsError
from stagedoor.wire import (
    cbor,
    parse_cbor,
    parse_json,
    parse_query,
    query_string,
    quirks,
    routes,
    scalars,
    xml_tree,
)
from stagedoor.wire.parse_xml import XmlReader
from stagedoor.wire.requests import UnreadableError, WireRequest

if TYPE_CHECKING:
    from botocore.model import OperationModel, StructureShape

MAX_INFLATED_BYTES = 64 * 1024 * 1024


def request(
    operation: "OperationModel", protocol: str, wire_request: WireRequest, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The parameters of a request: strings, int/float, bool, bytes, aware datetimes, lists and dicts.

    A streaming payload that is not ``bytes`` is passed on as it is. Only modelled members are returned: AWS ignores
    others on the wire, and so does this function, except where a service enforces its schema (S3's XML bodies).
    AwsError ``SerializationException``, ``MalformedXML``, ``InvalidArgument``, … when something cannot be read.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    try:
        match protocol:
            case "json":
                return _json(operation, wire_request)
            case "smithy-rpc-v2-cbor":
                return _cbor(operation, wire_request)
            case "query":
                return _query(operation, wire_request)
            case _:
                return _rest_plan(operation, protocol).read(wire_request, labels)
    except UnreadableError as error:
        raise _unreadable(operation, error) from error
    except RecursionError as error:
        raise _unreadable(operation, UnreadableError("the body is nested too deeply")) from error


def _unreadable(operation: "OperationModel", error: UnreadableError) -> AwsError:
    known = quirks.of(operation.service_model.service_name)
    return AwsError(known.serialization_code, known.serialization_message or str(error), status=400)


def _bytes(operation: "OperationModel", wire_request: WireRequest) -> bytes:
    """The body of a request that is not passed through; inflated where the model says clients may compress it."""
    body = wire_request.body
    if not isinstance(body, bytes):
        raise TypeError(f"{operation.name} needs its whole body, not {type(body).__name__}")
    encoding = wire_request.headers.get("content-encoding", "")
    if not encoding or not body:
        return body
    allowed = (operation.request_compression or {}).get("encodings", [])
    if encoding.strip().lower() != "gzip" or "gzip" not in allowed:
        raise UnreadableError(f"a body with Content-Encoding {encoding[:64]!r} is not accepted here")
    return _inflate(body)


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        result = inflater.decompress(body, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise UnreadableError(f"the body is not gzip: {error}") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise UnreadableError(f"the gzip body is cut off, or larger than {MAX_INFLATED_BYTES} bytes")
    return result


def _json(operation: "OperationModel", wire_request: WireRequest) -> dict[str, Any]:
    body = _bytes(operation, wire_request)
    shape: Any = operation.input_shape
    return parse_json.value_of(shape, parse_json.load(body)) if body else {}


def _cbor(operation: "OperationModel", wire_request: WireRequest) -> dict[str, Any]:
    body = _bytes(operation, wire_request)
    shape: Any = operation.input_shape
    return parse_cbor.value_of(shape, cbor.load(body)) if body else {}


def _query(operation: "OperationModel", wire_request: WireRequest) -> dict[str, Any]:
    body = _bytes(operation, wire_request)
    plain = WireRequest(
        wire_request.method, wire_request.path, wire_request.query, wire_request.headers, body
    )
    shape: Any = operation.input_shape
    return parse_query.value_of(shape, routes.form_parameters(plain))


@dataclass(frozen=True, slots=True)
class _Binding:
    """Where one member of a REST input travels outside the body."""

    member: str
    wire_name: str
    shape: Any


class _RestPlan:
    """How to read the requests of one REST operation; made once per operation."""

    def __init__(self, operation: "OperationModel", protocol: str) -> None:
        self._operation = operation
        shape = operation.input_shape
        if shape is None:
            raise ValueError(f"{operation.name} has no input")
        self._shape: StructureShape = shape
        known = quirks.of(operation.service_model.service_name)
        self._xml = protocol == "rest-xml"
        self._argument_code = known.validation_code if self._xml else ""
        self._unreadable = known.unreadable_arguments
        self._labels: list[_Binding] = []
        self._query: list[_Binding] = []
        self._query_maps: list[_Binding] = []
        self._headers: list[_Binding] = []
        self._header_maps: list[_Binding] = []
        self._has_body_members = False
        places = {
            "uri": self._labels,
            "querystring": self._query,
            "header": self._headers,
            "headers": self._header_maps,
        }
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            wire_name = member.serialization.get("name", name)
            if location not in places:
                self._has_body_members = True
                continue
            place = places[location]
            if location == "querystring" and member.type_name == "map":
                place = self._query_maps
            if location in ("header", "headers"):
                wire_name = wire_name.lower()
            place.append(_Binding(name, wire_name, member))
        # A map of query parameters holds those that are not members of their own.
        static = operation.http["requestUri"].partition("?")[2]
        self._claimed = {part.partition("=")[0] for part in static.split("&") if part}
        self._claimed |= {binding.wire_name for binding in self._query}
        self._payload: str | None = shape.serialization.get("payload")
        self._read_document: Callable[[bytes, Any], Any] = (
            _read_json
            if protocol == "rest-json"
            else _xml_document(operation, strict=known.unknown_elements == "refuse")
        )

    def read(self, wire_request: WireRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for binding in self._labels:
            if binding.wire_name in labels:
                result[binding.member] = self._text(binding, labels[binding.wire_name])
        if wire_request.query and (self._query or self._query_maps):
            self._read_query(wire_request.query, result)
        headers = wire_request.headers
        for binding in self._headers:
            text = headers.get(binding.wire_name)
            if text is not None:
                result[binding.member] = self._header(binding, text)
        for binding in self._header_maps:
            prefix = binding.wire_name
            found = {name[len(prefix) :]: text for name, text in headers.items() if name.startswith(prefix)}
            if found:
                result[binding.member] = found
        if self._payload is not None:
            self._read_payload(self._payload, wire_request, result)
        elif self._has_body_members:
            body = _bytes(self._operation, wire_request)
            if body:
                result.update(self._read_document(body, self._shape))
        return result

    def _text(self, binding: _Binding, text: str) -> Any:
        try:
            return scalars.from_text(binding.shape, text, binding.member)
        except UnreadableError as error:
            if not self._argument_code:
                raise
            # S3 names the parameter in members of the error's own.
            raise AwsError(
                self._argument_code,
                self._unreadable.get(binding.wire_name)
                or f"The value of {binding.wire_name} cannot be used: {error.reason}.",
                status=400,
                members={"ArgumentName": binding.wire_name, "ArgumentValue": text},
            ) from error

    def _header(self, binding: _Binding, text: str) -> Any:
        shape = binding.shape
        if shape.type_name != "list":
            return self._text(binding, text)
        member = _Binding(binding.member, binding.wire_name, shape.member)
        if shape.member.type_name == "timestamp":
            return [self._text(member, part) for part in _split_dates(text)]
        return [self._text(member, part) for part in split_list(text)]

    def _read_query(self, query: str, result: dict[str, Any]) -> None:
        try:
            given = query_string.grouped(query)
        except ValueError as error:
            raise UnreadableError(f"the query string cannot be decoded: {error}") from error
        for binding in self._query:
            values = given.get(binding.wire_name)
            if values is None:
                continue
            if binding.shape.type_name == "list":
                member = _Binding(binding.member, binding.wire_name, binding.shape.member)
                result[binding.member] = [self._text(member, value) for value in values]
            else:
                result[binding.member] = self._text(binding, values[0])
        for binding in self._query_maps:
            rest = {
                name: values if binding.shape.value.type_name == "list" else values[0]
                for name, values in given.items()
                if name not in self._claimed and not name.startswith("X-Amz-")
            }
            if rest:
                result[binding.member] = rest

    def _read_payload(self, name: str, wire_request: WireRequest, result: dict[str, Any]) -> None:
        shape = self._shape.members[name]
        body = wire_request.body
        if shape.type_name == "blob":
            if not isinstance(body, bytes) or body or self._shape.required_members.count(name):
                result[name] = body
            return
        raw = _bytes(self._operation, wire_request)
        if not raw:
            return
        if shape.type_name == "string":
            try:
                result[name] = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UnreadableError("the body is not UTF-8", name) from error
        else:
            value = self._read_document(raw, shape)
            # Clients of rest-json send `{}` for a payload they do not have.
            if value != {} or self._xml or name in self._shape.required_members:
                result[name] = value


def _read_json(body: bytes, shape: Any) -> Any:
    return parse_json.value_of(shape, parse_json.load(body))


def _xml_document(operation: "OperationModel", *, strict: bool) -> Callable[[bytes, Any], Any]:
    reader = XmlReader(strict=strict)

    def read(body: bytes, shape: Any) -> Any:
        root = xml_tree.load(body)
        wanted = shape.serialization.get("name")
        if strict and wanted and root.name != wanted:
            raise UnreadableError(f"the root element is {root.name[:64]!r}, not {wanted!r}")
        return reader.value_of(shape, root)

    return read


def split_list(text: str) -> list[str]:
    """The values of a header's list; a value in double quotes may hold commas and escaped quotes."""
    values: list[str] = []
    current: list[str] = []
    quoted = was_quoted = False
    characters = iter(text)
    for character in characters:
        if quoted and character == "\\":
            current.append(next(characters, ""))
        elif character == '"' and (quoted or not "".join(current).strip()):
            quoted = not quoted
            was_quoted = True
            if quoted:
                current.clear()
        elif character == "," and not quoted:
            values.append(_finished(current, was_quoted))
            current, was_quoted = [], False
        else:
            current.append(character)
    if current or was_quoted or values:
        values.append(_finished(current, was_quoted))
    return values


def _finished(characters: list[str], was_quoted: bool) -> str:
    text = "".join(characters)
    return text if was_quoted else text.strip()


def _split_dates(text: str) -> list[str]:
    """HTTP dates hold a comma themselves (``Mon, 16 Dec 2019 …``)."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) % 2 == 0 and all(part.isalpha() for part in parts[::2]):
        return [f"{day}, {rest}" for day, rest in zip(parts[::2], parts[1::2], strict=True)]
    return parts


@cache
def _rest_plan(operation: "OperationModel", protocol: str) -> _RestPlan:
    return _RestPlan(operation, protocol)
