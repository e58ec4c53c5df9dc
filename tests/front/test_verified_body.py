"""An S3 body is what was signed, or reading it to its end fails."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from authz.test_chunked import SEED, signed_body

from stagedoor.authz.chunked import ChunkDecoder
from stagedoor.domain.errors import AwsError
from stagedoor.front.verified_body import VerifiedBody
from stagedoor.http.message import BodyTooLargeError


class Pieces:
    """A body that arrives in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.content_length: int | None = sum(map(len, pieces))

    async def read(self, limit_bytes: int) -> bytes:
        return b"".join(self._pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def read(body: VerifiedBody, limit_bytes: int = 1000) -> bytes:
    return asyncio.run(body.read(limit_bytes))


def refusal(body: VerifiedBody) -> tuple[str, int | None]:
    with pytest.raises(AwsError) as caught:
        read(body)
    return caught.value.code, caught.value.status


def test_a_declared_digest_is_checked_at_the_end() -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    assert read(VerifiedBody(Pieces(b"con", b"tent"), sha256=digest)) == b"content"
    assert refusal(VerifiedBody(Pieces(b"con", b"TENT"), sha256=digest)) == ("XAmzContentSHA256Mismatch", 400)
    assert read(VerifiedBody(Pieces(b"anything"))) == b"anything"


def test_pieces_come_out_before_the_end_and_the_error_in_its_place() -> None:
    body = VerifiedBody(Pieces(b"con", b"tent"), sha256="0" * 64)

    async def collect() -> list[bytes]:
        found: list[bytes] = []
        with pytest.raises(AwsError):
            async for piece in body:
                found.append(piece)  # noqa: PERF401 - what came before the error counts
        return found

    assert asyncio.run(collect()) == [b"con", b"tent"]


def test_the_limit_holds_for_the_decoded_bytes() -> None:
    with pytest.raises(BodyTooLargeError):
        read(VerifiedBody(Pieces(b"content")), 6)
    raw = signed_body([b"content"])
    body = VerifiedBody(Pieces(raw), decoder=ChunkDecoder(decoded_length=7, seed=SEED), decoded_length=7)
    assert body.content_length == 7
    assert read(body, 7) == b"content"


def test_signed_chunks_and_trailers() -> None:
    raw = signed_body([b"con", b"tent"], {"x-amz-checksum-crc32": "AAAAAA=="})

    def body(data: bytes) -> VerifiedBody:
        decoder = ChunkDecoder(
            decoded_length=7, seed=SEED, trailer_names=("x-amz-checksum-crc32",), trailers=True
        )
        return VerifiedBody(Pieces(*(data[i : i + 5] for i in range(0, len(data), 5))), decoder=decoder)

    good = body(raw)
    assert good.trailers == {}
    assert read(good) == b"content"
    assert good.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}
    assert refusal(body(raw.replace(b"tent", b"TENT"))) == ("SignatureDoesNotMatch", 403)
    assert refusal(body(raw.replace(b"AAAAAA==", b"AAAAAQ=="))) == ("SignatureDoesNotMatch", 403)
    assert refusal(body(raw[:-30])) == ("IncompleteBody", 400)
