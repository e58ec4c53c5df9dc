"""Packages that lie in S3, read with the caller's permissions."""

import contextlib
from collections.abc import Generator
from typing import IO

from stagedoor.services.call import Call
from stagedoor.services.lambda_.naming import invalid
from stagedoor.services.permissions import allowed
from stagedoor.store.contents import ContentDamagedError
from stagedoor.store.function_packages import MAX_UNZIPPED_BYTES
from stagedoor.store.object_rows import Bucket
from stagedoor.store.objects_io import ObjectChangedError, open_row


def _s3_error(code: str, message: str) -> Exception:
    return invalid(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")


@contextlib.contextmanager
def open_object(call: Call, bucket: str, key: str, version_id: str | None) -> Generator[IO[bytes]]:
    """The object's bytes as a seekable file; InvalidParameterValueException with S3's error when there are none."""
    house = call.house
    found = house.objects.find_bucket(bucket)
    if found is None:
        raise _s3_error("NoSuchBucket", "The specified bucket does not exist")
    _check_access(call, found, key, versioned=version_id is not None)
    row = house.objects.find_version(bucket, key, version_id)
    if row is None or row.delete_marker:
        raise _s3_error("NoSuchKey", "The specified key does not exist.")
    if row.size_bytes > MAX_UNZIPPED_BYTES:
        raise invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")
    try:
        with open_row(house.objects, house.contents, row) as file:
            yield file
    except (ObjectChangedError, ContentDamagedError) as error:
        raise invalid(
            f"The package s3://{bucket}/{key} could not be read: {error}. Upload it again."
        ) from error


def _check_access(call: Call, bucket: Bucket, key: str, *, versioned: bool) -> None:
    action = "s3:GetObjectVersion" if versioned else "s3:GetObject"
    if not allowed(call, action, f"arn:aws:s3:::{bucket.name}/{key}"):
        raise invalid(
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            f"for {bucket.name}/{key}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
        )
