"""What a bucket answers about configurations that cannot be set here: that there are none. Clients such as Terraform ask."""

from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.s3.lookup import bucket_of

_Answer = dict[str, Any]


def _absent(call: Call, request: dict[str, Any], code: str, message: str) -> AwsError:
    bucket = bucket_of(call, request)
    return AwsError(code, message, status=404, members={"BucketName": bucket.name})


def get_bucket_logging(call: Call, request: dict[str, Any]) -> _Answer:
    """Server access logging is off."""
    bucket_of(call, request)
    return {}


def get_bucket_request_payment(call: Call, request: dict[str, Any]) -> _Answer:
    """The owner pays."""
    bucket_of(call, request)
    return {"Payer": "BucketOwner"}


def get_bucket_accelerate_configuration(call: Call, request: dict[str, Any]) -> _Answer:
    """Never enabled."""
    bucket_of(call, request)
    return {}


def get_bucket_notification_configuration(call: Call, request: dict[str, Any]) -> _Answer:
    """Nobody is notified."""
    bucket_of(call, request)
    return {}


def get_bucket_lifecycle_configuration(call: Call, request: dict[str, Any]) -> _Answer:
    raise _absent(call, request, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")


def get_bucket_replication(call: Call, request: dict[str, Any]) -> _Answer:
    raise _absent(
        call,
        request,
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    )


def get_object_lock_configuration(call: Call, request: dict[str, Any]) -> _Answer:
    raise _absent(
        call,
        request,
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    )
