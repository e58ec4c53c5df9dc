"""CBOR (RFC 8949) as far as smithy-rpc-v2-cbor uses it: reading untrusted bytes, and the pieces to write with.

Written here, since a general library would also build dates, fractions, regular expressions and shared references out
of a request; this protocol has one tag (1, a timestamp).
"""

import struct
from datetime import datetime
from typing import Any

from stagedoor.wire import timestamps
from stagedoor.wire.requests import UnreadableError

_DEEPEST = 128
_FLOATS = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_BREAK = 0xFF
_INDEFINITE = 31


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise UnreadableError("the CBOR document ends too early")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def at_break(self) -> bool:
        if self._at < len(self._data) and self._data[self._at] == _BREAK:
            self._at += 1
            return True
        return False

    def head(self) -> tuple[int, int]:
        initial = self.take(1)[0]
        return initial >> 5, initial & 31

    def argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise UnreadableError("the CBOR document has an item of unknown length")
        return int.from_bytes(self.take(1 << (info - 24)), "big")

    def item(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UnreadableError("the CBOR document is nested too deeply")
        major, info = self.head()
        match major:
            case 0:
                return self.argument(info)
            case 1:
                return -1 - self.argument(info)
            case 2:
                return self.string(major, info)
            case 3:
                return _text(self.string(major, info))
            case 4:
                return self.array(info, depth)
            case 5:
                return self.map(info, depth)
            case 6:
                return self.tagged(info, depth)
            case _:
                return self.simple(info)

    def string(self, major: int, info: int) -> bytes:
        if info != _INDEFINITE:
            return self.take(self.argument(info))
        chunks: list[bytes] = []
        while not self.at_break():
            chunk_major, chunk_info = self.head()
            if chunk_major != major or chunk_info == _INDEFINITE:
                raise UnreadableError("the CBOR document has a string of mixed pieces")
            chunks.append(self.take(self.argument(chunk_info)))
        return b"".join(chunks)

    def array(self, info: int, depth: int) -> list[Any]:
        if info == _INDEFINITE:
            items: list[Any] = []
            while not self.at_break():
                items.append(self.item(depth + 1))
            return items
        # A length nobody could have sent fails at the first missing element, without reserving anything.
        return [self.item(depth + 1) for _ in range(self.argument(info))]

    def map(self, info: int, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if info == _INDEFINITE:
            while not self.at_break():
                self.entry(result, depth)
        else:
            for _ in range(self.argument(info)):
                self.entry(result, depth)
        return result

    def entry(self, result: dict[str, Any], depth: int) -> None:
        key = self.item(depth + 1)
        if not isinstance(key, str):
            raise UnreadableError("the CBOR document has a map key that is not text")
        if key in result:
            raise UnreadableError(f"duplicate key {key[:80]!r}")
        result[key] = self.item(depth + 1)

    def tagged(self, info: int, depth: int) -> datetime:
        tag = self.argument(info)
        value = self.item(depth + 1)
        if tag != 1 or not isinstance(value, int | float) or isinstance(value, bool):
            raise UnreadableError(f"the CBOR document has a value of tag {tag}, which is not a timestamp")
        try:
            return timestamps.from_epoch(value)
        except ValueError as error:
            raise UnreadableError(f"the CBOR document has a timestamp that is {error}") from error

    def simple(self, info: int) -> Any:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info in _FLOATS:
            form, size = _FLOATS[info]
            return struct.unpack(form, self.take(size))[0]
        raise UnreadableError("the CBOR document has an unknown simple value")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError("the CBOR document has text that is not UTF-8") from error


def load(body: bytes) -> Any:
    """The one data item of a body; tag 1 becomes an aware datetime. UnreadableError for anything malformed."""
    reader = _Reader(body)
    document = reader.item(0)
    if not reader.at_end():
        raise UnreadableError("the CBOR document has bytes after its end")
    return document


def head(major: int, argument: int) -> bytes:
    """The head of an item: its major type and a number, in the shortest form."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes((major << 5 | info,)) + argument.to_bytes(size, "big")
    raise ValueError("a number beyond 64 bits")


def integer(value: int) -> bytes:
    return head(0, value) if value >= 0 else head(1, -1 - value)


def text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return head(3, len(raw)) + raw


def blob(value: bytes) -> bytes:
    return head(2, len(value)) + value


def boolean(value: bool) -> bytes:
    return b"\xf5" if value else b"\xf4"


def double(value: float) -> bytes:
    return b"\xfb" + struct.pack(">d", value)


def single(value: float) -> bytes:
    """A 32-bit float when that loses nothing, else a double."""
    try:
        packed = struct.pack(">f", value)
    except OverflowError:
        return double(value)
    exact = struct.unpack(">f", packed)[0]
    return b"\xfa" + packed if exact == value or value != value else double(value)  # noqa: PLR0124


def timestamp(value: object) -> bytes:
    """Tag 1: seconds since the epoch, an integer when there is no fraction."""
    seconds = timestamps.epoch(value)
    return b"\xc1" + (integer(seconds) if isinstance(seconds, int) else double(seconds))
