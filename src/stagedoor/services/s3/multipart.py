"""Multipart uploads: begun, filled with parts, completed without copying a byte, aborted, listed."""

import asyncio
from typing import Any, Final

from stagedoor.authz.caller import canonical_user_id
from stagedoor.services.call import Call
from stagedoor.services.s3 import (
    completion,
    copy_sources,
    errors,
    integrity,
    listing,
    object_headers,
    preconditions,
    ranges,
)
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of, check_key, shown_version
from stagedoor.services.s3.members import text
from stagedoor.services.s3.owners import owner
from stagedoor.services.s3.receiving import MAX_BYTES, receive
from stagedoor.store.checksums import DEFAULT, Algorithm
from stagedoor.store.contents import ContentGoneError
from stagedoor.store.object_rows import Bucket, whole
from stagedoor.store.objects_io import ObjectChangedError
from stagedoor.store.upload_rows import Part, Upload

_Answer = dict[str, Any]
MOST_PARTS: Final = 10_000
_ATTEMPTS: Final = 5


def create_multipart_upload(call: Call, request: dict[str, Any]) -> _Answer:
    """Begin an upload; what CreateMultipartUpload says about the object is kept for it."""
    bucket = bucket_of(call, request)
    key = check_key(request["Key"])
    object_headers.refuse_unbuilt(request)
    object_headers.refuse_acl(request)
    attributes = object_headers.attributes_of(request, bucket)
    attributes["checksum"] = _checksum_plan(request)
    attributes["initiator"] = {"arn": call.caller.arn, "account_id": call.caller.account_id}
    upload = call.house.objects.uploads.create(
        bucket.name,
        key,
        initiated=call.now,
        attributes=attributes,
        storage_class=object_headers.storage_class_of(request),
    )
    answer: _Answer = {"Bucket": bucket.name, "Key": key, "UploadId": upload.upload_id}
    answer |= {
        name: attributes[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if name in attributes
    }
    return answer | _shown_plan(upload)


def _checksum_plan(request: dict[str, Any]) -> dict[str, Any]:
    """Which checksum the object will have. ``stated`` is False for S3's default, CRC64NVME."""
    name, kind = request.get("ChecksumAlgorithm"), request.get("ChecksumType")
    if name is None:
        if kind is not None:
            raise errors.invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return {"algorithm": DEFAULT.name, "type": "FULL_OBJECT", "stated": False}
    algorithm = integrity.algorithm_named(name)
    if kind is None:
        kind = "COMPOSITE" if algorithm.composite else "FULL_OBJECT"
    if not (algorithm.composite if kind == "COMPOSITE" else algorithm.full_object):
        raise errors.invalid_request(
            f"The {kind} checksum type cannot be used with the {algorithm.name.lower()} checksum algorithm."
        )
    return {"algorithm": algorithm.name, "type": kind, "stated": True}


def _shown_plan(upload: Upload) -> _Answer:
    plan = upload.attributes["checksum"]
    return {"ChecksumAlgorithm": plan["algorithm"], "ChecksumType": plan["type"]} if plan["stated"] else {}


def _part_number(request: dict[str, Any]) -> int:
    number: int = request["PartNumber"]
    if not 1 <= number <= MOST_PARTS:
        raise errors.invalid_argument(
            f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive", "partNumber", str(number)
        )
    return number


def _upload_of(call: Call, request: dict[str, Any]) -> tuple[Bucket, Upload]:
    bucket = bucket_of(call, request)
    key = check_key(request["Key"])
    with as_s3_errors(request):
        return bucket, call.house.objects.uploads.get(bucket.name, key, request["UploadId"])


def _algorithms(upload: Upload, announced: Algorithm | None) -> list[str]:
    """What to compute for a part. InvalidRequest when the client sent another kind than the upload was begun with."""
    plan = upload.attributes["checksum"]
    if plan["stated"] and announced is not None and announced.name != plan["algorithm"]:
        raise errors.invalid_request(
            f"Checksum Type mismatch occurred, expected checksum Type: {plan['algorithm'].lower()}, actual checksum "
            f"Type: {announced.name.lower()}"
        )
    return [plan["algorithm"]]


async def upload_part(call: Call, request: dict[str, Any]) -> _Answer:
    """Store one part; it replaces an earlier one of its number."""
    number = _part_number(request)
    object_headers.refuse_unbuilt(request)
    _, upload = await asyncio.to_thread(_upload_of, call, request)
    claim = integrity.announced(request, call.request.header if call.request is not None else {})
    algorithms = _algorithms(upload, claim.algorithm)
    with as_s3_errors(request):
        received = await receive(call.house.contents, request.get("Body"), claim, algorithms)
    part = Part(number, received.size_bytes, received.md5.hex(), received.checksums, call.now)

    def commit() -> None:
        try:
            with as_s3_errors(request):
                content = received.content
                call.house.objects.uploads.put_part(upload, part, whole([content]), [content])
        except BaseException:
            call.house.contents.delete([received.content.id])
            raise

    await asyncio.to_thread(commit)
    shown = [claim.algorithm.name] if claim.algorithm else _stated(upload)
    return {
        "ETag": f'"{part.etag}"',
        **integrity.checksum_members({name: part.checksums[name] for name in shown}),
        **_encryption(upload),
    }


def _stated(upload: Upload) -> list[str]:
    plan = upload.attributes["checksum"]
    return [plan["algorithm"]] if plan["stated"] else []


def _encryption(upload: Upload) -> _Answer:
    names = ("ServerSideEncryption", "SSEKMSKeyId")
    return {name: upload.attributes[name] for name in names if name in upload.attributes}


async def upload_part_copy(call: Call, request: dict[str, Any]) -> _Answer:
    """Make a part of a range of an object: the bytes are read once to hash them, and not written again."""
    return await asyncio.to_thread(_upload_part_copy, call, request)


def _upload_part_copy(call: Call, request: dict[str, Any]) -> _Answer:
    number = _part_number(request)
    object_headers.refuse_unbuilt(request)
    for _attempt in range(_ATTEMPTS):
        try:
            with as_s3_errors(request):
                return _copy_part(call, request, number)
        except (ObjectChangedError, ContentGoneError):
            continue
    raise copy_sources.changed()


def _copy_part(call: Call, request: dict[str, Any], number: int) -> _Answer:
    _, upload = _upload_of(call, request)
    source_bucket, source = copy_sources.source_row(call, request)
    found = ranges.copied(request.get("CopySourceRange"), source.size_bytes)
    start, length = (found.start, found.length) if found else (0, source.size_bytes)
    if length > MAX_BYTES:
        raise errors.invalid_request(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_BYTES}"
        )
    measured = copy_sources.measure(call.house, source, start, length, _algorithms(upload, None))
    part = Part(number, length, measured.md5.hex(), measured.checksums, call.now)
    call.house.objects.uploads.put_part(upload, part, measured.segments)
    shown = {name: part.checksums[name] for name in _stated(upload)}
    return {
        "CopyPartResult": {
            "ETag": f'"{part.etag}"',
            "LastModified": part.last_modified,
            **integrity.checksum_members(shown),
        },
        "CopySourceVersionId": shown_version(source_bucket, source),
        **_encryption(upload),
    }


