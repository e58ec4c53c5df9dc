"""Heads: what a request's says once it is parsed, and the bytes of an answer's. Pure but for the clock in the Date header.

Place in the flow: ``connection`` has llhttp parse, asks here what that means, and sends what is made here. What could be read in two ways
is refused.
"""

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from stagedoor.http.message import Response

RawHeaders = list[tuple[bytes, bytes]]
"""Names and values as they came."""

# Of these a client repeats the same few, hence the caches; longer text is not kept.
_SHORT = 512
_OWN_LINES = 3  # of every answer's head: status, date, server
_CONTENT_LENGTH_CHARACTERS = len("content-length")
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


# Requests.


def headers(raw: RawHeaders) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Headers with lower-case names, without white space around their values; and by name, the values of a repeated one joined by commas.

    RefusedHeadError for two hosts.
    """
    found = _decoded(raw)
    header = dict(found)
    return found, header if len(header) == len(found) else _joined(found)


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    header: dict[str, str] = {}
    for name, value in headers:
        if name == "host" and name in header:
            raise RefusedHeadError(400, "two Host headers")
        header[name] = f"{header[name]},{value}" if name in header else value
    return header


def _decoded(raw: RawHeaders) -> list[tuple[str, str]]:
    if not raw:
        return []
    names, values = zip(*raw, strict=True)
    # One step for all of them; the parser lets no line break through.
    together = b"\n".join(values).decode("latin-1")
    texts = together.split("\n")
    if "\t" in together or " \n" in together or "\n " in together or together != together.strip(" "):
        texts = [text.strip(" \t") for text in texts]
    lower = _lower_again if sum(map(len, names)) <= _SHORT else _lower
    return list(zip(lower(names), texts, strict=True))


def _lower(names: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(name.decode("latin-1").lower() for name in names)


_lower_again = lru_cache(1024)(_lower)


def is_chunked(version: str, header: dict[str, str]) -> bool:
    """Whether the body is chunked. RefusedHeadError for whatever another reader might take to end elsewhere."""
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


def path_and_query(method: str, target: str, host: str) -> tuple[str, str]:
    """Of a request's target, nothing decoded. RefusedHeadError for what is no path."""
    split = _split_again if len(target) + len(host) <= _SHORT else _split
    return split(method, target, host)


def _split(method: str, target: str, host: str) -> tuple[str, str]:
    if method == "CONNECT":
        return target, ""
    if "#" in target:
        raise RefusedHeadError(400, "the request's target has a fragment")
    if target.startswith(("http://", "https://")):
        # Absolute form, as a client sends it through a proxy.
        authority, slash, rest = target.partition("://")[2].partition("/")
        if authority.lower() != host.lower():
            raise RefusedHeadError(400, "the request's target and its Host header name two hosts")
        target = slash + rest or "/"
    elif not target.startswith("/") and target != "*":
        raise RefusedHeadError(400, "the request's target is no path")
    path, _, query = target.partition("?")
    return path, query


_split_again = lru_cache(1024)(_split)


# Answers.


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"date: {formatdate(now, usegmt=True)}\r\nserver: stagedoor\r\n"
        return self._line


_date = _Date()


def of_response(response: Response, length: int | None, *, chunked: bool, close: bool) -> bytes:
    """All before the body. ``length`` is its Content-Length unless a header says one. UnsendableHeaderError."""
    head = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} Unknown\r\n"
    head += _date.line()
    for name, value in response.headers:
        if len(name) == _CONTENT_LENGTH_CHARACTERS and name.lower() == "content-length":
            length = None
        head += f"{_beginning(name)}{value}\r\n"
    lines = _OWN_LINES + len(response.headers)
    if head.count("\n") != lines or head.count("\r") != lines or "\0" in head:
        raise UnsendableHeaderError("the value of a header has a line break or the like in it")
    if chunked:
        head += "transfer-encoding: chunked\r\n"
    elif length is not None:
        head += f"content-length: {length}\r\n"
    head += "connection: close\r\n\r\n" if close else "\r\n"
    return head.encode("latin-1", "replace")


@lru_cache(1024)
def _beginning(name: str) -> str:
    """The beginning of a header line. UnsendableHeaderError for a name that is none."""
    if _TOKEN.fullmatch(name) is None:
        raise UnsendableHeaderError(f"{name[:64]!r} is no name of a header")
    return f"{name}: "
