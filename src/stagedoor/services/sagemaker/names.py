"""How SageMaker names its resources, and what it says when they are not there or there already.

Names keep their case but are unique regardless of it: ARNs are in lower case, and so are the keys of records.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Key, Reader, Record


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One kind of resource: its records, its ARNs, and what AWS's texts call it."""

    kind: str
    arn_type: str
    noun: str


MODEL: Final = ResourceType("sagemaker.model", "model", "model")
ENDPOINT_CONFIG: Final = ResourceType(
    "sagemaker.endpoint_config", "endpoint-config", "endpoint configuration"
)
ENDPOINT: Final = ResourceType("sagemaker.endpoint", "endpoint", "endpoint")
TRAINING_JOB: Final = ResourceType("sagemaker.training_job", "training-job", "training job")
TRANSFORM_JOB: Final = ResourceType("sagemaker.transform_job", "transform-job", "transform job")
PROCESSING_JOB: Final = ResourceType("sagemaker.processing_job", "processing-job", "processing job")
MODEL_PACKAGE_GROUP: Final = ResourceType(
    "sagemaker.model_package_group", "model-package-group", "model package group"
)
MODEL_PACKAGE: Final = ResourceType("sagemaker.model_package", "model-package", "model package")
EXPERIMENT: Final = ResourceType("sagemaker.experiment", "experiment", "experiment")
TRIAL: Final = ResourceType("sagemaker.trial", "experiment-trial", "trial")
TRIAL_COMPONENT: Final = ResourceType(
    "sagemaker.trial_component", "experiment-trial-component", "trial component"
)
TUNING_JOB: Final = ResourceType(
    "sagemaker.tuning_job", "hyper-parameter-tuning-job", "hyperparameter tuning job"
)

TYPES: Final = (
    MODEL,
    ENDPOINT_CONFIG,
    ENDPOINT,
    TRAINING_JOB,
    TRANSFORM_JOB,
    PROCESSING_JOB,
    MODEL_PACKAGE_GROUP,
    MODEL_PACKAGE,
    EXPERIMENT,
    TRIAL,
    TRIAL_COMPONENT,
    TUNING_JOB,
)


def validation(message: str) -> AwsError:
    """SageMaker's answer to nearly everything that is wrong with a request."""
    return AwsError("ValidationException", message, status=400)


def key(call: Call, resource: ResourceType, name: str) -> Key:
    """Where the record of a resource of this account and region is."""
    return call.key(resource.kind, name.lower())


def arn(call: Call, resource: ResourceType, name: str) -> str:
    """The ARN of a resource of this account and region."""
    return call.arn("sagemaker", f"{resource.arn_type}/{name.lower()}")


def not_found(call: Call, resource: ResourceType, name: str) -> AwsError:
    """``Could not find endpoint "arn:…".``; clients look for the first three words."""
    return validation(f'Could not find {resource.noun} "{arn(call, resource, name)}".')


def already_exists(call: Call, resource: ResourceType, name: str) -> AwsError:
    """``Cannot create already existing endpoint "arn:…".``."""
    return validation(f'Cannot create already existing {resource.noun} "{arn(call, resource, name)}".')


def existing(call: Call, reader: Reader, resource: ResourceType, name: str) -> Record:
    """The record of that name; AWS's "Could not find" otherwise."""
    record = reader.get(key(call, resource, name))
    if record is None:
        raise not_found(call, resource, name)
    return record


def public(document: Mapping[str, Any]) -> Document:
    """What of a record a Describe operation answers: AWS's members, without those that are absent."""
    return {name: value for name, value in document.items() if name[:1].isupper() and value is not None}
