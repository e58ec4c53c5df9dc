"""Finding what a request names: its bucket, its key, the version it means. Raises S3's errors.

Place in the flow: the first lines of every S3 operation. Blocks (SQLite): call it in a thread.
"""

import base64
import binascii
import errno
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services import permissions
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors
from stagedoor.store.contents import ContentDamagedError
from stagedoor.store.object_rows import NULL_VERSION, Bucket, NoSuchBucketError, ObjectRow
from stagedoor.store.upload_rows import NoSuchUploadError

KEY_MAX_BYTES: Final = 1024


def bucket_of(call: Call, request: Mapping[str, Any]) -> Bucket:
    """The bucket a request names. NoSuchBucket; AccessDenied when its owner is not the expected one."""
    return named_bucket(call, request["Bucket"], request.get("ExpectedBucketOwner"))


def named_bucket(call: Call, name: str, expected_owner: str | None) -> Bucket:
    """The bucket of that name."""
    bucket = call.house.objects.find_bucket(name)
    if bucket is None:
        raise errors.no_such_bucket(name)
    refusal = errors.wrong_owner(bucket, expected_owner)
    if refusal is not None:
        raise refusal
    return bucket


def check_key(key: str) -> str:
    """A key that can be stored: 1 to 1,024 bytes of UTF-8."""
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError as error:
        raise AwsError(
            "InvalidURI", "Couldn't parse the specified URI: the key is not UTF-8.", status=400
        ) from error
    if size_bytes > KEY_MAX_BYTES:
        raise AwsError(
            "KeyTooLongError",
            "Your key is too long",
            status=400,
            members={"Size": str(size_bytes), "MaxSizeAllowed": str(KEY_MAX_BYTES)},
        )
    return key


def check_version_id(version_id: str | None) -> str | None:
    """A version id that could have been given out here."""
    if version_id is None or version_id == NULL_VERSION:
        return version_id
    if not version_id:
        raise errors.invalid_argument("Version id cannot be the empty string", "versionId", "")
    try:
        if len(base64.b64decode(version_id, altchars=b"-_", validate=True)) == 24:
            return version_id
    except (binascii.Error, ValueError):
        pass
    raise errors.invalid_argument("Invalid version id specified", "versionId", version_id)


def object_of(call: Call, bucket: Bucket, key: str, version_id: str | None, method: str = "GET") -> ObjectRow:
    """The object version a request means. NoSuchKey, NoSuchVersion, MethodNotAllowed for a delete marker.

    Who may not list the bucket is not told that a key is missing: AccessDenied.
    """
    check_key(key)
    row = call.house.objects.find_version(bucket.name, key, check_version_id(version_id))
    if (row is None or row.delete_marker) and not permissions.allowed(
        call, "s3:ListBucket", f"arn:aws:s3:::{bucket.name}"
    ):
        raise errors.access_denied()
    if row is None:
        raise errors.no_such_key(key) if version_id is None else errors.no_such_version(key, version_id)
    if row.delete_marker:
        raise errors.deleted(row) if version_id is None else errors.is_delete_marker(row, method)
    return row


def shown_version(bucket: Bucket, row: ObjectRow) -> str | None:
    """The version id as answers show it: only where the bucket's versioning was ever set."""
    return row.version_id if bucket.versioning else None


@contextmanager
def as_s3_errors(request: Mapping[str, Any]) -> Generator[None]:
    """What the store raises, as S3 says it."""
    try:
        yield
    except NoSuchBucketError as error:
        raise errors.no_such_bucket(request["Bucket"]) from error
    except NoSuchUploadError as error:
        raise errors.no_such_upload(request["UploadId"]) from error
    except ContentDamagedError as error:
        raise errors.damaged(request.get("Key", "")) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise errors.disk_full() from error
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise errors.disk_full() from error
        raise
