"""How model packages and their groups are named: ``NAME``, ``GROUP/VERSION``, or either in an ARN of whatever account."""

from stagedoor.domain.arns import Arn
from stagedoor.services.call import Call
from stagedoor.services.sagemaker.names import MODEL_PACKAGE, MODEL_PACKAGE_GROUP, ResourceType, validation
from stagedoor.store.records import Key

_TYPES = {resource.kind: resource for resource in (MODEL_PACKAGE, MODEL_PACKAGE_GROUP)}


def package_key(call: Call, text: str) -> Key:
    """Where the record of a package is. ValidationException for the ARN of something else."""
    return _key(call, MODEL_PACKAGE, text)


def group_key(call: Call, text: str) -> Key:
    """Where the record of a group is. ValidationException for the ARN of something else."""
    return _key(call, MODEL_PACKAGE_GROUP, text)


def arn_of(key: Key) -> str:
    """The ARN of a package's or group's record."""
    resource = _TYPES[key.kind]
    return str(Arn("sagemaker", key.region, key.account_id, f"{resource.arn_type}/{key.name}"))


def _key(call: Call, resource: ResourceType, text: str) -> Key:
    if not text.startswith("arn:"):
        return call.key(resource.kind, text.lower())
    try:
        arn = Arn.parse(text)
    except ValueError:
        raise validation(f"Invalid ARN: {text}") from None
    if arn.service != "sagemaker" or arn.resource_type != resource.arn_type:
        raise validation(f"The ARN {text} does not name a {resource.noun}.")
    return Key(resource.kind, arn.account_id, arn.region, arn.resource_id.lower())
