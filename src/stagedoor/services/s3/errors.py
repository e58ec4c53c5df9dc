"""S3's errors with the members that its error documents carry."""

from collections.abc import Mapping

from stagedoor.domain.errors import AwsError
from stagedoor.store.object_rows import Bucket, ObjectRow


def no_such_bucket(name: str) -> AwsError:
    return AwsError(
        "NoSuchBucket", "The specified bucket does not exist", status=404, members={"BucketName": name}
    )


def no_such_key(key: str, headers: Mapping[str, str] | None = None) -> AwsError:
    return AwsError(
        "NoSuchKey", "The specified key does not exist.", status=404, members={"Key": key}, headers=headers
    )


def no_such_version(key: str, version_id: str) -> AwsError:
    return AwsError(
        "NoSuchVersion",
        "The specified version does not exist.",
        status=404,
        members={"Key": key, "VersionId": version_id},
    )


def no_such_upload(upload_id: str) -> AwsError:
    return AwsError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
        status=404,
        members={"UploadId": upload_id},
    )


def deleted(row: ObjectRow) -> AwsError:
    """The current version is a delete marker."""
    return no_such_key(row.key, {"x-amz-delete-marker": "true", "x-amz-version-id": row.version_id})


def is_delete_marker(row: ObjectRow, method: str) -> AwsError:
    """A delete marker was asked for by its version id."""
    return AwsError(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        status=405,
        members={"Method": method, "ResourceType": "DeleteMarker"},
        headers={"x-amz-delete-marker": "true", "x-amz-version-id": row.version_id, "Allow": "DELETE"},
    )


def precondition_failed(condition: str) -> AwsError:
    return AwsError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        status=412,
        members={"Condition": condition},
    )


def invalid_argument(message: str, name: str, value: str | None = None) -> AwsError:
    members = {"ArgumentName": name} if value is None else {"ArgumentName": name, "ArgumentValue": value}
    return AwsError("InvalidArgument", message, status=400, members=members)


def invalid_request(message: str) -> AwsError:
    return AwsError("InvalidRequest", message, status=400)


def header_not_implemented(header: str, message: str = "") -> AwsError:
    """A header or member that AWS has and nobody built here: refused by name."""
    text = "A header you provided implies functionality that is not implemented"
    return AwsError(
        "NotImplemented",
        f"{text}: {header}. {message}".rstrip(),
        status=501,
        members={"Header": header},
    )


def access_denied() -> AwsError:
    return AwsError("AccessDenied", "Access Denied", status=403)


def damaged(key: str) -> AwsError:
    """Stored bytes are not those that were written."""
    return AwsError(
        "InternalError",
        f"The stored bytes of {key!r} are damaged on this server's disk and were not sent. Restore the data directory "
        "from a backup, or upload the object again.",
        status=500,
    )


def disk_full() -> AwsError:
    return AwsError(
        "InternalError",
        "The disk that holds this server's data is full. Nothing was stored; free some space and try again.",
        status=500,
    )


def wrong_owner(bucket: Bucket, expected: str | None) -> AwsError | None:
    """What to raise when the caller named another owner of the bucket than it has."""
    return access_denied() if expected is not None and expected != bucket.account_id else None
