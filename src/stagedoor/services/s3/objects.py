"""PutObject, GetObject, HeadObject: one object in, out, and described."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, integrity, object_headers, preconditions, ranges
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of, check_key, object_of, shown_version
from stagedoor.services.s3.receiving import Received, receive, receive_arrived, small_body
from stagedoor.services.s3.sending import ObjectBytes, object_bytes
from stagedoor.store import checksums
from stagedoor.store.object_rows import Bucket, NewObject, ObjectRow, whole
from stagedoor.store.objects_io import ObjectChangedError

_Answer = dict[str, Any]
# How often a read starts over when the object is replaced under it.
_READ_ATTEMPTS: Final = 5


class _Target(NamedTuple):
    """Where a PutObject goes, and what is known of the object before its bytes."""

    bucket: Bucket
    attributes: dict[str, Any]
    storage_class: str
    claim: integrity.Announced
    algorithm: checksums.Algorithm


async def put_object(call: Call, request: dict[str, Any]) -> _Answer:
    """Store the body as the current object under the key."""
    body = request.get("Body")
    arrived = await small_body(body)
    if arrived is not None:
        return await asyncio.to_thread(_put_arrived, call, request, arrived)
    target = await asyncio.to_thread(_target, call, request)
    with as_s3_errors(request):
        received = await receive(call.house.contents, body, target.claim, [target.algorithm.name])
    return await asyncio.to_thread(_keep, call, request, target, received)


def _put_arrived(call: Call, request: dict[str, Any], arrived: Sequence[bytes]) -> _Answer:
    target = _target(call, request)
    with as_s3_errors(request):
        received = receive_arrived(
            call.house.contents, request.get("Body"), arrived, target.claim, [target.algorithm.name]
        )
    return _keep(call, request, target, received)


def _target(call: Call, request: dict[str, Any]) -> _Target:
    bucket = bucket_of(call, request)
    check_key(request["Key"])
    object_headers.refuse_unbuilt(request)
    object_headers.refuse_acl(request)
    preconditions.check_write_headers(request)
    attributes = object_headers.attributes_of(request, bucket)
    storage_class = object_headers.storage_class_of(request)
    claim = integrity.announced(request, _headers(call))
    return _Target(bucket, attributes, storage_class, claim, claim.algorithm or checksums.DEFAULT)


def _keep(call: Call, request: dict[str, Any], target: _Target, received: Received) -> _Answer:
    """Commit the row of an object whose bytes are stored."""
    name = target.algorithm.name
    checksum = {"algorithm": name, "type": "FULL_OBJECT", "value": received.checksums[name]}
    new = NewObject(
        size_bytes=received.size_bytes,
        etag=received.md5.hex(),
        last_modified=call.now,
        segments=whole([received.content]),
        contents=[received.content],
        attributes={**target.attributes, "Checksum": checksum},
        storage_class=target.storage_class,
    )
    try:
        with as_s3_errors(request):
            row = call.house.objects.put(
                target.bucket.name,
                request["Key"],
                new,
                lambda current: preconditions.check_write(request, current),
            )
    except BaseException:
        call.house.contents.delete([received.content.id])
        raise
    return {
        "ETag": f'"{row.etag}"',
        "VersionId": shown_version(target.bucket, row),
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
