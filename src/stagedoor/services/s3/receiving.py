"""A request's body to the disk: in pieces, checked and hashed on the way, in threads; or nothing at all.

Place in the flow: under PutObject and UploadPart. The body's own checks raise when a signature or hash of the request does not fit
(``front``); then, as with every other error, the writer is aborted and nothing is stored. A few pieces of a quarter of a MiB are in
memory at a time, whatever the size of the object. The event loop does nothing but take pieces from the socket.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast, runtime_checkable

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3.integrity import Announced
from stagedoor.store import checksums
from stagedoor.store.checksums import ALGORITHMS
from stagedoor.store.contents import Content, Contents

# One PUT, one part, one copy.
MAX_BYTES: Final = 5 * 1024**3
_PIECE_BYTES: Final = 256 * 1024


@runtime_checkable
class _Sealed(Protocol):
    """A body whose pieces are decoded and checked in a thread (``front.verified_body``)."""

    def arriving(self) -> AsyncIterator[bytes]: ...

    def unseal(self, data: bytes) -> Sequence[bytes]: ...

    def check_end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that are stored, without a row yet. ``checksums`` by algorithm, base64."""

    content: Content
    md5: bytes
    checksums: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes


class Reception:
    """One body on its way in. All methods block (one thread at a time); ends with ``end`` or ``abort``.

    ``algorithms`` are computed besides the announced one. EntityTooLarge, IncompleteBody, BadDigest; whatever the body's own checks
    raise; OSError for a full disk.
    """

    def __init__(
        self,
        contents: Contents,
        body: object,
        claim: Announced,
        algorithms: Sequence[str],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        names = [*algorithms, claim.algorithm.name] if claim.algorithm else algorithms
        self._body = body
        self._sealed = body if isinstance(body, _Sealed) else None
        self._claim = claim
        self._md5 = checksums.md5()
        self._digests = {name: ALGORITHMS[name].start() for name in names}
        self._max_bytes = max_bytes
        self._announced_length: int | None = getattr(body, "content_length", None)
        _check_size(self._announced_length or 0, max_bytes)
        self._writer = contents.writer([self._md5, *self._digests.values()])

    def take(self, arrived: Sequence[bytes]) -> None:
        """Decode, hash and write what has arrived."""
        for data in arrived:
            for piece in (data,) if self._sealed is None else self._sealed.unseal(data):
                _check_size(self._writer.size_bytes + len(piece), self._max_bytes)
                self._writer.write(piece)

    def end(self) -> Received:
        """Check what was announced about the bytes, and keep them."""
        if self._sealed is not None:
            self._sealed.check_end()
        if self._announced_length is not None and self._announced_length != self._writer.size_bytes:
            raise AwsError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
                status=400,
            )
        values = {name: checksums.encoded(digest) for name, digest in self._digests.items()}
        claimed = values[self._claim.algorithm.name] if self._claim.algorithm else ""
        self._claim.verify(self._md5.digest(), claimed, getattr(self._body, "trailers", None) or {})
        return Received(self._writer.commit(), self._md5.digest(), values)

    def abort(self) -> None:
        """Forget the bytes."""
        self._writer.abort()


async def receive(
    contents: Contents, body: object, claim: Announced, algorithms: Sequence[str], max_bytes: int = MAX_BYTES
) -> Received:
    """Store a body as it arrives; errors as ``Reception``."""
    reception = Reception(contents, body, claim, algorithms, max_bytes)
    try:
        rest = await _fill(reception, body)
        return await asyncio.to_thread(_finish, reception, rest)
    except BaseException:
        # Not awaited: a cancelled request must not be able to cancel its own cleaning up.
        reception.abort()
        raise


def receive_arrived(
    contents: Contents, body: object, arrived: Sequence[bytes], claim: Announced, algorithms: Sequence[str]
) -> Received:
    """Store a body of which ``small_body`` has given all pieces; blocks. Errors as ``Reception``."""
    reception = Reception(contents, body, claim, algorithms)
    try:
        return _finish(reception, arrived)
    except BaseException:
        reception.abort()
        raise


async def small_body(body: object) -> list[bytes] | None:
    """All pieces of a body that says it is small, as they arrived; None for any other, which is still to be read."""
    announced: int | None = getattr(body, "content_length", None)
    if body is None or isinstance(body, bytes | bytearray):
        return [bytes(body)] if body else []
    if announced is None or announced > _PIECE_BYTES:
        return None
    return [data async for data in _arriving(body)]


def _finish(reception: Reception, rest: Sequence[bytes]) -> Received:
    reception.take(rest)
    return reception.end()


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise AwsError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            status=400,
            members={"ProposedSize": str(size_bytes), "MaxSizeAllowed": str(max_bytes)},
        )


def _arriving(body: object) -> AsyncIterable[bytes]:
    if isinstance(body, _Sealed):
        return body.arriving()
    return cast(AsyncIterable[bytes], body)


async def _fill(reception: Reception, body: object) -> list[bytes]:
    """Hand on what arrives, a piece at a time; the last ones are returned."""
    if body is None or isinstance(body, bytes | bytearray):
        return [bytes(body)] if body else []
    loop = asyncio.get_running_loop()
    held: list[bytes] = []
    held_bytes = 0
    writing: asyncio.Future[None] | None = None
    try:
        async for data in _arriving(body):
            held.append(data)
            held_bytes += len(data)
            if held_bytes >= _PIECE_BYTES:
                # The next piece arrives while this one is hashed and written.
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(None, reception.take, held)
                held, held_bytes = [], 0
    finally:
        # Also when the body failed: the writer must not be aborted under a thread that writes.
        if writing is not None:
            await asyncio.wait([writing])
    if writing is not None:
        writing.result()
    return held
