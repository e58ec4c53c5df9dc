"""What the control process and its front processes say to each other over a Unix socket pair: messages that may carry descriptors.

A message is ``u32 length of head | u32 length of body | u8 number of descriptors | head | body``, little-endian; the head is a JSON list
that begins with the message's name, and the descriptors travel with its first byte (SCM_RIGHTS).

From the control process: ``begin`` (settings, keys, IAM's records), ``records`` (number, changed records of IAM; to be answered by ``seen``),
``routes`` (an endpoint's variants with the numbers of its workers' channels; a descriptor for each new one), ``open`` (accept), ``stop``.
From a front process: ``hello``, ``open`` (it accepts), ``seen`` (number), ``connection`` (one that it does not answer, with its socket; body:
what was read of it), ``lines`` (body: of the access log), ``denial``, ``activity``, ``metrics`` (of invocations), ``use`` (of a key), ``busy`` (calls in flight by channel),
``released`` (a channel), ``unresponsive`` (a channel), ``log`` (a line for the server's log).
"""

import array
import contextlib
import os
import socket
from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

import orjson

_HEAD: Final = Struct("<IIB")
_RECEIVE_BYTES: Final = 256 * 1024
_DESCRIPTORS_AT_ONCE: Final = 250  # the kernel takes 253
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # Linux
MAX_BYTES: Final = 256 * 1024 * 1024


class Message(NamedTuple):
    """One message that came."""

    name: str
    values: list[Any]
    body: bytes
    descriptors: list[int]


class BrokenPipe(Exception):
    """The other side does not speak messages, or is gone."""


def encode(name: str, values: Sequence[Any], body: bytes = b"", descriptors: int = 0) -> bytes:
    """A message without its descriptors."""
    head = orjson.dumps([name, *values])
    return _HEAD.pack(len(head), len(body), descriptors) + head + body


def send_some(sender: socket.socket, data: memoryview, descriptors: Sequence[int]) -> int:
    """How many bytes the socket took; ``descriptors`` go with the first. OSError, BlockingIOError."""
    if not descriptors:
        return sender.send(data)
    if len(descriptors) > _DESCRIPTORS_AT_ONCE:
        raise ValueError(f"{len(descriptors)} descriptors in one message")
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    return sender.sendmsg([data], [rights])


class Receiver:
    """Cuts what comes over a socket into messages."""

    def __init__(self, receiver: socket.socket) -> None:
        self._socket = receiver
        self._data = bytearray()
        self._descriptors: deque[int] = deque()

    def receive(self) -> list[Message]:
        """The messages that became complete. BrokenPipe at the end, BlockingIOError and TimeoutError as the socket has them."""
        room = socket.CMSG_SPACE(_DESCRIPTORS_AT_ONCE * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(_RECEIVE_BYTES, room, _CLOSE_ON_EXEC)
        except (BlockingIOError, TimeoutError):
            raise
        except OSError as error:
            raise BrokenPipe(str(error)) from error
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                got = array.array("i")
                got.frombytes(content[: len(content) - len(content) % got.itemsize])
                for descriptor in got:
                    os.set_inheritable(descriptor, False)
                self._descriptors.extend(got)
        if not data or flags & socket.MSG_CTRUNC:
            raise BrokenPipe("the end" if not data else "descriptors were cut off")
        self._data += data
        return self._cut()

    def _cut(self) -> list[Message]:
        found: list[Message] = []
        position = 0
        while len(self._data) - position >= _HEAD.size:
            head_length, body_length, count = _HEAD.unpack_from(self._data, position)
            start = position + _HEAD.size
            end = start + head_length + body_length
            if head_length + body_length > MAX_BYTES:
                raise BrokenPipe("a message beyond the limit")
            if end > len(self._data):
                break
            name, *values = orjson.loads(self._data[start : start + head_length])
            descriptors = [self._descriptors.popleft() for _ in range(count)]
            found.append(Message(name, values, bytes(self._data[start + head_length : end]), descriptors))
            position = end
        del self._data[:position]
        return found

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors.clear()
