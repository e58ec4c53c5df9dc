"""DeleteObject and DeleteObjects: versions for good, current objects by marker where versions are kept."""

from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services import permissions
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, object_headers, preconditions
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of, check_key, check_version_id
from stagedoor.services.s3.members import documents
from stagedoor.store.object_rows import Bucket, Check, ObjectRow

_MOST_KEYS: Final = 1000


def _check(target: dict[str, Any], *, if_match: str, modified: str, size: str) -> Check:
    """The conditions of one deletion, under the member names of its operation."""

    def check(current: ObjectRow | None) -> None:
        preconditions.check_delete(target.get(if_match), target.get(modified), target.get(size), current)

    return check


def delete_object(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete one object or version. That nothing was there is no error."""
    bucket = bucket_of(call, request)
    object_headers.refuse_unbuilt(request)
    key = check_key(request["Key"])
    version_id = check_version_id(request.get("VersionId"))
    check = _check(request, if_match="IfMatch", modified="IfMatchLastModifiedTime", size="IfMatchSize")
    with as_s3_errors(request):
        done = call.house.objects.delete(bucket.name, key, version_id, now=call.now, check=check)
    answer: dict[str, Any] = {}
    if done.delete_marker:
        answer["DeleteMarker"] = True
    if done.version_id:
        answer["VersionId"] = done.version_id
    return answer


def _check_allowed(call: Call, bucket: Bucket, key: str, version_id: str | None) -> None:
    """AccessDenied unless the caller may delete this very key: DeleteObjects needs the permission for each."""
    action = "s3:DeleteObject" if version_id is None else "s3:DeleteObjectVersion"
    if not permissions.may(call, action, f"arn:aws:s3:::{bucket.name}/{key}"):
        raise errors.access_denied()


def delete_objects(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete up to 1,000 objects or versions; each has its own outcome."""
    bucket = bucket_of(call, request)
    object_headers.refuse_unbuilt(request)
    targets = documents(request["Delete"], "Objects")
    if not 1 <= len(targets) <= _MOST_KEYS:
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            status=400,
        )
    refused: dict[int, AwsError] = {}
    accepted: list[tuple[str, str | None, Check]] = []
    for index, target in enumerate(targets):
        try:
            version_id = check_version_id(target.get("VersionId"))
            _check_allowed(call, bucket, target["Key"], version_id)
            check = _check(target, if_match="ETag", modified="LastModifiedTime", size="Size")
            accepted.append((check_key(target["Key"]), version_id, check))
        except AwsError as error:
            no_version = error.code == "InvalidArgument"
            refused[index] = (
                errors.no_such_version(target["Key"], target["VersionId"]) if no_version else error
            )
    with as_s3_errors(request):
        outcomes = iter(call.house.objects.delete_many(bucket.name, accepted, now=call.now))
    deleted: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for index, target in enumerate(targets):
        outcome = refused.get(index) or next(outcomes)
        entry: dict[str, Any] = {"Key": target["Key"]}
        if target.get("VersionId") is not None:
            entry["VersionId"] = target["VersionId"]
        if isinstance(outcome, AwsError):
            failed.append({**entry, "Code": outcome.code, "Message": outcome.message})
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            if outcome.delete_marker:
                entry |= {"DeleteMarker": True, "DeleteMarkerVersionId": outcome.version_id}
            deleted.append(entry)
    answer: dict[str, Any] = {}
    if deleted and not request["Delete"].get("Quiet"):
        answer["Deleted"] = deleted
    if failed:
        answer["Errors"] = failed
    return answer
