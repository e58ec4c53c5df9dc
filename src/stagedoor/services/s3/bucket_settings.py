"""Configurations of a bucket: CORS, website, versioning, encryption, ownership, ACL."""

from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, website_rules
from stagedoor.services.s3.lookup import as_s3_errors, bucket_of, object_of
from stagedoor.services.s3.members import document, documents, texts
from stagedoor.services.s3.owners import owner
from stagedoor.store.object_rows import Bucket

_Answer = dict[str, Any]
_CORS_METHODS: Final = ("GET", "PUT", "HEAD", "POST", "DELETE")
_GRANTS: Final = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")


def _store(call: Call, request: dict[str, Any], name: str, value: object) -> None:
    bucket = bucket_of(call, request)
    with as_s3_errors(request):
        call.house.objects.update_bucket(bucket.name, settings={name: value})


def _stored(bucket: Bucket, name: str, code: str, message: str) -> Any:
    value = bucket.settings.get(name)
    if value is None:
        raise AwsError(code, message, status=404, members={"BucketName": bucket.name})
    return value


# CORS ---------------------------------------------------------------------------------------------------------------


def get_bucket_cors(call: Call, request: dict[str, Any]) -> _Answer:
    found = _stored(
        bucket_of(call, request),
        "CORSConfiguration",
        "NoSuchCORSConfiguration",
        "The CORS configuration does not exist",
    )
    return dict(found)


def put_bucket_cors(call: Call, request: dict[str, Any]) -> _Answer:
    rules = documents(request["CORSConfiguration"], "CORSRules")
    if not 1 <= len(rules) <= 100:
        raise errors.invalid_request("The CORS configuration must have between 1 and 100 rules.")
    for rule in rules:
        for method in texts(rule, "AllowedMethods"):
            if method not in _CORS_METHODS:
                raise errors.invalid_request(
                    f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
                )
        for name in ("AllowedOrigins", "AllowedHeaders"):
            for value in texts(rule, name):
                if value.count("*") > 1:
                    raise errors.invalid_request(
                        f'{name[:-1]} "{value}" can not have more than one wildcard.'
                    )
        for value in texts(rule, "ExposeHeaders"):
            if "*" in value:
                raise errors.invalid_request(
                    f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
                )
    _store(call, request, "CORSConfiguration", {"CORSRules": rules})
    return {}


def delete_bucket_cors(call: Call, request: dict[str, Any]) -> _Answer:
    _store(call, request, "CORSConfiguration", None)
    return {}


# Website ------------------------------------------------------------------------------------------------------------


def get_bucket_website(call: Call, request: dict[str, Any]) -> _Answer:
    found = _stored(
        bucket_of(call, request),
        "WebsiteConfiguration",
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    )
    return dict(found)


def put_bucket_website(call: Call, request: dict[str, Any]) -> _Answer:
    configuration = request["WebsiteConfiguration"]
    website_rules.check(configuration)
    _store(call, request, "WebsiteConfiguration", configuration)
    return {}


def delete_bucket_website(call: Call, request: dict[str, Any]) -> _Answer:
    _store(call, request, "WebsiteConfiguration", None)
    return {}


# Versioning ---------------------------------------------------------------------------------------------------------


def get_bucket_versioning(call: Call, request: dict[str, Any]) -> _Answer:
    versioning = bucket_of(call, request).versioning
    return {"Status": versioning} if versioning else {}


def put_bucket_versioning(call: Call, request: dict[str, Any]) -> _Answer:
    """Enable or suspend; once enabled it never goes back to unset."""
    configuration = request["VersioningConfiguration"]
    if configuration.get("MFADelete") == "Enabled" or request.get("MFA") is not None:
        raise errors.header_not_implemented("x-amz-mfa", "MFA delete is not built.")
    status = configuration.get("Status")
    if status not in ("Enabled", "Suspended"):
        raise AwsError(
            "IllegalVersioningConfigurationException",
            "The Versioning element must be specified",
            status=400,
        )
    bucket = bucket_of(call, request)
    with as_s3_errors(request):
        call.house.objects.update_bucket(bucket.name, versioning=status)
    return {}


# Encryption ---------------------------------------------------------------------------------------------------------

_DEFAULT_ENCRYPTION: Final[dict[str, Any]] = {
    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
}


