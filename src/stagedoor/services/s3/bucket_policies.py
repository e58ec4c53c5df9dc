"""Bucket policies and the public access block that watches over them."""

from functools import lru_cache
from typing import Any, Final

from stagedoor.authz import policy_document, service_authorization, wildcards
from stagedoor.authz.policy_document import PolicyError
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, public_access
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of
from stagedoor.services.s3.public_access import ALL_BLOCKED
from stagedoor.store.object_rows import Bucket

_Answer = dict[str, Any]
POLICY_MAX_BYTES: Final = 20 * 1024


def get_bucket_policy(call: Call, request: dict[str, Any]) -> _Answer:
    return {"Policy": _require_policy(call, bucket_of(call, request))}


def _require_policy(call: Call, bucket: Bucket) -> str:
    document = public_access.policy_of(call.house, bucket)
    if document is None:
        raise AwsError(
            "NoSuchBucketPolicy",
            "The bucket policy does not exist",
            status=404,
            members={"BucketName": bucket.name},
        )
    return document


def put_bucket_policy(call: Call, request: dict[str, Any]) -> _Answer:
    """Store a policy. MalformedPolicy; AccessDenied for a public one while BlockPublicPolicy is on."""
    bucket = bucket_of(call, request)
    document: str = request["Policy"]
    if len(document.encode()) > POLICY_MAX_BYTES:
        raise _malformed(
            f"Policy document is larger than the maximum allowed size of {POLICY_MAX_BYTES} bytes"
        )
    _check(document, bucket)
    if public_access.blocks(bucket, "BlockPublicPolicy") and public_access.is_public(document):
        raise AwsError(
            "AccessDenied",
            f"User: {call.caller.arn} is not authorized to perform: s3:PutBucketPolicy on resource: "
            f'"arn:aws:s3:::{bucket.name}" because public policies are prevented by the BlockPublicPolicy setting in S3 '
            "Block Public Access.",
            status=403,
        )
    with call.house.records.transaction() as transaction:
        transaction.put(public_access.policy_key(bucket.account_id, bucket.name), {"Policy": document})
    return {}


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicy", message, status=400)


def _check(document: str, bucket: Bucket) -> None:
    """A resource policy whose statements speak of S3 and of this bucket."""
    try:
        policy_document.validate(document, "resource")
    except PolicyError as error:
        raise _malformed(str(error)) from error
    arn = f"arn:aws:s3:::{bucket.name}"
    for statement in public_access.statements_of(document):
        resources = _texts(statement.get("Resource", statement.get("NotResource")))
        for resource in resources:
            if resource not in ("*", arn) and not resource.startswith((f"{arn}/", f"{arn}*")):
                raise _malformed("Policy has invalid resource")
        named = {"bucket" for each in resources if "/" not in each} | {
            "object" for each in resources if "/" in each or each.endswith("*")
        }
        # What a statement speaks of by exclusion may be anything.
        known = named if "Resource" in statement else {"bucket", "object"}
        for pattern in _texts(statement.get("Action", statement.get("NotAction"))):
            applies_to = _applies_to(pattern)
            if applies_to is None:
                raise _malformed("Policy has invalid action")
            if "Action" in statement and not applies_to & known:
                raise _malformed("Action does not apply to any resource(s) in statement")


@lru_cache(maxsize=256)
def _applies_to(pattern: str) -> frozenset[str] | None:
    """``bucket``, ``object``, both or neither: what the actions that fit are about. None when there is no such action."""
    if pattern == "*":
        return frozenset({"bucket", "object"})
    prefix, _, short = pattern.partition(":")
    fitting = [
        name
        for name in service_authorization.action_names("s3")
        if prefix.lower() == "s3" and wildcards.matches(short, name, ignore_case=True)
    ]
    if not fitting:
        return None
    facts = (service_authorization.action(f"s3:{name}") for name in fitting)
    return frozenset(kind for fact in facts if fact is not None for kind in (*fact.required, *fact.optional))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def delete_bucket_policy(call: Call, request: dict[str, Any]) -> _Answer:
    bucket = bucket_of(call, request)
    public_access.forget_policy(call.house, bucket.account_id, bucket.name)
    return {}


def get_bucket_policy_status(call: Call, request: dict[str, Any]) -> _Answer:
    document = _require_policy(call, bucket_of(call, request))
    return {"PolicyStatus": {"IsPublic": public_access.is_public(document)}}


def get_public_access_block(call: Call, request: dict[str, Any]) -> _Answer:
    bucket = bucket_of(call, request)
    configuration = bucket.settings.get("PublicAccessBlockConfiguration")
    if configuration is None:
        raise AwsError(
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
            status=404,
            members={"BucketName": bucket.name},
        )
    return {"PublicAccessBlockConfiguration": configuration}


def put_public_access_block(call: Call, request: dict[str, Any]) -> _Answer:
    """Replace all four settings; one that is not given is off."""
    bucket = bucket_of(call, request)
    given = request["PublicAccessBlockConfiguration"]
    if not given:
        raise errors.invalid_request("Must specify at least one configuration.")
    configuration = {name: bool(given.get(name)) for name in ALL_BLOCKED}
    with as_s3_errors(request):
        call.house.objects.update_bucket(
            bucket.name, settings={"PublicAccessBlockConfiguration": configuration}
        )
    return {}


def delete_public_access_block(call: Call, request: dict[str, Any]) -> _Answer:
    bucket = bucket_of(call, request)
    with as_s3_errors(request):
        call.house.objects.update_bucket(bucket.name, settings={"PublicAccessBlockConfiguration": None})
    return {}