def complete_multipart_upload(call: Call, request: dict[str, Any]) -> _Answer:
    """Make the object of the listed parts, or answer again for the object that this request made before."""
    object_headers.refuse_unbuilt(request)
    preconditions.check_write_headers(request)
    bucket, key = bucket_of(call, request), check_key(request["Key"])
    row = call.house.objects.get(bucket.name, key)
    if row is None or not completion.made_by(row, request):
        _, upload = _upload_of(call, request)
        with as_s3_errors(request):
            row = call.house.objects.uploads.complete(
                bucket.name,
                upload.key,
                upload.upload_id,
                completion.Completion(upload, request, call.now).plan,
                lambda current: preconditions.check_write(request, current),
            )
    return {
        "Location": completion.location(bucket.name, key, call.request),
        "Bucket": bucket.name,
        "Key": key,
        "ETag": f'"{row.etag}"',
        "VersionId": shown_version(bucket, row),
        **object_headers.encryption_members(row),
        **object_headers.checksum_answer(row),
    }


def abort_multipart_upload(call: Call, request: dict[str, Any]) -> _Answer:
    """Drop the upload and free its parts."""
    bucket, upload = _upload_of(call, request)
    moment = request.get("IfMatchInitiatedTime")
    if moment is not None and int(moment.timestamp()) != int(upload.initiated):
        raise errors.precondition_failed("x-amz-if-match-initiated-time")
    with as_s3_errors(request):
        call.house.objects.uploads.abort(bucket.name, upload.key, upload.upload_id)
    return {}


