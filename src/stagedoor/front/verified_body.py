"""An S3 request's body, decoded and checked while it streams: between ``front.authenticate`` and the operations.

It is a ``http.message.Body``. Whoever reads it to the end without an error has read exactly what was signed; whoever stores
it commits only then. ``trailers`` are those of an ``aws-chunked`` body, complete after the last piece.

Hashing takes a millisecond for each megabyte or two, which the event loop has not got: who reads much takes the pieces as they
``arrive``, and calls ``unseal`` for them and ``check_end`` after them in a thread.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

from stagedoor.authz.chunked import ChunkDecoder, ChunkedError, ChunkedReason
from stagedoor.domain.errors import AwsError
from stagedoor.http.message import Body, BodyTooLargeError

_CODES: Final = {
    ChunkedReason.MALFORMED: ("InvalidRequest", 400),
    ChunkedReason.INCOMPLETE: ("IncompleteBody", 400),
    ChunkedReason.LENGTH: ("IncompleteBody", 400),
    ChunkedReason.SIGNATURE: ("SignatureDoesNotMatch", 403),
    ChunkedReason.TRAILER: ("MalformedTrailerError", 400),
}
_HASH_IN_THREAD_BYTES: Final = 64 * 1024


class VerifiedBody:
    """``body`` decoded by ``decoder`` where it is chunked, its digest compared with ``sha256`` where one was declared."""

    def __init__(
        self,
        body: Body,
        *,
        sha256: str | None = None,
        decoder: ChunkDecoder | None = None,
        decoded_length: int | None = None,
    ) -> None:
        self._body = body
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._decoder = decoder
        self._decoded_length = decoded_length

    @property
    def content_length(self) -> int | None:
        """Bytes after decoding; None when nobody said."""
        return self._body.content_length if self._decoder is None else self._decoded_length

    @property
    def trailers(self) -> dict[str, str]:
        """Trailers by lower-case name; empty until the body has been read."""
        return self._decoder.trailers if self._decoder else {}

    async def read(self, limit_bytes: int) -> bytes:
        """All of it, checked. BodyTooLargeError beyond ``limit_bytes``; AwsError when it is not what was signed."""
        announced = self.content_length
        if announced is not None and announced > limit_bytes:
            raise BodyTooLargeError(f"{announced} bytes where {limit_bytes} are allowed")
        arrived: list[bytes] = []
        size = 0
        async for data in self._body:
            size += len(data)
            # What is around the pieces of a chunked body counts too: it is no more than they are.
            if size > (limit_bytes if self._decoder is None else 2 * limit_bytes + _HASH_IN_THREAD_BYTES):
                raise BodyTooLargeError(f"more than {limit_bytes} bytes")
            arrived.append(data)
        if size > _HASH_IN_THREAD_BYTES:
            whole = await asyncio.to_thread(self._opened, arrived)
        else:
            whole = self._opened(arrived)
        if len(whole) > limit_bytes:
            raise BodyTooLargeError(f"more than {limit_bytes} bytes")
        return whole

    def _opened(self, arrived: Sequence[bytes]) -> bytes:
        pieces = [piece for data in arrived for piece in self.unseal(data)]
        self.check_end()
        return b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The decoded pieces. AwsError in the place of the end when the body is not what was signed."""
        async for data in self._body:
            for piece in self.unseal(data):
                yield piece
        self.check_end()

    def arriving(self) -> AsyncIterator[bytes]:
        """The pieces as they arrive, for ``unseal``."""
        return aiter(self._body)

    def unseal(self, data: bytes) -> Sequence[bytes]:
        """What the next piece decodes to; hashes it. AwsError when it is not what was signed. One thread at a time."""
        if self._decoder is not None:
            try:
                return self._decoder.feed(data)
            except ChunkedError as error:
                raise _refusal(error) from error
        if self._sha256 is not None:
            self._digest.update(data)
        return (data,)

    def check_end(self) -> None:
        """AwsError unless what was unsealed is the whole body, and what was signed."""
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except ChunkedError as error:
                raise _refusal(error) from error
        elif self._sha256 is not None and self._digest.hexdigest() != self._sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                status=400,
                members={
                    "ClientComputedContentSHA256": self._sha256,
                    "S3ComputedContentSHA256": self._digest.hexdigest(),
                },
            )


def _refusal(error: ChunkedError) -> AwsError:
    code, status = _CODES[error.reason]
    return AwsError(code, error.message, status=status)
