"""An ``AwsError`` to the answer of the request's protocol: the last step of a request that did not go well."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stagedoor.domain.errors import AwsError
from stagedoor.wire import quirks, render_cbor, render_json, render_text, render_xml
from stagedoor.wire.answer import Answer, host_id, request_id_headers

if TYPE_CHECKING:
    from botocore.model import OperationModel

    from stagedoor.wire.models import Service


# An error is always answered: what would end a header's line becomes a space.
_LINE_ENDS = re.compile(r"[\r\n\0]+")


def serialise(
    service: "Service",
    operation: "OperationModel | None",
    protocol: str,
    error: AwsError,
    request_id: str,
    resource: str | None = None,
    *,
    method: str = "",
) -> Answer:
    """The answer for an error.

    ``operation`` is None when the request did not get that far. ``resource`` is what S3 echoes (the path of the
    request). ``method`` ``HEAD`` leaves the body out; for operations that are modelled as HEAD that happens anyway.
    The status is the error's own, else the model's for that code, else AWS's usual one for the code, else 400.
    """
    shape = error_shape(service, operation, error.code)
    status = status_of(service, shape, protocol, error)
    known = quirks.of(service.name)
    headers = request_id_headers(known.request_id_header, request_id)
    match protocol:
        case "json":
            answer = _json(service, shape, error, status, headers)
        case "smithy-rpc-v2-cbor":
            answer = _cbor(service, shape, error, status, headers)
        case "query":
            answer = _query(service, shape, error, status, headers, request_id)
        case "rest-json":
            answer = _rest_json(shape, error, status, headers, known)
        case _:
            answer = _rest_xml(service, shape, error, status, headers, request_id, resource)
    if (
        method == "HEAD"
        or status == 304
        or (operation is not None and operation.http.get("method") == "HEAD")
    ):
        return Answer(answer.status, [pair for pair in answer.headers if pair[0] != "Content-Type"])
    return answer


def error_shape(service: "Service", operation: "OperationModel | None", code: str) -> Any:
    """The error's shape by its code or its name: among the operation's errors first; None when it is not modelled."""
    shape: Any
    for shape in operation.error_shapes if operation is not None else ():
        if code in (shape.name, shape.error_code):
            return shape
    return service.errors.get(code)


def status_of(service: "Service", shape: Any, protocol: str, error: AwsError) -> int:
    """The HTTP status of an error."""
    if error.status is not None:
        return error.status
    modelled: Mapping[str, Any] = shape.metadata.get("error", {}) if shape is not None else {}
    if "httpStatusCode" in modelled:
        return int(modelled["httpStatusCode"])
    if shape is not None and shape.name in service.faults:
        return 500
    return quirks.statuses(protocol).get(error.code, 400)


def _members(shape: Any, error: AwsError, known: quirks.Quirks | None = None) -> dict[str, Any]:
    """The modelled members of the error with the message among them, by member name."""
    members: dict[str, Any] = {**error.members}
    if shape is None:
        return members
    for name in shape.members:
        if name.lower() == "message":
            members.setdefault(name, error.message)
    if known is not None:
        for name, value in known.error_members.items():
            if name in shape.members:
                members.setdefault(name, value)
    return members


def _split(shape: Any, members: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Members the model has, and those it does not have."""
    modelled: Mapping[str, Any] = shape.members if shape is not None else {}
    return (
        {name: value for name, value in members.items() if name in modelled},
        {name: value for name, value in members.items() if name not in modelled},
    )


def _body_document(shape: Any, members: Mapping[str, Any], message: str) -> dict[str, Any]:
    """The JSON body of an error: what is modelled by its wire name, the message always there."""
    inside, outside = _split(shape, members)
    document: dict[str, Any] = {}
    for name, value in inside.items():
        member = shape.members[name]
        if value is not None and not render_xml.outside_body(member):
            document[member.serialization.get("name", name)] = render_json.value_of(member, value)
    document.update({name: value for name, value in outside.items() if value is not None})
    if message and not any(name.lower() == "message" for name in document):
        document["message"] = message
    return document


def _query_error_header(
    service: "Service", shape: Any, error: AwsError, status: int
) -> list[tuple[str, str]]:
    """A service that once spoke the query protocol keeps telling its old code beside the new one."""
    if not service.query_compatible:
        return []
    code = shape.error_code if shape is not None else error.code
    return [("x-amzn-query-error", f"{code};{'Sender' if status < 500 else 'Receiver'}")]


def _type_name(service: "Service", shape: Any, error: AwsError) -> str:
    """What ``__type`` says. Clients look errors up by their modelled code, or, beside a query error, by name."""
    if shape is None:
        return error.code
    return shape.name if service.query_compatible else shape.error_code


