"""A request's body to the disk: in pieces, hashed on the way, in threads; or nothing at all.

Place in the flow: under PutObject and UploadPart. The body's own iteration raises when a signature or hash of the
request does not fit (``front``); then, as with every other error, the writer is aborted and nothing is stored. A few
pieces of a quarter of a MiB are in memory at a time, whatever the size of the object.
"""

import asyncio
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3.integrity import Announced
from stagedoor.store import checksums
from stagedoor.store.checksums import ALGORITHMS
from stagedoor.store.contents import Content, Contents, ContentWriter

# One PUT, one part, one copy.
MAX_BYTES: Final = 5 * 1024**3
_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that are on the disk, without a row yet. ``checksums`` by algorithm, base64."""

    content: Content
    md5: bytes
    checksums: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes


async def receive(
    contents: Contents, body: object, claim: Announced, algorithms: Sequence[str], max_bytes: int = MAX_BYTES
) -> Received:
    """Store a body and check what was announced about it; ``algorithms`` are computed besides the announced one.

    EntityTooLarge, IncompleteBody, BadDigest; whatever the body raises; OSError for a full disk.
    """
    names = [*algorithms, claim.algorithm.name] if claim.algorithm else algorithms
    md5 = checksums.md5()
    digests = {name: ALGORITHMS[name].start() for name in names}
    announced_length: int | None = getattr(body, "content_length", None)
    _check_size(announced_length or 0, max_bytes)
    writer = await asyncio.to_thread(contents.writer, [md5, *digests.values()])
    try:
        await _fill(writer, body, max_bytes)
        if announced_length is not None and announced_length != writer.size_bytes:
            raise AwsError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
                status=400,
            )
        values = {name: checksums.encoded(digest) for name, digest in digests.items()}
        claimed = values[claim.algorithm.name] if claim.algorithm else ""
        claim.verify(md5.digest(), claimed, getattr(body, "trailers", None) or {})
        content = await asyncio.to_thread(writer.commit)
    except BaseException:
        # Not awaited: a cancelled request must not be able to cancel its own cleaning up.
        writer.abort()
        raise
    return Received(content, md5.digest(), values)


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise AwsError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            status=400,
            members={"ProposedSize": str(size_bytes), "MaxSizeAllowed": str(max_bytes)},
        )


async def _fill(writer: ContentWriter, body: object, max_bytes: int) -> None:
    if body is None:
        return
    if isinstance(body, bytes | bytearray):
        _check_size(len(body), max_bytes)
        await asyncio.to_thread(writer.write, bytes(body))
        return
    assert isinstance(body, AsyncIterable)
    pieces = cast(AsyncIterable[bytes], body)
    loop = asyncio.get_running_loop()
    held: list[bytes] = []
    held_bytes = total_bytes = 0
    writing: asyncio.Future[None] | None = None
    try:
        async for piece in pieces:
            held.append(piece)
            held_bytes += len(piece)
            total_bytes += len(piece)
            _check_size(total_bytes, max_bytes)
            if held_bytes >= _PIECE_BYTES:
                # The next piece arrives while this one is hashed and written.
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(None, writer.write, b"".join(held))
                held, held_bytes = [], 0
    finally:
        # Also when the body failed: the writer must not be aborted under a thread that writes.
        if writing is not None:
            await asyncio.wait([writing])
    if writing is not None:
        writing.result()
    if held:
        await asyncio.to_thread(writer.write, b"".join(held))
