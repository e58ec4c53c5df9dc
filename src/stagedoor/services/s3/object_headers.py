"""What is stored with an object besides its bytes: from a request's headers, and back into an answer's."""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3 import errors, tag_sets
from stagedoor.services.s3.integrity import refuse
from stagedoor.services.s3.members import document, documents
from stagedoor.store.object_rows import Bucket, ObjectRow

DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"
METADATA_MAX_BYTES: Final = 2048
# Kept as they were sent and answered by GetObject and HeadObject.
STORED: Final = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires")
# Parts of S3 that are not built, by the header that asks for them.
_UNBUILT: Final = {
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
    "SSECustomerKey": "x-amz-server-side-encryption-customer-key",
    "SSECustomerKeyMD5": "x-amz-server-side-encryption-customer-key-MD5",
    "CopySourceSSECustomerAlgorithm": "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "CopySourceSSECustomerKey": "x-amz-copy-source-server-side-encryption-customer-key",
    "CopySourceSSECustomerKeyMD5": "x-amz-copy-source-server-side-encryption-customer-key-MD5",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockEventHold": "x-amz-object-lock-event-hold",
    "ObjectLockEventHoldDurationDays": "x-amz-object-lock-event-hold-duration-days",
    "ObjectLockEventHoldDurationYears": "x-amz-object-lock-event-hold-duration-years",
    "BypassGovernanceRetention": "x-amz-bypass-governance-retention",
    "MFA": "x-amz-mfa",
    "WriteOffsetBytes": "x-amz-write-offset-bytes",
    "AnnotationDirective": "x-amz-annotation-directive",
}
_GRANTS: Final = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
_STORAGE_CLASSES: Final = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
)
_ARCHIVED: Final = ("GLACIER", "DEEP_ARCHIVE")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f]")


def refuse_unbuilt(request: Mapping[str, Any]) -> None:
    """NotImplemented for encryption by a customer's key, Object Lock and other parts that are not built."""
    refuse(request, _UNBUILT)
    if request.get("ServerSideEncryption") not in (None, "AES256", "aws:kms"):
        raise errors.header_not_implemented(
            f"x-amz-server-side-encryption: {request['ServerSideEncryption']}"
        )


def refuse_acl(request: Mapping[str, Any]) -> None:
    """Objects belong to the bucket's owner (BucketOwnerEnforced): only ACLs that say just this are accepted."""
    granted = any(request.get(name) for name in _GRANTS)
    if granted or request.get("ACL") not in (None, "private", "bucket-owner-full-control"):
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs", status=400)


def attributes_of(request: Mapping[str, Any], bucket: Bucket) -> dict[str, Any]:
    """The attributes to store from PutObject's, CopyObject's or CreateMultipartUpload's members.

    InvalidArgument, MetadataTooLarge, InvalidTag and so on for what cannot be stored.
    """
    attributes: dict[str, Any] = {"ContentType": request.get("ContentType") or DEFAULT_CONTENT_TYPE}
    attributes |= {name: request[name] for name in STORED if request.get(name)}
    encoding = _without_chunked(attributes.pop("ContentEncoding", ""))
    if encoding:
        attributes["ContentEncoding"] = encoding
    for name, value in attributes.items():
        if _UNSAFE.search(str(value)):
            raise errors.invalid_argument(f"{name} must not contain control characters", name)
    metadata = metadata_of(request)
    if metadata:
        attributes["Metadata"] = metadata
    redirect = request.get("WebsiteRedirectLocation")
    if redirect is not None:
        attributes["WebsiteRedirectLocation"] = _redirect(redirect)
    attributes |= encryption_of(request, bucket)
    tags = tags_in_header(request.get("Tagging"))
    if tags:
        attributes["Tags"] = tags
    return attributes


def _without_chunked(encoding: str) -> str:
    """``aws-chunked`` describes the transfer, not the object: S3 does not store it."""
    kept = [token.strip() for token in encoding.split(",") if token.strip().lower() != "aws-chunked"]
    return ",".join(token for token in kept if token)


def metadata_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The user's metadata with lower-case names; at most 2 KB."""
    metadata: dict[str, str] = {}
    for name, value in document(request, "Metadata").items():
        if _UNSAFE.search(name) or _UNSAFE.search(value):
            raise errors.invalid_argument(
                "Metadata must not contain control characters", f"x-amz-meta-{name}"
            )
        metadata[name.lower()] = _as_sent(value)
    size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size_bytes > METADATA_MAX_BYTES:
        raise AwsError(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            status=400,
            members={"Size": str(size_bytes), "MaxSizeAllowed": str(METADATA_MAX_BYTES)},
        )
    return metadata


