"""ListObjects, ListObjectsV2, ListObjectVersions: pages of keys and common prefixes."""

from typing import Any, Final

from stagedoor.services.call import Call
from stagedoor.services.s3 import errors
from stagedoor.services.s3.lookup import bucket_of, check_version_id
from stagedoor.services.s3.members import text
from stagedoor.services.s3.owners import owner
from stagedoor.services.s3.page_tokens import read_token, token_of
from stagedoor.store.object_rows import Bucket, ObjectRow

MOST_KEYS: Final = 1000


def _most(request: dict[str, Any], name: str = "MaxKeys") -> int:
    """How many items the caller wants, at most 1,000."""
    wanted = request.get(name)
    if wanted is None:
        return MOST_KEYS
    if wanted < 0:
        raise errors.invalid_argument(
            "Argument maxKeys must be an integer between 0 and 2147483647", "maxKeys"
        )
    return min(wanted, MOST_KEYS)


def _entry(row: ObjectRow, bucket: Bucket, *, with_owner: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Key": row.key,
        "LastModified": row.last_modified,
        "ETag": f'"{row.etag}"',
        "Size": row.size_bytes,
        "StorageClass": row.storage_class,
    }
    checksum = row.attributes.get("Checksum")
    if checksum:
        entry |= {"ChecksumAlgorithm": [checksum["algorithm"]], "ChecksumType": checksum["type"]}
    if with_owner:
        entry["Owner"] = owner(bucket.account_id)
    return entry


def _refuse_unbuilt(request: dict[str, Any]) -> None:
    if request.get("OptionalObjectAttributes"):
        raise errors.header_not_implemented(
            "x-amz-optional-object-attributes", "Nothing is ever being restored here."
        )


def _common(prefixes: list[str]) -> dict[str, Any]:
    return {"CommonPrefixes": [{"Prefix": prefix} for prefix in prefixes]} if prefixes else {}


def list_objects(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The first form: it goes on behind ``Marker``."""
    bucket = bucket_of(call, request)
    _refuse_unbuilt(request)
    prefix, delimiter = text(request, "Prefix"), text(request, "Delimiter")
    marker = text(request, "Marker")
    limit = _most(request)
    page = call.house.objects.page(bucket.name, prefix=prefix, delimiter=delimiter, after=marker, limit=limit)
    answer: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "Marker": marker,
        "MaxKeys": limit,
        "IsTruncated": page.truncated,
        **_common(page.common_prefixes),
    }
    if page.rows:
        answer["Contents"] = [_entry(row, bucket, with_owner=True) for row in page.rows]
    # Without a delimiter clients go on behind the last key; so does S3's answer.
    if page.truncated and delimiter:
        answer["NextMarker"] = page.last
    return answer | _echoed(request, delimiter)


def _echoed(request: dict[str, Any], delimiter: str) -> dict[str, Any]:
    echoed: dict[str, Any] = {}
    if delimiter:
        echoed["Delimiter"] = delimiter
    if request.get("EncodingType"):
        echoed["EncodingType"] = request["EncodingType"]
    return echoed


def list_objects_v2(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The second form: it goes on by an opaque token."""
    bucket = bucket_of(call, request)
    _refuse_unbuilt(request)
    prefix, delimiter = text(request, "Prefix"), text(request, "Delimiter")
    token, start_after = request.get("ContinuationToken"), text(request, "StartAfter")
    after = start_after if token is None else read_token(token)
    limit = _most(request)
    page = call.house.objects.page(bucket.name, prefix=prefix, delimiter=delimiter, after=after, limit=limit)
    answer: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "MaxKeys": limit,
        "KeyCount": len(page),
        "IsTruncated": page.truncated,
        **_common(page.common_prefixes),
    }
    if page.rows:
        with_owner = bool(request.get("FetchOwner"))
        answer["Contents"] = [_entry(row, bucket, with_owner=with_owner) for row in page.rows]
    if token is not None:
        answer["ContinuationToken"] = token
    if start_after:
        answer["StartAfter"] = start_after
    if page.truncated:
        answer["NextContinuationToken"] = token_of(page.last)
    return answer | _echoed(request, delimiter)


def list_object_versions(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All versions and delete markers, newest first under each key."""
    bucket = bucket_of(call, request)
    _refuse_unbuilt(request)
    prefix, delimiter = text(request, "Prefix"), text(request, "Delimiter")
    marker, version_marker = text(request, "KeyMarker"), request.get("VersionIdMarker")
    if version_marker is not None and not marker:
        raise errors.invalid_argument(
            "A version-id marker cannot be specified without a key marker.",
            "version-id-marker",
            version_marker,
        )
    check_version_id(version_marker or None)
    limit = _most(request)
    page = call.house.objects.version_page(
        bucket.name,
        prefix=prefix,
        delimiter=delimiter,
        after=marker,
        after_version_id=version_marker or None,
        limit=limit,
    )
    answer: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "KeyMarker": marker,
        "VersionIdMarker": version_marker or "",
        "MaxKeys": limit,
        "IsTruncated": page.truncated,
        **_common(page.common_prefixes),
    }
    versions = [_version(row, bucket) for row in page.rows if not row.delete_marker]
    markers = [_marker(row, bucket) for row in page.rows if row.delete_marker]
    if versions:
        answer["Versions"] = versions
    if markers:
        answer["DeleteMarkers"] = markers
    if page.truncated:
        answer["NextKeyMarker"] = page.last
        if page.last_version_id:
            answer["NextVersionIdMarker"] = page.last_version_id
    return answer | _echoed(request, delimiter)


def _version(row: ObjectRow, bucket: Bucket) -> dict[str, Any]:
    return {**_entry(row, bucket, with_owner=True), "VersionId": row.version_id, "IsLatest": row.latest}


def _marker(row: ObjectRow, bucket: Bucket) -> dict[str, Any]:
    return {
        "Key": row.key,
        "VersionId": row.version_id,
        "IsLatest": row.latest,
        "LastModified": row.last_modified,
        "Owner": owner(bucket.account_id),
    }
