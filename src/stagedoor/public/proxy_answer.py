"""What a proxy function returned, as an HTTP response; anything else is a malformed answer. Pure.

Source: "Output format of a Lambda function for proxy integration", API Gateway developer guide.
"""

import base64
import binascii
from typing import Any, cast

import orjson

from stagedoor.http.message import Response
from stagedoor.public.event import media_type_is_binary

_MEMBERS = frozenset({"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"})
# API Gateway answers these by itself, and hands the function's own on under another name.
_REMAPPED = frozenset(
    {"authorization", "connection", "content-md5", "date", "host", "server", "user-agent", "www-authenticate"}
)
_DROPPED = frozenset(
    {"content-length", "expect", "keep-alive", "max-forwards", "proxy-authenticate", "te", "trailer",
     "transfer-encoding", "upgrade", "via"}
)  # fmt: skip


class MalformedAnswerError(Exception):
    """The function's answer is not in the proxy format; the text says what is wrong with it."""


def response(payload: bytes, accept: str, binary_media_types: frozenset[str]) -> Response:
    """The response that a function's payload stands for."""
    answer = _decoded(payload)
    status = _status(answer.get("statusCode"))
    headers = _headers(answer)
    body = answer.get("body")
    if body is None:
        data = b""
    elif not isinstance(body, str):
        raise MalformedAnswerError(f"body is {type(body).__name__}, not a string (json.dumps it)")
    elif answer.get("isBase64Encoded") is True and _wants_binary(accept, headers, binary_media_types):
        try:
            data = base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise MalformedAnswerError(f"isBase64Encoded is true and body is not base64: {error}") from error
    else:
        data = body.encode()
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Response(status, headers, data)


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(payload)
    except ValueError as error:
        raise MalformedAnswerError("the function did not return JSON") from error
    if not isinstance(answer, dict):
        raise MalformedAnswerError(
            f"the function returned {type(answer).__name__}, not an object with statusCode"
        )
    found = cast("dict[str, Any]", answer)
    unknown = sorted(set(found) - _MEMBERS)
    if unknown:
        raise MalformedAnswerError(
            f"the function's answer has members that mean nothing here: {', '.join(unknown)}"
        )
    return found


def _status(status: Any) -> int:
    if status is None:
        return 200
    try:
        number = int(status)
    except (TypeError, ValueError) as error:
        raise MalformedAnswerError(f"statusCode is {status!r}, not a number") from error
    if isinstance(status, bool) or not 100 <= number <= 599:
        raise MalformedAnswerError(f"statusCode is {status!r}, not an HTTP status")
    return number


def _headers(answer: dict[str, Any]) -> list[tuple[str, str]]:
    single: Any = answer.get("headers") or {}
    multiple: Any = answer.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multiple, dict):
        raise MalformedAnswerError("headers and multiValueHeaders are objects")
    values: list[tuple[str, Any]] = [
        (str(name), value)
        for name, given in cast("dict[str, Any]", multiple).items()
        for value in (cast("list[Any]", given) if isinstance(given, list) else [given])
    ]
    # A header of both maps is given once: multiValueHeaders already holds the value, as AWS documents.
    both = {name.lower(): value for name, value in values}
    values += [
        (str(name), value)
        for name, value in cast("dict[str, Any]", single).items()
        if str(name).lower() not in both
    ]
    headers: list[tuple[str, str]] = []
    for name, value in values:
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str | int | float):
            text = str(value)
        else:
            raise MalformedAnswerError(f"header {name} is {type(value).__name__}, not a string")
        if (
            any(c in name + text for c in "\r\n\0")
            or not name.isascii()
            or " " in name
            or ":" in name
            or not name
        ):
            raise MalformedAnswerError(
                f"header {name!r} cannot be sent: line breaks and blanks have no place in it"
            )
        if name.lower() in _DROPPED:
            continue
        headers.append((f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name, text))
    return headers


def _wants_binary(accept: str, headers: list[tuple[str, str]], binary_media_types: frozenset[str]) -> bool:
    """AWS looks at the first media type of Accept; with ``*/*`` there, at the answer's own."""
    first = accept.partition(",")[0].strip() or "*/*"
    content_type = next(
        (value for name, value in headers if name.lower() == "content-type"), "application/json"
    )
    return media_type_is_binary(content_type if first.startswith("*/*") else first, binary_media_types)
