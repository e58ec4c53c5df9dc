"""An S3 request's body, decoded and checked while it streams: between ``front.authenticate`` and the operations.

It is a ``http.message.Body``. Whoever reads it to the end without an error has read exactly what was signed; whoever stores
it commits only then. ``trailers`` are those of an ``aws-chunked`` body, complete after the last piece.
"""

import hashlib
from collections.abc import AsyncIterator
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
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit_bytes:
                raise BodyTooLargeError(f"more than {limit_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The decoded pieces. AwsError in the place of the end when the body is not what was signed."""
        if self._decoder is not None:
            async for piece in self._decoded(self._decoder):
                yield piece
            return
        digest = hashlib.sha256()
        async for piece in self._body:
            if self._sha256 is not None:
                digest.update(piece)
            yield piece
        if self._sha256 is not None and digest.hexdigest() != self._sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                status=400,
                members={
                    "ClientComputedContentSHA256": self._sha256,
                    "S3ComputedContentSHA256": digest.hexdigest(),
                },
            )

    async def _decoded(self, decoder: ChunkDecoder) -> AsyncIterator[bytes]:
        try:
            async for data in self._body:
                for piece in decoder.feed(data):
                    yield piece
            decoder.finish()
        except ChunkedError as error:
            code, status = _CODES[error.reason]
            raise AwsError(code, error.message, status=status) from error
