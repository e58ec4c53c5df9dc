"""What a function may answer, and what makes its answer malformed (502)."""

import base64
import json

import pytest

from stagedoor.public.proxy_answer import MalformedAnswerError, response


def test_status_headers_and_body() -> None:
    answer = {"statusCode": "201", "headers": {"X-A": "1", "X-B": True}, "body": "hé"}
    made = response(json.dumps(answer).encode(), "", frozenset())
    assert (made.status, made.body) == (201, "hé".encode())
    assert list(made.headers) == [("X-A", "1"), ("X-B", "true"), ("Content-Type", "application/json")]


def test_defaults_are_200_and_empty() -> None:
    made = response(b"{}", "", frozenset())
    assert (made.status, made.body) == (200, b"")


def test_values_of_both_maps_come_once() -> None:
    answer = {"headers": {"a": "1", "b": "2"}, "multiValueHeaders": {"A": ["3", "4"]}}
    made = response(json.dumps(answer).encode(), "", frozenset())
    assert [(name.lower(), value) for name, value in made.headers][:3] == [("a", "3"), ("a", "4"), ("b", "2")]


@pytest.mark.parametrize(("accept", "is_decoded"), [("image/png", True), ("*/*", True), ("text/html", False)])
def test_base64_is_decoded_for_who_asks_for_binary(accept: str, is_decoded: bool) -> None:
    data = bytes(range(256))
    answer = {
        "headers": {"Content-Type": "image/png"},
        "body": base64.b64encode(data).decode(),
        "isBase64Encoded": True,
    }
    made = response(json.dumps(answer).encode(), accept, frozenset({"image/*"}))
    assert made.body == (data if is_decoded else base64.b64encode(data))


def test_headers_of_the_connection_are_not_the_functions() -> None:
    answer = {"headers": {"Server": "mine", "Transfer-Encoding": "chunked", "Content-Length": "3"}}
    made = response(json.dumps(answer).encode(), "", frozenset())
    assert dict(made.headers) == {"x-amzn-Remapped-Server": "mine", "Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"not json", "JSON"),
        (b'"text"', "str"),
        (b"[1]", "list"),
        (b'{"statusCode": 200, "answer": 1}', "answer"),
        (b'{"cookies": ["a=1"]}', "cookies"),
        (b'{"statusCode": "ok"}', "statusCode"),
        (b'{"statusCode": 99}', "statusCode"),
        (b'{"statusCode": true}', "statusCode"),
        (b'{"body": {"a": 1}}', "json.dumps"),
        (b'{"headers": ["a"]}', "objects"),
        (b'{"headers": {"a": {"b": 1}}}', "header a"),
        (b'{"headers": {"a": "1\\r\\nb: 2"}}', "line breaks"),
        (b'{"headers": {"a b": "1"}}', "cannot be sent"),
    ],
)
def test_what_is_malformed_says_why(payload: bytes, said: str) -> None:
    with pytest.raises(MalformedAnswerError, match=said):
        response(payload, "", frozenset())
