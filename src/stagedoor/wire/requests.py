"""One request as the wire layer sees it: what ``front`` hands to ``routes``, ``services`` and ``parse``."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request before anything is decoded.

    ``path`` is raw (still percent-encoded, without the query; for S3 already path style: ``/bucket/key``), ``query``
    is raw without ``?``. ``headers`` has lower-case names, repeated headers joined with ``,``. ``body`` is ``bytes``,
    or any object (an async stream) when the operation's input has a blob payload: it is passed on untouched.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes | object = b""


class UnreadableError(Exception):
    """A part of a request that is not what the protocol or the shape's type asks for.

    Raised by the parsers of one protocol, turned into the service's own error by ``parse.request``. ``path`` is the
    member's place (``tags.1.key``), empty for the body as a whole.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"{reason} (at '{path}')" if path else reason)
        self.reason = reason
        self.path = path
