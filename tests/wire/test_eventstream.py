"""Event streams as botocore's own reader takes them apart."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.model import OperationModel
from botocore.parsers import PROTOCOL_PARSERS

from stagedoor.wire import answers, eventstream, models


def _read(raw: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    return list(buffer)


def _operation(service: str, name: str) -> OperationModel:
    return models.service(service).operation(name)


def test_every_kind_of_header_is_read_back() -> None:
    headers = {
        "yes": True,
        "no": False,
        "small": -5,
        "large": 2**40,
        "raw": b"\x00\xff",
        "text": "grün",
        "time": datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
        "id": UUID(int=7),
    }
    [event] = _read(eventstream.encode("PayloadPart", b"\x00payload", headers))
    assert event.payload == b"\x00payload"
    assert event.headers.pop(":message-type") == "event"
    assert event.headers.pop(":event-type") == "PayloadPart"
    assert event.headers.pop("time") == 1_704_164_645_678
    assert event.headers.pop("id") == UUID(int=7).bytes
    assert event.headers == {name: value for name, value in headers.items() if name not in ("time", "id")}


def test_messages_follow_each_other_and_may_be_cut_anywhere() -> None:
    raw = b"".join(eventstream.encode("PayloadPart", bytes([n]) * n) for n in range(20))
    buffer = EventStreamBuffer()
    seen: list[bytes] = []
    for start in range(0, len(raw), 7):
        buffer.add_data(raw[start : start + 7])
        seen += [event.payload for event in buffer]
    assert seen == [bytes([n]) * n for n in range(20)]


def test_a_payload_too_long_for_one_event_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        eventstream.encode("PayloadPart", b"x" * (16 * 1024 * 1024))


def _parsed(operation: OperationModel, protocol: str, raw: bytes) -> dict[str, Any]:
    [message] = _read(raw)
    parser: Any = PROTOCOL_PARSERS[protocol]()
    return parser._event_stream_parser.parse(message.to_response_dict(), operation.get_event_stream_output())


def test_a_part_of_a_model_answer() -> None:
    operation = _operation("sagemaker-runtime", "InvokeEndpointWithResponseStream")
    raw = eventstream.event(operation, "rest-json", "PayloadPart", {"Bytes": b"abc"})
    assert _parsed(operation, "rest-json", raw) == {"PayloadPart": {"Bytes": b"abc"}}


def test_a_modelled_error_in_the_middle_of_a_stream() -> None:
    operation = _operation("sagemaker-runtime", "InvokeEndpointWithResponseStream")
    raw = eventstream.event(operation, "rest-json", "ModelStreamError", {"Message": "gone", "ErrorCode": "X"})
    assert _parsed(operation, "rest-json", raw) == {
        "Error": {"Code": "ModelStreamError", "Message": "gone"},
    }
    [error] = _read(eventstream.encode_error("InternalFailure", "text"))
    assert error.headers == {
        ":message-type": "error",
        ":error-code": "InternalFailure",
        ":error-message": "text",
    }


def test_events_of_structures_and_of_xml() -> None:
    invoke = _operation("lambda", "InvokeWithResponseStream")
    raw = eventstream.event(invoke, "rest-json", "InvokeComplete", {"ErrorCode": "E", "LogResult": "L"})
    assert _parsed(invoke, "rest-json", raw) == {"InvokeComplete": {"ErrorCode": "E", "LogResult": "L"}}
    select = _operation("s3", "SelectObjectContent")
    stats = {"Stats": {"Details": {"BytesScanned": 3, "BytesProcessed": 2, "BytesReturned": 1}}}
    raw = eventstream.event(select, "rest-xml", "Stats", stats["Stats"])
    assert _parsed(select, "rest-xml", raw) == stats


def test_an_unknown_event_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        eventstream.event(_operation("lambda", "InvokeWithResponseStream"), "rest-json", "Nothing", {})
    with pytest.raises(KeyError):
        eventstream.event(_operation("lambda", "Invoke"), "rest-json", "PayloadChunk", {})


def test_a_stream_goes_out_untouched_with_the_stream_content_type() -> None:
    stream = object()
    invoke = _operation("sagemaker-runtime", "InvokeEndpointWithResponseStream")
    result = {"Body": stream, "ContentType": "text/plain", "InvokedProductionVariant": "v"}
    answer = answers.serialise(invoke, "rest-json", result, "r")
    headers = dict(answer.headers)
    assert answer.body is stream
    assert headers["Content-Type"] == eventstream.CONTENT_TYPE
    assert headers["X-Amzn-SageMaker-Content-Type"] == "text/plain"


def test_the_stream_of_an_rpc_protocol_begins_with_the_rest_of_the_answer() -> None:
    tail = _operation("logs", "StartLiveTail")
    stream = object()
    answer = answers.serialise(tail, "json", {"responseStream": stream}, "r")
    assert answer.body is stream
    assert dict(answer.headers)["Content-Type"] == eventstream.CONTENT_TYPE
    [first] = _read(eventstream.initial_response(tail, "json", {"responseStream": stream}))
    assert first.headers[":event-type"] == "initial-response"
    assert first.payload == b"{}"
