"""CopyObject: a new object of bytes that are there already. References are copied, not bytes."""

import asyncio
from typing import Any, Final

from stagedoor.services.call import Call
from stagedoor.services.s3 import copy_sources, errors, integrity, object_headers, preconditions, tag_sets
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of, check_key, shown_version
from stagedoor.services.s3.receiving import MAX_BYTES
from stagedoor.store.checksums import DEFAULT
from stagedoor.store.contents import ContentGoneError
from stagedoor.store.object_database import Segment
from stagedoor.store.object_rows import Bucket, NewObject, ObjectRow
from stagedoor.store.objects_io import ObjectChangedError

_ATTEMPTS: Final = 5


async def copy_object(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Copy an object, with its metadata and tags or new ones."""
    return await asyncio.to_thread(_copy, call, request)


def _copy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    for _attempt in range(_ATTEMPTS):
        try:
            with as_s3_errors(request):
                return _copy_once(call, request)
        except (ObjectChangedError, ContentGoneError):
            continue
    raise copy_sources.changed()


def _copy_once(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    bucket = bucket_of(call, request)
    key = check_key(request["Key"])
    object_headers.refuse_unbuilt(request)
    object_headers.refuse_acl(request)
    preconditions.check_write_headers(request)
    source_bucket, source = copy_sources.source_row(call, request)
    if source.size_bytes > MAX_BYTES:
        raise errors.invalid_request(
            "The specified copy source is larger than the maximum allowable size for a copy source: "
            f"{MAX_BYTES}. Use UploadPartCopy."
        )
    _refuse_no_change(request, bucket, key, source)
    attributes = _attributes(request, bucket, source)
    etag, checksum, segments = _bytes(call, request, source)
    attributes["Checksum"] = checksum
    row = call.house.objects.put(
        bucket.name,
        key,
        NewObject(
            size_bytes=source.size_bytes,
            etag=etag,
            last_modified=call.now,
            segments=segments,
            attributes=attributes,
            storage_class=object_headers.storage_class_of(request),
        ),
        lambda current: preconditions.check_write(request, current),
    )
    return {
        "CopyObjectResult": {
            "ETag": f'"{row.etag}"',
            "LastModified": row.last_modified,
            **object_headers.checksum_answer(row),
        },
        "CopySourceVersionId": shown_version(source_bucket, source),
        "VersionId": shown_version(bucket, row),
        **object_headers.encryption_members(row),
    }


def _refuse_no_change(request: dict[str, Any], bucket: Bucket, key: str, source: ObjectRow) -> None:
    if (source.bucket, source.key) != (bucket.name, key) or not source.latest:
        return
    changes = (
        request.get("MetadataDirective") == "REPLACE"
        or request.get("StorageClass", source.storage_class) != source.storage_class
        or request.get("WebsiteRedirectLocation") is not None
        or request.get("ServerSideEncryption") is not None
        or request.get("ChecksumAlgorithm") is not None
    )
    if not changes:
        raise errors.invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes."
        )


def _attributes(request: dict[str, Any], bucket: Bucket, source: ObjectRow) -> dict[str, Any]:
    """The new object's attributes: the source's, or the request's where a directive says REPLACE."""
    fresh = object_headers.attributes_of(request, bucket)
    if request.get("MetadataDirective") != "REPLACE":
        for name in ("ContentType", "Metadata", *object_headers.STORED):
            fresh.pop(name, None)
            if name in source.attributes:
                fresh[name] = source.attributes[name]
    if request.get("TaggingDirective") != "REPLACE":
        fresh.pop("Tags", None)
        if source.attributes.get("Tags"):
            fresh["Tags"] = tag_sets.checked(source.attributes["Tags"], tag_sets.OBJECT_TAGS)
    return fresh


def _bytes(
    call: Call, request: dict[str, Any], source: ObjectRow
) -> tuple[str, dict[str, str], list[Segment]]:
    """ETag, checksum and segments of the copy.

    A copy is an object in one piece: where the source was uploaded in parts (its ETag and composite checksum say how),
    or another algorithm is asked for, the bytes are read once to hash them; else nothing is read.
    """
    known: dict[str, str] = source.attributes.get("Checksum") or {}
    wanted = request.get("ChecksumAlgorithm") or known.get("algorithm") or DEFAULT.name
    integrity.algorithm_named(wanted)
    reusable = known.get("algorithm") == wanted and known.get("type") == "FULL_OBJECT"
    if reusable and "-" not in source.etag:
        segments = call.house.objects.segments(source)
        if sum(segment.length for segment in segments) != source.size_bytes:
            raise ObjectChangedError(source.key)
        return source.etag, known, segments
    measured = copy_sources.measure(call.house, source, 0, source.size_bytes, [wanted])
    checksum = {"algorithm": wanted, "type": "FULL_OBJECT", "value": measured.checksums[wanted]}
    return measured.md5.hex(), checksum, list(measured.segments)
