"""Frames between the server and its own workers: length-prefixed, with request ids, pipelined.

Place in the flow: the only language on the socket between ``traffic.channel`` and a worker. A frame is

    u32 length of what follows | u64 request id | u8 kind | u24 length of meta | meta (JSON object) | body

all little-endian. Ids are chosen by the server, per connection; a worker answers each CALL and each PING with exactly
one RESULT or FAULT of the same id, in any order.

* HELLO (id 0) is the first frame a worker sends on each connection, when it is ready to serve. Its meta has ``ready``
  (true), ``pid``, and what the worker's kind adds (see ``worker.specs``).
* FAULT with id 0 comes in HELLO's place when the worker will never be ready: meta ``reason`` (one sentence for a
  person), ``traceback`` (text, may be empty), and for functions ``error`` (AWS's error payload). The worker then exits.
* FAULT with a CALL's id: that call failed. Meta ``reason``, ``status`` (HTTP status the model answers with, 500 when it
  raised) and ``traceback``.
* PING asks "are you able to answer?"; its RESULT has the worker's counters as meta.
"""

import json
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final, NamedTuple, cast

HEAD: Final = Struct("<IQI")  # length, id, kind | meta length << 8
HEAD_SIZE: Final = HEAD.size
_unpack_head = HEAD.unpack_from
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
MAX_META_BYTES: Final = 0xFF_FF_FF

HELLO: Final = 1
CALL: Final = 2
RESULT: Final = 3
FAULT: Final = 4
PING: Final = 5

_FIXED = HEAD_SIZE - 4  # what of the head the length counts
_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Frame(NamedTuple):
    """One frame; ``meta`` is small and decoded, ``body`` is bytes nobody looked into."""

    kind: int
    id: int
    meta: dict[str, Any]
    body: bytes = b""


class FrameError(Exception):
    """The other side does not speak frames (or sent one beyond the limit): close the connection."""


def head(kind: int, request_id: int, meta: bytes, body_length: int) -> bytes:
    """The beginning of a frame whose meta is JSON already (or empty); the body follows it on the wire."""
    length = _FIXED + len(meta) + body_length
    if length > MAX_FRAME_BYTES or len(meta) > MAX_META_BYTES:
        raise FrameError(f"a frame of {length} bytes with {len(meta)} bytes of meta is beyond the limit")
    return HEAD.pack(length, request_id, kind | len(meta) << 8) + meta


def encode(kind: int, request_id: int, meta: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A whole frame. FrameError when it is too large, TypeError or ValueError when ``meta`` is not JSON."""
    return head(kind, request_id, _dumps(meta).encode() if meta else b"", len(body)) + body


class Decoder:
    """Cuts a byte stream into frames. ``feed`` it what arrived, take the complete frames.

    ``loads`` decodes meta: the server passes a faster one than the standard library's, which is all a worker may
    rely on.
    """

    __slots__ = ("_buffer", "_loads", "_meta", "_meta_text", "_wanted")

    def __init__(self, loads: Callable[[bytes], Any] = json.loads) -> None:
        self._buffer = bytearray()
        self._wanted = HEAD_SIZE  # below this many buffered bytes there is nothing to cut
        self._loads = loads
        # The meta before: nearly all calls of a client say the same.
        self._meta_text = b""
        self._meta: dict[str, Any] = {}

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by ``data``, in order. FrameError on nonsense."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                return []
            data = bytes(buffer)
            buffer.clear()
        # The usual case: whole frames arrived, and nothing needs to be kept or moved.
        frames: list[Frame] = []
        position, available, wanted = 0, len(data), HEAD_SIZE
        while (start := position + HEAD_SIZE) <= available:
            length, request_id, packed = _unpack_head(data, position)
            meta_length = packed >> 8
            if length > MAX_FRAME_BYTES or meta_length > length - _FIXED:
                raise FrameError(f"frame of {length} bytes with {meta_length} bytes of meta")
            end = position + 4 + length
            if end > available:
                wanted = end - position
                break
            body_start = start + meta_length
            meta = self._meta_of(data[start:body_start]) if meta_length else {}
            frames.append(Frame(packed & 0xFF, request_id, meta, data[body_start:end]))
            position = end
        if position < available:
            self._wanted = wanted
            buffer += memoryview(data)[position:]
        return frames

    def _meta_of(self, text: bytes) -> dict[str, Any]:
        if text != self._meta_text:
            self._meta, self._meta_text = self._read(text), text
        return self._meta.copy()

    def _read(self, text: bytes) -> dict[str, Any]:
        try:
            meta = self._loads(text)
        except (ValueError, RecursionError) as error:
            raise FrameError("meta is not JSON") from error
        if type(meta) is not dict:
            raise FrameError("meta is not a JSON object")
        return cast("dict[str, Any]", meta)
