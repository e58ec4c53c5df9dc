"""Heads: what a request's says once it is parsed, and the bytes of an answer's. Pure but for the clock in the Date header.

Place in the flow: ``connection`` has llhttp parse, asks here what that means, and sends what is made here. What could be read in two ways
is refused.
"""

import re
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeVar

from stagedoor.http.message import Response

RawHeaders = list[tuple[bytes, bytes]]
"""Names and values as they came."""

Key = TypeVar("Key")
Value = TypeVar("Value")

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class RefusedHeadError(Exception):
    """A request's head breaks a limit or a rule: answer ``status`` and close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class UnsendableHeaderError(ValueError):
    """A header of an answer would end its line early: nothing of the answer is sent."""


class _Memory(dict[Key, Value]):
    """What was made of keys that came before: clients repeat the same few. Long ones are made anew each time."""

    _LENGTH_AT_MOST = 512
    _COUNT_AT_MOST = 1024

    def __init__(self, make: Callable[[Key], Value], length: Callable[[Key], int]) -> None:
        super().__init__()
        self._make = make
        self._length = length

    def __missing__(self, key: Key) -> Value:
        made = self._make(key)
        if self._length(key) <= self._LENGTH_AT_MOST:
            if len(self) >= self._COUNT_AT_MOST:
                self.clear()
            self[key] = made
        return made


# Requests.


def headers(raw: RawHeaders) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Headers with lower-case names, without white space around their values; and by name, the values of a repeated one joined by commas.

    ``raw`` is what llhttp lets through: no value begins with white space or has a line break in it. RefusedHeadError for two hosts.
    """
    if not raw:
        return [], {}
    names, values = zip(*raw, strict=True)
    # One step for all of them.
    together = b"\n".join(values).decode("latin-1")
    texts = together.split("\n")
    if " \n" in together or "\t" in together or together[-1:] == " ":
        texts = [text.rstrip(" \t") for text in texts]
    found = list(zip(_lower[names], texts, strict=True))
    header = dict(found)
    return found, header if len(header) == len(found) else _joined(found)


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    header: dict[str, str] = {}
    for name, value in headers:
        if name == "host" and name in header:
            raise RefusedHeadError(400, "two Host headers")
        header[name] = f"{header[name]},{value}" if name in header else value
    return header


def _lower_names(names: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple([name.decode("latin-1").lower() for name in names])


_lower = _Memory(_lower_names, lambda names: sum(map(len, names)))


def is_chunked(version: str, header: dict[str, str]) -> bool:
    """Whether the body is chunked. RefusedHeadError for whatever another reader might take to end elsewhere."""
    if version == "1.1" and "host" in header and "transfer-encoding" not in header:
        return False
    if version not in ("1.0", "1.1"):
        raise RefusedHeadError(505, "this server speaks HTTP/1.1")
    if version == "1.1" and "host" not in header:
        raise RefusedHeadError(400, "the Host header is missing")
    coding = header.get("transfer-encoding")
    if coding is None:
        return False
    if "content-length" in header:
        raise RefusedHeadError(400, "both Content-Length and Transfer-Encoding")
    if version == "1.0" or coding.lower() != "chunked":
        raise RefusedHeadError(400, "the only Transfer-Encoding here is chunked, in HTTP/1.1")
    return True


def _request_line(parts: tuple[bytes, bytes, str]) -> tuple[str, str, str]:
    method, target = [part.decode("latin-1") for part in parts[:2]]
    if method == "CONNECT":
        return method, target, ""
    if "#" in target:
        raise RefusedHeadError(400, "the request's target has a fragment")
    if target.startswith(("http://", "https://")):
        # Absolute form, as a client sends it through a proxy.
        authority, slash, rest = target.partition("://")[2].partition("/")
        if authority.lower() != parts[2].lower():
            raise RefusedHeadError(400, "the request's target and its Host header name two hosts")
        target = slash + rest or "/"
    elif not target.startswith("/") and target != "*":
        raise RefusedHeadError(400, "the request's target is no path")
    path, _, query = target.partition("?")
    return method, path, query


request_lines = _Memory(_request_line, lambda parts: sum(map(len, parts)))
"""Of a method, a target and a host: method, path and query, nothing percent-decoded. RefusedHeadError for a target that is no path."""


# Answers.


class _Date:
    """The headers of every answer, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = ""

    def lines(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._lines = f"date: {formatdate(now, usegmt=True)}\r\nserver: stagedoor\r\n"
        return self._lines


_date = _Date()


def of_response(response: Response, length: int | None, *, chunked: bool, close: bool) -> bytes:
    """All before the body. ``length`` is its Content-Length unless a header says one. UnsendableHeaderError."""
    names, values = zip(*response.headers, strict=True) if response.headers else ((), ())
    template, says_length = _templates[response.status, names]
    head = template % values
    lines = 1 + len(names)
    if head.count("\n") != lines or head.count("\r") != lines or "\0" in head:
        raise UnsendableHeaderError("the value of a header has a line break or the like in it")
    if chunked:
        ending = "transfer-encoding: chunked\r\n"
    else:
        ending = "" if length is None or says_length else f"content-length: {length}\r\n"
    if close:
        ending += "connection: close\r\n"
    return f"{head}{_date.lines()}{ending}\r\n".encode("latin-1", "replace")


def _template(kind: tuple[int, tuple[str, ...]]) -> tuple[str, bool]:
    """The status line and the lines of headers with these names, ``%s`` for values; whether they say a Content-Length.

    UnsendableHeaderError for a name that is none.
    """
    status, names = kind
    for name in names:
        if _TOKEN.fullmatch(name) is None:
            raise UnsendableHeaderError(f"{name[:64]!r} is no name of a header")
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"
    lines = [f"{name.replace('%', '%%')}: %s\r\n" for name in names]
    return first + "".join(lines), any(name.lower() == "content-length" for name in names)


_templates = _Memory(_template, lambda kind: sum(map(len, kind[1])))
