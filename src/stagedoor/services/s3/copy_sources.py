"""The source of CopyObject and UploadPartCopy: which version it is, and its bytes read through once where needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call, House
from stagedoor.services.s3 import errors, lookup, object_headers, preconditions
from stagedoor.store import checksums, objects_io
from stagedoor.store.checksums import ALGORITHMS
from stagedoor.store.object_database import Segment
from stagedoor.store.object_rows import Bucket, ObjectRow


class CopySource(NamedTuple):
    """``x-amz-copy-source``, read."""

    bucket: str
    key: str
    version_id: str | None


def parse(header: str) -> CopySource:
    """``[/]bucket/key[?versionId=…]``, percent-encoded. InvalidArgument."""
    path, question, version = header.partition("?versionId=")
    version_id = unquote(version) if question else None
    try:
        text = unquote(path, errors="strict").removeprefix("/")
    except UnicodeDecodeError as error:
        raise errors.invalid_argument("Invalid copy source encoding", "x-amz-copy-source", header) from error
    bucket, _, key = text.partition("/")
    if bucket.startswith("arn:"):
        raise errors.header_not_implemented(
            "x-amz-copy-source", "Access points are not built; name the bucket."
        )
    if not bucket or not key:
        raise errors.invalid_argument(
            "Invalid copy source bucket name" if not bucket else "Invalid copy source object key",
            "x-amz-copy-source",
            header,
        )
    return CopySource(bucket, key, version_id)


def source_row(call: Call, request: Mapping[str, Any]) -> tuple[Bucket, ObjectRow]:
    """The version to copy from, its conditions checked."""
    source = parse(request["CopySource"])
    bucket = lookup.named_bucket(call, source.bucket, request.get("ExpectedSourceBucketOwner"))
    if source.version_id is not None:
        version = call.house.objects.find_version(
            bucket.name, lookup.check_key(source.key), lookup.check_version_id(source.version_id)
        )
        if version is not None and version.delete_marker:
            raise errors.invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id."
            )
    row = lookup.object_of(call, bucket, source.key, source.version_id)
    preconditions.check_copy_source(request, row)
    object_headers.check_readable(row)
    return bucket, row


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes read through: their MD5, checksums by algorithm, and the segments that hold them."""

    md5: bytes
    checksums: Mapping[str, str]
    segments: Sequence[Segment]
    size_bytes: int


def measure(house: House, row: ObjectRow, start: int, length: int, algorithms: Sequence[str]) -> Measured:
    """Read a range once, checked and hashed; nothing is written. ObjectChangedError, ContentDamagedError."""
    md5 = checksums.md5()
    digests = {name: ALGORITHMS[name].start() for name in algorithms}
    held = objects_io.reading(house.objects, house.contents, row)
    try:
        for piece in held.pieces(start, length):
            for digest in (md5, *digests.values()):
                digest.update(piece)
        segments = held.slices(start, length)
    finally:
        held.release()
    values = {name: checksums.encoded(digest) for name, digest in digests.items()}
    return Measured(md5.digest(), values, segments, length)


def changed() -> AwsError:
    """The source went away while it was being copied, again and again."""
    return AwsError(
        "ConditionalRequestConflict",
        "The copy source was replaced or deleted while it was being copied. Try again.",
        status=409,
    )
