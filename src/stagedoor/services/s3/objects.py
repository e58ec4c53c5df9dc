"""PutObject, GetObject, HeadObject: one object in, out, and described."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, integrity, object_headers, preconditions, ranges
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of, check_key, object_of, shown_version
from stagedoor.services.s3.receiving import receive
from stagedoor.services.s3.sending import ObjectBytes, object_bytes
from stagedoor.store.checksums import DEFAULT
from stagedoor.store.object_rows import Bucket, NewObject, ObjectRow, whole
from stagedoor.store.objects_io import ObjectChangedError

_Answer = dict[str, Any]
# How often a read starts over when the object is replaced under it.
_READ_ATTEMPTS: Final = 5


async def put_object(call: Call, request: dict[str, Any]) -> _Answer:
    """Store the body as the current object under the key."""

    def prepare() -> tuple[Bucket, dict[str, Any], str]:
        bucket = bucket_of(call, request)
        check_key(request["Key"])
        object_headers.refuse_unbuilt(request)
        object_headers.refuse_acl(request)
        preconditions.check_write_headers(request)
        return bucket, object_headers.attributes_of(request, bucket), object_headers.storage_class_of(request)

    bucket, attributes, storage_class = await asyncio.to_thread(prepare)
    claim = integrity.announced(request, _headers(call))
    algorithm = claim.algorithm or DEFAULT
    with as_s3_errors(request):
        received = await receive(call.house.contents, request.get("Body"), claim, [algorithm.name])
    value = received.checksums[algorithm.name]
    attributes["Checksum"] = {"algorithm": algorithm.name, "type": "FULL_OBJECT", "value": value}

    def commit() -> ObjectRow:
        new = NewObject(
            size_bytes=received.size_bytes,
            etag=received.md5.hex(),
            last_modified=call.now,
            segments=whole([received.content]),
            contents=[received.content],
            attributes=attributes,
            storage_class=storage_class,
        )
        try:
            with as_s3_errors(request):
                return call.house.objects.put(
                    bucket.name,
                    request["Key"],
                    new,
                    lambda current: preconditions.check_write(request, current),
                )
        except BaseException:
            call.house.contents.delete([received.content.id])
            raise

    row = await asyncio.to_thread(commit)
    return {
        "ETag": f'"{row.etag}"',
        "VersionId": shown_version(bucket, row),
        **object_headers.encryption_members(row),
        **object_headers.checksum_answer(row),
    }


def _headers(call: Call) -> Mapping[str, str]:
    return call.request.header if call.request is not None else {}


class _Wanted(NamedTuple):
    """Which bytes of which version an answer is about."""

    bucket: Bucket
    row: ObjectRow
    start: int
    length: int
    members: _Answer


async def get_object(call: Call, request: dict[str, Any]) -> _Answer:
    """The object's bytes, or a range or part of them."""
    return await asyncio.to_thread(_get, call, request)


def _get(call: Call, request: dict[str, Any]) -> _Answer:
    for _attempt in range(_READ_ATTEMPTS):
        wanted = _wanted(call, request, "GET")
        object_headers.check_readable(wanted.row)
        try:
            with as_s3_errors(request):
                body: bytes | ObjectBytes = object_bytes(call.house, wanted.row, wanted.start, wanted.length)
        except ObjectChangedError:
            continue
        return {**wanted.members, "Body": body}
    raise AwsError(
        "SlowDown",
        "Please reduce your request rate: the object is being replaced too fast to be read.",
        status=503,
    )


def head_object(call: Call, request: dict[str, Any]) -> _Answer:
    """What GetObject would answer, without the bytes."""
    return _wanted(call, request, "HEAD").members


def _wanted(call: Call, request: dict[str, Any], method: str) -> _Wanted:
    bucket = bucket_of(call, request)
    object_headers.refuse_unbuilt(request)
    overrides = object_headers.response_overrides(request)
    if overrides and call.caller.kind == "anonymous":
        raise errors.invalid_request(
            "Request specific response headers cannot be used for anonymous GET requests."
        )
    row = object_of(call, bucket, request["Key"], request.get("VersionId"), method)
    preconditions.check_read(request, row)
    members = object_headers.answer_members(row) | overrides
    members["VersionId"] = shown_version(bucket, row)
    found = _range(call, request, row, members)
    start, length = (found.start, found.length) if found else (0, row.size_bytes)
    members["ContentLength"] = length
    if found is not None and row.size_bytes:
        members["ContentRange"] = found.content_range(row.size_bytes)
    elif request.get("ChecksumMode") == "ENABLED":
        members |= object_headers.checksum_answer(row)
    return _Wanted(bucket, row, start, length, members)


def _range(call: Call, request: dict[str, Any], row: ObjectRow, members: _Answer) -> ranges.Range | None:
    number = request.get("PartNumber")
    if number is None:
        return ranges.requested(request.get("Range"), row.size_bytes)
    if request.get("Range") is not None:
        raise errors.invalid_request("Cannot specify both Range header and partNumber query parameter")
    parts = call.house.objects.parts(row)
    if parts:
        members["PartsCount"] = len(parts)
    position = 0
    # An object that was stored in one piece is its own first part. Parts count from 1 without gaps here, whatever
    # numbers they were uploaded under.
    for index, size_bytes in enumerate([part.size_bytes for part in parts] or [row.size_bytes], start=1):
        if index == number:
            return ranges.Range(position, position + size_bytes - 1)
        position += size_bytes
    raise AwsError(
        "InvalidPartNumber",
        "The requested partnumber is not satisfiable",
        status=416,
        members={"PartNumberRequested": str(number), "ActualPartCount": str(max(1, len(parts)))},
    )
