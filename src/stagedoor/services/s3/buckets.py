"""Buckets: created under a name that nobody else has, found, listed, deleted when empty."""

from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3 import bucket_names, errors, public_access, tag_sets
from stagedoor.services.s3.integrity import refuse
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of
from stagedoor.services.s3.members import document, documents, text
from stagedoor.services.s3.owners import owner
from stagedoor.services.s3.page_tokens import read_token, token_of
from stagedoor.store.object_rows import Bucket, BucketExistsError, BucketNotEmptyError

_Answer = dict[str, Any]
_HOME: Final = "us-east-1"
_UNBUILT: Final = {
    "ObjectLockEnabledForBucket": "x-amz-bucket-object-lock-enabled",
}
_GRANTS: Final = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
_MOST_BUCKETS: Final = 10_000


def create_bucket(call: Call, request: dict[str, Any]) -> _Answer:
    """Take a name. New buckets block public access and have no ACLs, as AWS's have since April 2023."""
    name: str = request["Bucket"]
    bucket_names.check(name)
    refuse(request, _UNBUILT)
    if request.get("BucketNamespace") not in (None, "global"):
        raise errors.header_not_implemented("x-amz-bucket-namespace")
    if request.get("ObjectOwnership") not in (None, "BucketOwnerEnforced"):
        raise errors.header_not_implemented(
            f"x-amz-object-ownership: {request['ObjectOwnership']}",
            "Buckets have no ACLs: BucketOwnerEnforced.",
        )
    if request.get("ACL") not in (None, "private") or any(request.get(grant) for grant in _GRANTS):
        raise AwsError(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            status=400,
        )
    region = _region(call, request)
    settings: _Answer = {
        "PublicAccessBlockConfiguration": dict(public_access.ALL_BLOCKED),
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
    }
    tags = tag_sets.checked(
        documents(document(request, "CreateBucketConfiguration"), "Tags"), tag_sets.BUCKET_TAGS
    )
    if tags:
        settings["TagSet"] = tags
    try:
        # A bucket of this name may have been deleted in a crash before its policy was.
        if call.house.objects.find_bucket(name) is None:
            public_access.forget_policy(call.house, call.account_id, name)
        call.house.objects.create_bucket(Bucket(name, call.account_id, region, call.now, settings=settings))
    except BucketExistsError as error:
        _refuse_taken(call, error.bucket)
    return {"Location": f"/{name}", "BucketArn": f"arn:aws:s3:::{name}"}


def _refuse_taken(call: Call, present: Bucket) -> None:
    if present.account_id != call.account_id:
        raise AwsError(
            "BucketAlreadyExists",
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again.",
            status=409,
            members={"BucketName": present.name},
        )
    # In us-east-1 alone creating one's own bucket again succeeds.
    if not (present.region == _HOME and call.region == _HOME):
        raise AwsError(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
            status=409,
            members={"BucketName": present.name},
        )


def _region(call: Call, request: dict[str, Any]) -> str:
    """Where the bucket goes: the constraint has to fit the region the request was signed for."""
    configuration = document(request, "CreateBucketConfiguration")
    for member in ("Location", "Bucket"):
        if configuration.get(member):
            raise errors.header_not_implemented(
                f"CreateBucketConfiguration.{member}", "Directory buckets are not built."
            )
    constraint: str | None = configuration.get("LocationConstraint")
    region = "eu-west-1" if constraint == "EU" else constraint
    if region == _HOME:
        raise AwsError(
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
            status=400,
            members={"LocationConstraint": region},
        )
    if call.region not in (_HOME, region):
        shown = constraint or "unspecified"
        raise AwsError(
            "IllegalLocationConstraintException",
            f"The {shown} location constraint is incompatible for the region specific endpoint this request was sent to.",
            status=400,
        )
    return region or _HOME


def delete_bucket(call: Call, request: dict[str, Any]) -> _Answer:
    """Give the name back. BucketNotEmpty while versions or delete markers are in it."""
    bucket = bucket_of(call, request)
    try:
        with as_s3_errors(request):
            call.house.objects.delete_bucket(bucket.name)
    except BucketNotEmptyError as error:
        versions = " You must delete all versions in the bucket." if bucket.versioning else ""
        raise AwsError(
            "BucketNotEmpty",
            f"The bucket you tried to delete is not empty.{versions}",
            status=409,
            members={"BucketName": bucket.name},
        ) from error
    public_access.forget_policy(call.house, bucket.account_id, bucket.name)
    return {}


def head_bucket(call: Call, request: dict[str, Any]) -> _Answer:
    """Whether it is there, and in which region."""
    bucket = bucket_of(call, request)
    return {
        "BucketRegion": bucket.region,
        "BucketArn": f"arn:aws:s3:::{bucket.name}",
        "AccessPointAlias": False,
    }


def get_bucket_location(call: Call, request: dict[str, Any]) -> _Answer:
    """Empty for us-east-1, as ever."""
    bucket = bucket_of(call, request)
    return {} if bucket.region == _HOME else {"LocationConstraint": bucket.region}


def list_buckets(call: Call, request: dict[str, Any]) -> _Answer:
    """The account's buckets by name."""
    most, token = request.get("MaxBuckets"), request.get("ContinuationToken")
    prefix, region = text(request, "Prefix"), request.get("BucketRegion")
    after = "" if not token else read_token(token)
    found = call.house.objects.buckets(call.account_id, prefix=prefix, after=after)
    if region:
        found = [bucket for bucket in found if bucket.region == region]
    limit = _MOST_BUCKETS if most is None else most
    if not 1 <= limit <= _MOST_BUCKETS:
        raise errors.invalid_argument(
            "Argument max-buckets must be an integer between 1 and 10000", "max-buckets"
        )
    page = found[:limit]
    answer: _Answer = {
        "Buckets": [
            {
                "Name": bucket.name,
                "CreationDate": bucket.created,
                "BucketArn": f"arn:aws:s3:::{bucket.name}",
                # S3 tells regions to those who ask in pages.
                **({"BucketRegion": bucket.region} if most is not None or region or prefix else {}),
            }
            for bucket in page
        ],
        "Owner": owner(call.account_id),
    }
    if prefix:
        answer["Prefix"] = prefix
    if len(found) > limit:
        answer["ContinuationToken"] = token_of(page[-1].name)
    return answer
