"""If-Match and its kin: may this read, write or copy go on? Pure; times compare in whole seconds, as HTTP dates do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3 import errors
from stagedoor.store.object_rows import ObjectRow


def matches(header: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match list names the ETag (given without quotes)."""
    for item in header.split(","):
        value = item.strip()
        if value == "*" or value.removeprefix("W/").strip('"') == etag:
            return True
    return False


def _seconds(value: object) -> int:
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    assert isinstance(value, int | float)
    return int(value)


def _modified_after(row: ObjectRow, moment: object) -> bool:
    return int(row.last_modified) > _seconds(moment)


def check_read(request: Mapping[str, Any], row: ObjectRow) -> None:
    """PreconditionFailed (412) or NotModified (304) for GetObject and HeadObject, in the order of RFC 9110."""
    if_match, if_none_match = request.get("IfMatch"), request.get("IfNoneMatch")
    if if_match is not None:
        if not matches(if_match, row.etag):
            raise errors.precondition_failed("If-Match")
    elif request.get("IfUnmodifiedSince") is not None and _modified_after(row, request["IfUnmodifiedSince"]):
        raise errors.precondition_failed("If-Unmodified-Since")
    if if_none_match is not None:
        if matches(if_none_match, row.etag):
            raise not_modified(row)
    elif request.get("IfModifiedSince") is not None and not _modified_after(row, request["IfModifiedSince"]):
        raise not_modified(row)


def not_modified(row: ObjectRow) -> AwsError:
    """The 304 with the headers that tell the client what it has."""
    headers = {"ETag": f'"{row.etag}"', "Last-Modified": formatdate(row.last_modified, usegmt=True)}
    cache_control = row.attributes.get("CacheControl")
    if cache_control:
        headers["Cache-Control"] = cache_control
    return AwsError("NotModified", "Not Modified", status=304, headers=headers)


def check_copy_source(request: Mapping[str, Any], row: ObjectRow) -> None:
    """PreconditionFailed for the conditions on the source of CopyObject and UploadPartCopy."""
    if_match, if_none_match = request.get("CopySourceIfMatch"), request.get("CopySourceIfNoneMatch")
    if if_match is not None:
        if not matches(if_match, row.etag):
            raise errors.precondition_failed("x-amz-copy-source-If-Match")
    elif (moment := request.get("CopySourceIfUnmodifiedSince")) is not None and _modified_after(row, moment):
        raise errors.precondition_failed("x-amz-copy-source-If-Unmodified-Since")
    if if_none_match is not None:
        if matches(if_none_match, row.etag):
            raise errors.precondition_failed("x-amz-copy-source-If-None-Match")
    elif (moment := request.get("CopySourceIfModifiedSince")) is not None and not _modified_after(
        row, moment
    ):
        raise errors.precondition_failed("x-amz-copy-source-If-Modified-Since")


def check_write_headers(request: Mapping[str, Any]) -> None:
    """NotImplemented for the forms of a conditional write that S3 does not have."""
    if_match, if_none_match = request.get("IfMatch"), request.get("IfNoneMatch")
    if if_none_match is not None and (if_none_match.strip() != "*" or if_match is not None):
        raise errors.header_not_implemented("If-None-Match", "A write takes If-None-Match: * alone.")


def check_write(request: Mapping[str, Any], current: ObjectRow | None) -> None:
    """PreconditionFailed or NoSuchKey for a write; runs inside its transaction, so that of many only one wins."""
    if request.get("IfNoneMatch") is not None and current is not None:
        raise errors.precondition_failed("If-None-Match")
    if_match = request.get("IfMatch")
    if if_match is not None:
        if current is None:
            raise errors.no_such_key(request["Key"])
        if not matches(if_match, current.etag):
            raise errors.precondition_failed("If-Match")


def check_delete(
    if_match: str | None, last_modified: object, size_bytes: int | None, current: ObjectRow | None
) -> None:
    """The same for a delete: by ETag, time or size."""
    if if_match is not None and (current is None or not matches(if_match, current.etag)):
        raise errors.precondition_failed("If-Match")
    if last_modified is not None and (
        current is None or int(current.last_modified) != _seconds(last_modified)
    ):
        raise errors.precondition_failed("x-amz-if-match-last-modified-time")
    if size_bytes is not None and (current is None or current.size_bytes != size_bytes):
        raise errors.precondition_failed("x-amz-if-match-size")
