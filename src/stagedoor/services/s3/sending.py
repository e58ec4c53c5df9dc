"""A stored object's bytes as an answer's body: checked block by block before they leave.

Place in the flow: under GetObject and the websites. The first piece is read before the answer begins, so damage there
is an error answer; damage further in raises out of the iteration, and the connection is cut short of Content-Length.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator

from stagedoor.services.call import House
from stagedoor.store import objects_io
from stagedoor.store.contents import BLOCK_BYTES
from stagedoor.store.object_rows import ObjectRow
from stagedoor.store.objects_io import Reading

SMALL_BYTES = BLOCK_BYTES
# Read and checked by one visit to a thread: a MiB.
_BLOCKS_AT_ONCE = 4


class ObjectBytes(AsyncIterator[bytes]):
    """The rest of a range behind its first piece. Holds the object's contents until it is read, closed or dropped."""

    def __init__(self, held: Reading, first: bytes, rest: Iterator[bytes]) -> None:
        self._held = held
        self._read = deque((first,))
        self._rest = rest

    def __aiter__(self) -> "ObjectBytes":
        return self

    async def __anext__(self) -> bytes:
        if not self._read:
            self._read.extend(await asyncio.to_thread(self._more))
        if not self._read:
            self._held.release()
            raise StopAsyncIteration
        return self._read.popleft()

    def _more(self) -> list[bytes]:
        return list(itertools.islice(self._rest, _BLOCKS_AT_ONCE))

    async def aclose(self) -> None:
        """Let go of the object."""
        self._held.release()


def object_bytes(house: House, row: ObjectRow, start: int, length: int) -> "bytes | ObjectBytes":
    """``length`` bytes of a version from ``start`` on; blocks (call it in a thread).

    ObjectChangedError when the version was deleted meanwhile, ContentDamagedError.
    """
    if not length:
        return b""
    held = objects_io.reading(house.objects, house.contents, row)
    pieces = held.pieces(start, length)
    try:
        if length <= SMALL_BYTES:
            data = b"".join(pieces)
            held.release()
            return data
        return ObjectBytes(held, next(pieces), pieces)
    except BaseException:
        held.release()
        raise
