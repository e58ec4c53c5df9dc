"""Frames between the server and its own workers: length-prefixed, with request ids, pipelined.

Place in the flow: the only language on the socket between ``traffic.channel`` and a worker. A frame is

    u32 length of what follows | u64 request id | u8 kind | u24 length of meta | meta (JSON object) | body

all little-endian. Ids are chosen by the server; a worker answers each CALL with exactly one RESULT or FAULT of the same
id, in any order. HELLO (id 0) is the first frame a worker sends, when it is ready; FAULT with id 0 in its place says
why it will never be.
"""

import json
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

HEAD: Final = Struct("<IQI")  # length, id, kind | meta length << 8
HEAD_SIZE: Final = HEAD.size
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024

HELLO: Final = 1
CALL: Final = 2
RESULT: Final = 3
FAULT: Final = 4
LOG: Final = 5


@dataclass(slots=True)
class Frame:
    """One frame; ``meta`` is small and decoded, ``body`` is bytes nobody looked into."""

    kind: int
    id: int
    meta: dict[str, Any]
    body: bytes = b""


class FrameError(Exception):
    """The other side does not speak frames (or sent one beyond the limit): close the connection."""


def encode(kind: int, request_id: int, meta: dict[str, Any], body: bytes = b"") -> bytes:
    """A frame's head and meta; the body follows it on the wire (callers may write it separately)."""
    meta_bytes = json.dumps(meta, separators=(",", ":")).encode() if meta else b""
    length = HEAD_SIZE - 4 + len(meta_bytes) + len(body)
    return HEAD.pack(length, request_id, kind | len(meta_bytes) << 8) + meta_bytes + body


class Decoder:
    """Cuts a byte stream into frames. ``feed`` it what arrived, take the complete frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by ``data``. FrameError on nonsense."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        position = 0
        while len(buffer) - position >= HEAD_SIZE:
            length, request_id, packed = HEAD.unpack_from(buffer, position)
            meta_length = packed >> 8
            if length > MAX_FRAME_BYTES or meta_length > length - (HEAD_SIZE - 4):
                raise FrameError(f"frame of {length} bytes with {meta_length} bytes of meta")
            end = position + 4 + length
            if len(buffer) < end:
                break
            start = position + HEAD_SIZE
            meta_bytes = bytes(buffer[start : start + meta_length])
            try:
                meta = json.loads(meta_bytes) if meta_bytes else {}
            except ValueError as error:
                raise FrameError("meta is not JSON") from error
            frames.append(Frame(packed & 0xFF, request_id, meta, bytes(buffer[start + meta_length : end])))
            position = end
        if position:
            del buffer[:position]
        return frames
