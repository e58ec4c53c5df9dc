"""Tags of objects and buckets."""

from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, tag_sets
from stagedoor.services.s3.lookup import (
    as_s3_errors,
    bucket_of,
    check_key,
    check_version_id,
    object_of,
    shown_version,
)
from stagedoor.services.s3.members import documents


def get_object_tagging(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    bucket = bucket_of(call, request)
    row = object_of(call, bucket, request["Key"], request.get("VersionId"))
    return {"TagSet": row.attributes.get("Tags", []), "VersionId": shown_version(bucket, row)}


def put_object_tagging(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    tags = tag_sets.checked(documents(request["Tagging"], "TagSet"), tag_sets.OBJECT_TAGS)
    return _change(call, request, tags)


def delete_object_tagging(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    return _change(call, request, None)


def _change(call: Call, request: dict[str, Any], tags: list[dict[str, str]] | None) -> dict[str, Any]:
    bucket = bucket_of(call, request)
    key = check_key(request["Key"])
    version_id = check_version_id(request.get("VersionId"))
    try:
        with as_s3_errors(request):
            row = call.house.objects.change_attributes(
                bucket.name, key, version_id, lambda _row: {"Tags": tags or None}
            )
    except KeyError as error:
        # Says whether key or version is missing, or a delete marker was meant.
        object_of(call, bucket, key, version_id, "PUT" if tags is not None else "DELETE")
        raise errors.no_such_key(key) from error
    return {"VersionId": shown_version(bucket, row)}


def get_bucket_tagging(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    tags = bucket_of(call, request).settings.get("TagSet")
    if not tags:
        raise AwsError(
            "NoSuchTagSet", "The TagSet does not exist", status=404, members={"BucketName": request["Bucket"]}
        )
    return {"TagSet": tags}


def put_bucket_tagging(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    bucket = bucket_of(call, request)
    tags = tag_sets.checked(documents(request["Tagging"], "TagSet"), tag_sets.BUCKET_TAGS)
    with as_s3_errors(request):
        call.house.objects.update_bucket(bucket.name, settings={"TagSet": tags or None})
    return {}


def delete_bucket_tagging(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    bucket = bucket_of(call, request)
    with as_s3_errors(request):
        call.house.objects.update_bucket(bucket.name, settings={"TagSet": None})
    return {}