def _json(
    service: "Service", shape: Any, error: AwsError, status: int, headers: list[tuple[str, str]]
) -> Answer:
    document = {"__type": _type_name(service, shape, error)}
    document.update(_body_document(shape, _members(shape, error), error.message))
    headers = [
        ("Content-Type", f"application/x-amz-json-{service.json_version}"),
        *headers,
        *_query_error_header(service, shape, error, status),
    ]
    return Answer(status, headers, render_json.dump(document))


def _cbor(
    service: "Service", shape: Any, error: AwsError, status: int, headers: list[tuple[str, str]]
) -> Answer:
    first = [("__type", _type_name(service, shape, error))]
    members = _members(shape, error)
    if error.message and not any(name.lower() == "message" for name in members):
        first.append(("message", error.message))
    body = render_cbor.structure(shape, _split(shape, members)[0], tuple(first))
    headers = [
        ("Content-Type", "application/cbor"),
        ("smithy-protocol", "rpc-v2-cbor"),
        *headers,
        *_query_error_header(service, shape, error, status),
    ]
    return Answer(status, headers, body)


def _rest_json(
    shape: Any, error: AwsError, status: int, headers: list[tuple[str, str]], known: quirks.Quirks
) -> Answer:
    code = shape.error_code if shape is not None else error.code
    members = _members(shape, error, known)
    headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", code), *headers]
    headers += _member_headers(shape, members, known)
    return Answer(status, headers, render_json.dump(_body_document(shape, members, error.message)))


def _member_headers(shape: Any, members: Mapping[str, Any], known: quirks.Quirks) -> list[tuple[str, str]]:
    if shape is None:
        return []
    headers: list[tuple[str, str]] = []
    for name, member in shape.members.items():
        value = members.get(name)
        if value is not None and member.serialization.get("location") == "header":
            text = render_text.header_of(member, value, known.iso8601_fraction)
            headers.append((member.serialization.get("name", name), _LINE_ENDS.sub(" ", text)))
    return headers


def _xml_members(service: "Service", shape: Any, members: Mapping[str, Any]) -> str:
    """The members beside code and message, as elements."""
    writer = render_xml.XmlWriter(quirks.of(service.name))
    inside, outside = _split(shape, {k: v for k, v in members.items() if k.lower() != "message"})
    elements = [
        writer.member(shape.members[name], name, value)
        for name, value in inside.items()
        if value is not None and not render_xml.outside_body(shape.members[name])
    ]
    elements += [
        render_xml.element(name, render_xml.legible(str(value)))
        for name, value in outside.items()
        if value is not None
    ]
    return "".join(elements)


def _error_content(service: "Service", shape: Any, error: AwsError, status: int, *, typed: bool) -> str:
    code = shape.error_code if shape is not None else error.code
    parts: list[str] = []
    if typed:
        parts.append(render_xml.element("Type", "Sender" if status < 500 else "Receiver"))
    parts.append(render_xml.element("Code", render_xml.legible(code)))
    if error.message:
        parts.append(render_xml.element("Message", render_xml.legible(error.message)))
    parts.append(_xml_members(service, shape, error.members))
    return "".join(parts)


def _error_response(
    service: "Service", shape: Any, error: AwsError, status: int, request_id: str, namespace: str
) -> bytes:
    content = render_xml.element("Error", _error_content(service, shape, error, status, typed=True))
    content += render_xml.element("RequestId", render_xml.escape(request_id))
    own = [("xmlns", namespace)] if namespace else []
    return render_xml.element("ErrorResponse", content, own).encode("utf-8")


def _query(
    service: "Service",
    shape: Any,
    error: AwsError,
    status: int,
    headers: list[tuple[str, str]],
    request_id: str,
) -> Answer:
    body = _error_response(service, shape, error, status, request_id, service.xml_namespace)
    return Answer(status, [("Content-Type", "text/xml"), *headers], body)


def _rest_xml(
    service: "Service",
    shape: Any,
    error: AwsError,
    status: int,
    headers: list[tuple[str, str]],
    request_id: str,
    resource: str | None,
) -> Answer:
    known = quirks.of(service.name)
    headers = [
        ("Content-Type", "application/xml"),
        *headers,
        *_member_headers(shape, _members(shape, error), known),
    ]
    if not known.answer_namespace:
        body = _error_response(service, shape, error, status, request_id, service.xml_namespace)
        return Answer(status, headers, body)
    content = _error_content(service, shape, error, status, typed=False)
    if resource is not None:
        content += render_xml.element("Resource", render_xml.legible(resource))
    content += render_xml.element("RequestId", render_xml.escape(request_id))
    content += render_xml.element("HostId", host_id(request_id))
    return Answer(
        status, headers, (render_xml.DECLARATION + render_xml.element("Error", content)).encode("utf-8")
    )