def _as_sent(value: str) -> str:
    """Header bytes outside ASCII arrive as Latin-1; clients that send such mean UTF-8."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _redirect(value: str) -> str:
    if not value.startswith(("/", "http://", "https://")) or _UNSAFE.search(value) or len(value) > 2048:
        raise AwsError(
            "InvalidRedirectLocation",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            status=400,
        )
    return value


def encryption_of(request: Mapping[str, Any], bucket: Bucket) -> dict[str, Any]:
    """How the object says it is encrypted: by the request, else by the bucket's default, else AES256.

    As on AWS every object says so. The bytes are as safe as the data directory: keys of KMS are recorded, not used.
    """
    kind = request.get("ServerSideEncryption")
    if kind is None:
        default = documents(document(bucket.settings, "ServerSideEncryptionConfiguration"), "Rules")
        rule = document(default[0], "ApplyServerSideEncryptionByDefault") if default else {}
        kind = rule.get("SSEAlgorithm", "AES256")
        key_id = rule.get("KMSMasterKeyID")
    else:
        key_id = request.get("SSEKMSKeyId")
    if kind == "AES256" and request.get("SSEKMSKeyId"):
        raise errors.invalid_argument(
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            "x-amz-server-side-encryption",
            kind,
        )
    found: dict[str, Any] = {"ServerSideEncryption": kind}
    if kind == "aws:kms" and key_id:
        found["SSEKMSKeyId"] = key_id
    if kind == "aws:kms" and request.get("BucketKeyEnabled"):
        found["BucketKeyEnabled"] = True
    return found


def storage_class_of(request: Mapping[str, Any]) -> str:
    """The storage class to record; InvalidStorageClass for one a bucket of this kind does not have."""
    storage_class = request.get("StorageClass") or "STANDARD"
    if storage_class not in _STORAGE_CLASSES:
        raise AwsError("InvalidStorageClass", "The storage class you specified is not valid", status=400)
    return storage_class


def check_readable(row: ObjectRow) -> None:
    """InvalidObjectState for archived objects: they would have to be restored first."""
    if row.storage_class in _ARCHIVED:
        raise AwsError(
            "InvalidObjectState",
            "The operation is not valid for the object's storage class",
            status=403,
            members={"StorageClass": row.storage_class},
        )


def tags_in_header(header: str | None) -> list[dict[str, str]]:
    """The tags of ``x-amz-tagging``, which is written like a query string."""
    if not header:
        return []
    try:
        pairs = parse_qsl(header, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError as error:
        raise errors.invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates.",
            "x-amz-tagging",
            header,
        ) from error
    return tag_sets.checked([{"Key": key, "Value": value} for key, value in pairs], tag_sets.OBJECT_TAGS)


def encryption_members(row: ObjectRow) -> dict[str, Any]:
    """The encryption members of an answer about ``row``."""
    names = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")
    return {name: row.attributes[name] for name in names if name in row.attributes}


def checksum_answer(row: ObjectRow) -> dict[str, Any]:
    """``Checksum…`` and ``ChecksumType`` of ``row``."""
    checksum = row.attributes.get("Checksum")
    if not checksum:
        return {}
    return {f"Checksum{checksum['algorithm']}": checksum["value"], "ChecksumType": checksum["type"]}


def answer_members(row: ObjectRow) -> dict[str, Any]:
    """What GetObject and HeadObject both answer, without length, range, version and checksum."""
    members: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": row.last_modified,
        "ETag": f'"{row.etag}"',
        "ContentType": row.content_type,
        **{name: row.attributes[name] for name in STORED if name in row.attributes},
        **encryption_members(row),
    }
    metadata: dict[str, str] = row.attributes.get("Metadata", {})
    if metadata:
        members["Metadata"] = {name: _header_text(value) for name, value in metadata.items()}
    if "WebsiteRedirectLocation" in row.attributes:
        members["WebsiteRedirectLocation"] = row.attributes["WebsiteRedirectLocation"]
    if row.storage_class != "STANDARD":
        members["StorageClass"] = row.storage_class
    tags = row.attributes.get("Tags")
    if tags:
        members["TagCount"] = len(tags)
    return members


def _header_text(value: str) -> str:
    """Text outside ASCII travels in headers as RFC 2047 has it, as S3 answers it."""
    if value.isascii():
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def response_overrides(request: Mapping[str, Any]) -> dict[str, str]:
    """The ``response-*`` parameters of GetObject and HeadObject. InvalidArgument for a value with a line end."""
    found: dict[str, str] = {}
    for name in (*STORED, "ContentType"):
        value = request.get(f"Response{name}")
        if value is None:
            continue
        # `response-expires` is a timestamp in the model, all others are text.
        text = format_datetime(value, usegmt=True) if isinstance(value, datetime) else str(value)
        if _UNSAFE.search(text) or not text.isascii():
            raise errors.invalid_argument(
                "Header value cannot be represented using ISO-8859-1.", f"response-{_dashed(name)}", text
            )
        found[name] = text
    return found


def _dashed(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