def list_parts(call: Call, request: dict[str, Any]) -> _Answer:
    """The parts that are there, by number."""
    bucket, upload = _upload_of(call, request)
    object_headers.refuse_unbuilt(request)
    wanted, after = request.get("MaxParts"), request.get("PartNumberMarker") or 0
    if (wanted is not None and wanted < 0) or after < 0:
        name = "max-parts" if after >= 0 else "part-number-marker"
        raise errors.invalid_argument("Argument must be an integer between 0 and 2147483647", name)
    limit = listing.MOST_KEYS if wanted is None else min(wanted, listing.MOST_KEYS)
    found = call.house.objects.uploads.parts(upload, after=after, limit=limit + 1)
    page = found[:limit]
    stated = _stated(upload)
    answer: _Answer = {
        "Bucket": bucket.name,
        "Key": upload.key,
        "UploadId": upload.upload_id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": limit,
        "IsTruncated": len(found) > limit > 0,
        "StorageClass": upload.storage_class,
        **_shown_plan(upload),
        **_people(upload, bucket),
    }
    if page:
        answer["Parts"] = [
            {
                "PartNumber": part.number,
                "LastModified": part.last_modified,
                "ETag": f'"{part.etag}"',
                "Size": part.size_bytes,
                **integrity.checksum_members({name: part.checksums[name] for name in stated}),
            }
            for part in page
        ]
    return answer


def _people(upload: Upload, bucket: Bucket) -> _Answer:
    initiator = upload.attributes["initiator"]
    arn = str(initiator["arn"])
    is_account = not arn or arn.endswith(":root")
    initiator_id = canonical_user_id(initiator["account_id"]) if is_account else arn
    return {"Initiator": {"ID": initiator_id}, "Owner": owner(bucket.account_id)}


def list_multipart_uploads(call: Call, request: dict[str, Any]) -> _Answer:
    """The uploads under way, by key."""
    bucket = bucket_of(call, request)
    prefix, delimiter = text(request, "Prefix"), text(request, "Delimiter")
    marker = text(request, "KeyMarker")
    # As S3 documents it, the upload id counts only together with a key.
    id_marker = text(request, "UploadIdMarker") if marker else ""
    wanted = request.get("MaxUploads")
    if wanted is not None and not wanted >= 1:
        raise errors.invalid_argument(
            "Argument max-uploads must be an integer between 1 and 2147483647", "max-uploads"
        )
    limit = min(wanted or listing.MOST_KEYS, listing.MOST_KEYS)
    page = call.house.objects.uploads.page(
        bucket.name, prefix=prefix, delimiter=delimiter, after=marker, after_upload_id=id_marker, limit=limit
    )
    answer: _Answer = {
        "Bucket": bucket.name,
        "KeyMarker": marker,
        "UploadIdMarker": id_marker,
        "Prefix": prefix,
        "MaxUploads": limit,
        "IsTruncated": page.truncated,
    }
    if page.truncated:
        answer |= {"NextKeyMarker": page.last_key, "NextUploadIdMarker": page.last_upload_id}
    if page.uploads:
        answer["Uploads"] = [
            {
                "UploadId": upload.upload_id,
                "Key": upload.key,
                "Initiated": upload.initiated,
                "StorageClass": upload.storage_class,
                **_shown_plan(upload),
                **_people(upload, bucket),
            }
            for upload in page.uploads
        ]
    if page.common_prefixes:
        answer["CommonPrefixes"] = [{"Prefix": common} for common in page.common_prefixes]
    if delimiter:
        answer["Delimiter"] = delimiter
    if request.get("EncodingType"):
        answer["EncodingType"] = request["EncodingType"]
    return answer
