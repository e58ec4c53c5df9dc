"""botocore's two halves, without a network: requests as its serialisers write them, answers as its parsers read them."""

from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel
from botocore.parsers import PROTOCOL_PARSERS
from botocore.serialize import create_serializer

from stagedoor.wire.answer import Answer
from stagedoor.wire.requests import WireRequest


def wire_request(prepared: AWSPreparedRequest) -> WireRequest:
    """A prepared request as the server receives it."""
    url = urlsplit(prepared.url)
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    body = prepared.body
    if body is None:
        body = b""
    elif isinstance(body, str):
        body = body.encode("utf-8")
    elif hasattr(body, "read"):
        body = body.read()
    return WireRequest(prepared.method, url.path, url.query, headers, bytes(body))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def request_of(operation: OperationModel, protocol: str, params: dict[str, Any]) -> WireRequest:
    """The request that botocore sends for an operation and its parameters."""
    serializer = create_serializer(protocol, include_validation=False)
    request = serializer.serialize_to_request(params, operation)
    prepare_request_dict(request, endpoint_url="http://localhost:4566", context={"is_presign_request": False})
    return wire_request(create_request_object(request).prepare())


def _response(answer: Answer, shape: Any) -> dict[str, Any]:
    body = answer.body
    assert isinstance(body, bytes)
    payload = shape.serialization.get("payload") if shape is not None else None
    streams = payload is not None and shape.members[payload].type_name == "blob"
    return {
        "status_code": answer.status,
        "headers": HeadersDict(answer.headers),
        "body": BytesIO(body) if streams else body,
        "context": {},
    }


def result_of(operation: OperationModel, protocol: str, answer: Answer) -> dict[str, Any]:
    """What botocore reads from an answer, with streams read to their end."""
    shape = operation.output_shape
    parsed = PROTOCOL_PARSERS[protocol]().parse(_response(answer, shape), shape)
    parsed.pop("ResponseMetadata", None)
    return {name: value.read() if hasattr(value, "read") else value for name, value in parsed.items()}


def error_of(
    operation: OperationModel, protocol: str, answer: Answer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What botocore reads from an error: its ``Error``, and the members of the error's shape if it is modelled."""
    parser = PROTOCOL_PARSERS[protocol]()
    response = _response(answer, None)
    error = parser.parse(response, operation.output_shape)["Error"]
    shape = operation.service_model.shape_for_error_code(error["Code"])
    return error, parser.parse(response, shape) if shape is not None else {}


def with_plain_documents(shape: Any, value: Any) -> Any:
    """IAM's policy documents as a client's user sees them: botocore undoes the percent-encoding."""
    match shape.type_name:
        case "structure":
            return {name: with_plain_documents(shape.members[name], item) for name, item in value.items()}
        case "list":
            return [with_plain_documents(shape.member, item) for item in value]
        case "string" if shape.name == "policyDocumentType":
            return unquote(value)
        case _:
            return value
