"""For every operation of every service: what botocore sends is routed and parsed back, what we answer is read back."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from wire import clients
from wire.generated import FEW, Wire, values
from wire.protocol_vectors import same

from stagedoor.domain.errors import AwsError
from stagedoor.wire import answers, errors, models, parse, quirks, routes, services, validate

SERVICES = (
    "sagemaker",
    "sagemaker-runtime",
    "lambda",
    "apigateway",
    "s3",
    "iam",
    "sts",
    "logs",
    "cloudwatch",
)


def _operations() -> list[Any]:
    """Every operation in every protocol, without those whose route leads to another operation."""
    return [
        pytest.param(name, operation, protocol, id=f"{name}-{operation}-{protocol}")
        for name in SERVICES
        for protocol in models.service(name).protocols
        for operation in models.service(name).operations
        if operation not in quirks.of(name).shared_routes
    ]


def _signing_name(service: models.Service) -> str:
    return service.model.signing_name


def _wire(service: models.Service, protocol: str) -> Wire:
    return Wire(
        protocol,
        fills_containers=protocol == "query",
        whole_seconds=quirks.of(service.name).iso8601_fraction == "never",
    )


def _as_sent(shape: Any, protocol: str, params: dict[str, Any]) -> dict[str, Any]:
    """What is left of the parameters on the wire: an empty payload is no payload, a form has no empty structures."""
    if protocol == "query":
        return _without_empty(params)
    payload = shape.serialization.get("payload")
    nothing = (b"", "", {}) if protocol == "rest-json" else (b"", "")
    if payload is None or params.get(payload) not in nothing:
        return params
    assume(payload not in shape.required_members or shape.members[payload].type_name == "blob")
    return {n: value for n, value in params.items() if n != payload or payload in shape.required_members}


def _without_empty(value: Any) -> Any:
    match value:
        case dict():
            pruned = {key: _without_empty(item) for key, item in value.items()}
            return {key: item for key, item in pruned.items() if item != {}}
        case list():
            return [_without_empty(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize(("service_name", "operation_name", "protocol"), _operations())
@FEW
@given(data=st.data())
def test_a_request_of_botocore_is_routed_and_parsed_back(
    service_name: str, operation_name: str, protocol: str, data: st.DataObject
) -> None:
    service = models.service(service_name)
    operation = service.operation(operation_name)
    shape = operation.input_shape
    params = data.draw(values(shape, _wire(service, protocol))) if shape is not None else {}
    request = clients.request_of(operation, protocol, params)

    assert services.detect(request, _signing_name(service)) == service_name
    found, spoken, labels = routes.operation_of(service, request)
    assert (found.name, spoken) == (operation_name, protocol)
    parsed = parse.request(operation, protocol, request, labels)
    expected = _as_sent(shape, protocol, params) if shape is not None else {}
    if "ContentLength" not in expected:
        parsed.pop("ContentLength", None)  # S3 has the header as a member; the client sends it anyway
    assert same(parsed, expected), (parsed, expected)
    validate.request(operation, parsed)


@pytest.mark.parametrize(("old", "new"), sorted(quirks.of("s3").shared_routes.items()))
def test_a_route_of_two_operations_leads_to_the_current_one(old: str, new: str) -> None:
    service = models.service("s3")
    bucket = {"Bucket": "b"} if "Bucket" in service.operation(old).input_shape.members else {}
    request = clients.request_of(service.operation(old), "rest-xml", bucket)
    assert routes.operation_of(service, request)[0].name == new


def _as_read(operation: Any, result: dict[str, Any]) -> dict[str, Any]:
    """What botocore adds: the status, and an empty map for a prefix of headers."""
    shape = operation.output_shape
    read = dict(result)
    for name, member in shape.members.items():
        if member.serialization.get("location") == "headers":
            read.setdefault(name, {})
        if member.serialization.get("location") == "statusCode":
            read.setdefault(name, operation.http.get("responseCode", 200))
        if name == shape.serialization.get("payload"):
            if member.type_name == "blob" and name in result:
                for other, header in shape.members.items():
                    if header.serialization.get("name") == "Content-Type":
                        read.setdefault(other, "application/octet-stream")
            if member.type_name == "blob":
                read.setdefault(name, b"")
            elif member.type_name == "string":
                read.setdefault(name, "")
            else:
                read.setdefault(name, {})
    return read


@pytest.mark.parametrize(("service_name", "operation_name", "protocol"), _operations())
@FEW
@given(data=st.data())
def test_an_answer_is_read_back_by_botocore(
    service_name: str, operation_name: str, protocol: str, data: st.DataObject
) -> None:
    service = models.service(service_name)
    operation = service.operation(operation_name)
    shape = operation.output_shape
    if operation.has_event_stream_output or operation_name in quirks.of(service_name).text_roots:
        pytest.skip("tested on its own")
    result = data.draw(values(shape, _wire(service, protocol))) if shape is not None else {}
    for name, member in shape.members.items() if shape is not None else ():
        if member.serialization.get("location") == "statusCode" and name in result:
            result[name] = 202
    if operation_name in quirks.of(service_name).url_encoded:
        result.pop(
            "EncodingType", None
        )  # clients decode the keys above the parser: tested with a whole client
    answer = answers.serialise(operation, protocol, result, "11111111-2222-3333-4444-555555555555")
    read = clients.result_of(operation, protocol, answer)
    if shape is not None:
        read = clients.with_plain_documents(shape, read)
        result = _as_read(operation, result)
    assert same(read, result), (read, result)


def _errors() -> list[Any]:
    return [
        pytest.param(name, protocol, shape.name, id=f"{name}-{protocol}-{shape.name}")
        for name in SERVICES
        for protocol in models.service(name).protocols
        for shape in models.service(name).model.error_shapes
    ]


def _operation_with(service: models.Service, error_name: str) -> Any:
    for name in service.operations:
        operation = service.operation(name)
        if operation.http.get("method") != "HEAD" and any(
            s.name == error_name for s in operation.error_shapes
        ):
            return operation
    return service.operation(service.operations[0])


@pytest.mark.parametrize("named_by", ["shape", "code"])
@pytest.mark.parametrize(("service_name", "protocol", "shape_name"), _errors())
@FEW
@given(data=st.data())
def test_an_error_is_read_back_by_botocore(
    service_name: str, protocol: str, shape_name: str, named_by: str, data: st.DataObject
) -> None:
    service = models.service(service_name)
    operation = _operation_with(service, shape_name)
    shape = service.model.shape_for(shape_name)
    members = data.draw(values(shape, _wire(service, protocol)))
    message_member = next((name for name in shape.members if name.lower() == "message"), None)
    message = members.pop(message_member, None) or "What was wrong, and what to do next."
    error = AwsError(shape_name if named_by == "shape" else shape.error_code, message, members=members)

    answer = errors.serialise(service, operation, protocol, error, "request-1", "/bucket/key")

    read, modelled = clients.error_of(operation, protocol, answer)
    assert read["Code"] == shape.error_code
    assert read["Message"] == message
    modelled = {name: value for name, value in modelled.items() if name.lower() != "message"}
    if "Type" in shape.members and "Type" not in members and service_name == "lambda":
        assert modelled.pop("Type") == "User"
    if protocol in ("query", "rest-xml"):
        modelled.pop("Code", None)
    assert same(modelled, members), (modelled, members)
    status = shape.metadata.get("error", {}).get("httpStatusCode")
    assert answer.status == status or status is None
