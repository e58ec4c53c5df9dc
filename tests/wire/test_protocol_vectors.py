"""The public protocol vectors, from the server's side: requests are parsed to their parameters, results serialised."""

import base64
import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore import parsers
from botocore.awsrequest import HeadersDict
from wire import protocol_vectors as vectors

from stagedoor.domain.errors import AwsError
from stagedoor.wire import answers, cbor, errors, parse, routes
from stagedoor.wire.answer import Answer
from stagedoor.wire.requests import WireRequest

pytestmark = pytest.mark.skipif(not vectors.FOLDER.is_dir(), reason=vectors.MISSING)

INPUT = list(vectors.load("input"))
OUTPUT = list(vectors.load("output"))


def _cases(loaded: list[vectors.Vector], *listed: str) -> list[Any]:
    known = [vectors.NOT_FOR_SERVERS.get(table, {}) for table in listed]
    return [
        pytest.param(vector, id=vector.id)
        for vector in loaded
        if not any(vector.id in table for table in known)
    ]


def _body(vector: vectors.Vector, written: str) -> bytes:
    if vector.protocol == "smithy-rpc-v2-cbor":
        return base64.b64decode(written)
    return written.encode("utf-8")


def _request(vector: vectors.Vector) -> WireRequest:
    serialized = vector.case["serialized"]
    path, _, query = serialized["uri"].partition("?")
    headers = {name.lower(): value for name, value in serialized.get("headers", {}).items()}
    return WireRequest(
        serialized.get("method", "POST"), path, query, headers, _body(vector, serialized.get("body", ""))
    )


@pytest.mark.parametrize("vector", _cases(INPUT, "input"))
def test_a_request_is_parsed_to_the_parameters_that_made_it(vector: vectors.Vector) -> None:
    request = _request(vector)
    operation, protocol, labels = routes.operation_of(vector.service, request)
    assert operation.name == vector.operation.name
    assert protocol == vector.protocol
    shape = operation.input_shape
    expected = vectors.value_of(shape, vector.case["params"]) if shape is not None else {}
    parsed = parse.request(operation, protocol, request, labels)
    assert vectors.same(parsed, expected), (parsed, expected)


def _answer(vector: vectors.Vector) -> Answer:
    if "error" in vector.case:
        shape = vector.operation.error_shapes[0]
        members = vectors.value_of(shape, vector.case["error"])
        message = next((value for name, value in members.items() if name.lower() == "message"), "")
        error = AwsError(vector.case["errorCode"], message, members=members)
        return errors.serialise(vector.service, vector.operation, vector.protocol, error, "foo-id")
    shape = vector.operation.output_shape
    result = vectors.value_of(shape, vector.case["result"]) if shape is not None else {}
    return answers.serialise(vector.operation, vector.protocol, result, "foo-id")


def _canonical(vector: vectors.Vector, body: bytes) -> Any:
    content_type = vector.case["response"].get("headers", {}).get("Content-Type", "")
    shape = vector.operation.output_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    if not body.strip():
        return None
    if payload is not None and shape.members[payload].type_name in ("blob", "string"):
        return body
    if "json" in content_type or (not content_type and vector.protocol in ("json", "rest-json")):
        return _without_type_prefix(json.loads(body))
    if "xml" in content_type or (not content_type and vector.protocol in ("query", "rest-xml")):
        return ET.canonicalize(body.decode("utf-8"), strip_text=True, rewrite_prefixes=True)
    if vector.protocol == "smithy-rpc-v2-cbor":
        return _without_type_prefix(cbor.load(body))
    return body


def _without_type_prefix(document: Any) -> Any:
    """``__type`` may carry a namespace that clients cut off."""
    if isinstance(document, dict) and "__type" in document:
        return {**document, "__type": document["__type"].rpartition("#")[2]}
    return document


def _without_metadata(vector: vectors.Vector, answer: Answer) -> bytes:
    """The vectors leave out what AWS's query services always send: ResponseMetadata, and the namespace of errors."""
    body = answer.body
    assert isinstance(body, bytes)
    if vector.protocol == "query" and "error" in vector.case:
        body = body.replace(b' xmlns="https://example.com/"', b"")
    elif vector.protocol == "query":
        body = body.replace(b"<ResponseMetadata><RequestId>foo-id</RequestId></ResponseMetadata>", b"")
    return body


@pytest.mark.parametrize("vector", _cases(OUTPUT, "output", "output_other_form"))
def test_a_result_is_serialised_to_the_response(vector: vectors.Vector) -> None:
    answer = _answer(vector)
    response = vector.case["response"]
    assert answer.status == response.get("status_code", 200)
    ours, theirs = (
        _canonical(vector, _without_metadata(vector, answer)),
        _canonical(vector, _body(vector, response.get("body", ""))),
    )
    assert vectors.same(ours, theirs), (ours, theirs)
    sent = {name.lower(): value for name, value in answer.headers}
    for name, value in response.get("headers", {}).items():
        # The length is the connection's to say; X-Amz-Target is a request's header that got into one vector.
        if name not in ("Content-Length", "X-Amz-Target"):
            assert sent.get(name.lower()) == value, name


def _read(vector: vectors.Vector, status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """What botocore makes of a response."""
    shape = vector.operation.error_shapes[0] if "error" in vector.case else vector.operation.output_shape
    parser = parsers.PROTOCOL_PARSERS[vector.protocol]()
    response = {"status_code": status, "headers": HeadersDict(headers), "body": body, "context": {}}
    parsed = parser.parse(response, shape)
    parsed.pop("ResponseMetadata", None)
    return parsed


@pytest.mark.parametrize("vector", _cases(OUTPUT, "output"))
def test_a_client_reads_the_same_from_our_answer_as_from_the_response(vector: vectors.Vector) -> None:
    answer = _answer(vector)
    response = vector.case["response"]
    assert isinstance(answer.body, bytes)
    ours = _read(vector, answer.status, dict(answer.headers), answer.body)
    theirs = _read(
        vector,
        response.get("status_code", 200),
        response.get("headers", {}),
        _body(vector, response.get("body", "")),
    )
    assert vectors.same(ours, theirs), (ours, theirs)


def test_every_listed_exception_names_a_vector_and_a_reason() -> None:
    known = {"input": {v.id for v in INPUT}, "output": {v.id for v in OUTPUT}}
    for table, entries in vectors.NOT_FOR_SERVERS.items():
        unknown = entries.keys() - known[table.partition("_")[0]]
        assert not unknown
        assert all(len(reason) > 10 for reason in entries.values())


@pytest.mark.parametrize("table", sorted(vectors.NOT_FOR_SERVERS))
def test_no_vector_is_listed_that_would_hold(table: str) -> None:
    loaded, check = {
        "input": (INPUT, test_a_request_is_parsed_to_the_parameters_that_made_it),
        "output": (OUTPUT, test_a_client_reads_the_same_from_our_answer_as_from_the_response),
        "output_other_form": (OUTPUT, test_a_result_is_serialised_to_the_response),
    }[table]
    for vector in loaded:
        if vector.id in vectors.NOT_FOR_SERVERS[table]:
            with pytest.raises((AssertionError, AwsError, parsers.ResponseParserError, TypeError)):
                check(vector)