def get_bucket_encryption(call: Call, request: dict[str, Any]) -> _Answer:
    """What was set, else what every bucket has."""
    found = bucket_of(call, request).settings.get("ServerSideEncryptionConfiguration")
    return {"ServerSideEncryptionConfiguration": found or _DEFAULT_ENCRYPTION}


def put_bucket_encryption(call: Call, request: dict[str, Any]) -> _Answer:
    configuration = request["ServerSideEncryptionConfiguration"]
    rules = documents(configuration, "Rules")
    if len(rules) != 1:
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            status=400,
        )
    rule = document(rules[0], "ApplyServerSideEncryptionByDefault")
    algorithm = rule.get("SSEAlgorithm", "AES256")
    if algorithm not in ("AES256", "aws:kms"):
        raise errors.header_not_implemented(f"SSEAlgorithm: {algorithm}")
    if algorithm == "AES256" and rule.get("KMSMasterKeyID"):
        raise errors.invalid_argument(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
            "ApplyServerSideEncryptionByDefault",
        )
    if rules[0].get("BlockedEncryptionTypes"):
        raise errors.header_not_implemented("BlockedEncryptionTypes")
    _store(call, request, "ServerSideEncryptionConfiguration", configuration)
    return {}


def delete_bucket_encryption(call: Call, request: dict[str, Any]) -> _Answer:
    """Back to what every bucket has."""
    _store(call, request, "ServerSideEncryptionConfiguration", None)
    return {}


# Ownership and ACLs -------------------------------------------------------------------------------------------------


def get_bucket_ownership_controls(call: Call, request: dict[str, Any]) -> _Answer:
    """BucketOwnerEnforced, the default of AWS and the only one built."""
    found = _stored(
        bucket_of(call, request),
        "OwnershipControls",
        "OwnershipControlsNotFoundError",
        "The bucket ownership controls were not found",
    )
    return {"OwnershipControls": found}


def put_bucket_ownership_controls(call: Call, request: dict[str, Any]) -> _Answer:
    rules = documents(request["OwnershipControls"], "Rules")
    if len(rules) != 1 or rules[0].get("ObjectOwnership") != "BucketOwnerEnforced":
        named = rules[0].get("ObjectOwnership") if rules else None
        raise errors.header_not_implemented(
            f"ObjectOwnership: {named}",
            "Buckets have no ACLs here: use BucketOwnerEnforced and a bucket policy.",
        )
    _store(call, request, "OwnershipControls", {"Rules": rules})
    return {}


def delete_bucket_ownership_controls(call: Call, request: dict[str, Any]) -> _Answer:
    _store(call, request, "OwnershipControls", None)
    return {}


def _acl(account_id: str) -> _Answer:
    grantee = {**owner(account_id), "Type": "CanonicalUser"}
    return {"Owner": owner(account_id), "Grants": [{"Grantee": grantee, "Permission": "FULL_CONTROL"}]}


def get_bucket_acl(call: Call, request: dict[str, Any]) -> _Answer:
    """The owner, and nobody else."""
    return _acl(bucket_of(call, request).account_id)


def get_object_acl(call: Call, request: dict[str, Any]) -> _Answer:
    """The bucket's owner, and nobody else."""
    bucket = bucket_of(call, request)
    object_of(call, bucket, request["Key"], request.get("VersionId"))
    return _acl(bucket.account_id)


def put_bucket_acl(call: Call, request: dict[str, Any]) -> _Answer:
    """Accepts what is true anyway, refuses all else: buckets have no ACLs."""
    _refuse_acl(request, bucket_of(call, request), "private")
    return {}


def put_object_acl(call: Call, request: dict[str, Any]) -> _Answer:
    """As ``put_bucket_acl``."""
    bucket = bucket_of(call, request)
    object_of(call, bucket, request["Key"], request.get("VersionId"), "PUT")
    _refuse_acl(request, bucket, "private", "bucket-owner-full-control")
    return {}


def _refuse_acl(request: dict[str, Any], bucket: Bucket, *accepted: str) -> None:
    canned, stated = request.get("ACL"), request.get("AccessControlPolicy")
    if canned is None and not stated and not any(request.get(grant) for grant in _GRANTS):
        raise AwsError("MissingSecurityHeader", "Your request was missing a required header", status=400)
    same = canned in accepted or (bool(stated) and stated == _acl(bucket.account_id))
    if not same or any(request.get(grant) for grant in _GRANTS):
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs", status=400)
