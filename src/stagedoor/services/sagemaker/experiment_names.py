"""How experiments, trials and their components are told apart, found, and missed.

SageMaker answers ``ResourceNotFound`` for them, and a ValidationException with "already exists" when a name is taken: SDKs
look for these words and load what is there.
"""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.sagemaker import authors, names, tag_sets
from stagedoor.services.sagemaker.names import ResourceType, validation
from stagedoor.store.records import AlreadyExistsError, Document, Key, Reader, Record, Transaction

ASSOCIATION = "sagemaker.trial_association"
"""Records of which component belongs to which trial: named ``TRIAL/COMPONENT``."""


def insert(
    call: Call, transaction: Transaction, resource: ResourceType, name: str, document: Document
) -> str:
    """Record something new, with its tags; its ARN. ``document`` is the request with what is known besides. AwsError when taken."""
    arn = names.arn(call, resource, name)
    own = {"DisplayName": name} | {member: value for member, value in document.items() if member != "Tags"}
    try:
        transaction.insert(
            names.key(call, resource, name), own | authors.creation(call) | authors.change(call)
        )
    except AlreadyExistsError:
        raise taken(call, resource, name) from None
    tag_sets.add(transaction, arn, document.get("Tags"))
    return arn


def existing(call: Call, reader: Reader, resource: ResourceType, text: str) -> Record:
    """The record of that name or ARN. AwsError ResourceNotFound."""
    record = reader.get(key(call, resource, text))
    if record is None:
        raise not_found(resource, text)
    return record


def key(call: Call, resource: ResourceType, text: str) -> Key:
    """Where the record of that name or ARN is; an ARN of another account or kind is not found."""
    if not text.startswith("arn:"):
        return names.key(call, resource, text)
    arn = Arn.parse(text)
    if (arn.account_id, arn.region, arn.resource_type) != (call.account_id, call.region, resource.arn_type):
        raise not_found(resource, text)
    return names.key(call, resource, arn.resource_id)


def not_found(resource: ResourceType, text: str) -> AwsError:
    """Nothing has that name."""
    return AwsError("ResourceNotFound", f"{resource.noun.capitalize()} '{text}' does not exist.", status=400)


def taken(call: Call, resource: ResourceType, name: str) -> AwsError:
    """Something has that name already."""
    return validation(
        f"{resource.noun.capitalize()} names must be unique within an AWS account and region. {resource.noun.capitalize()} "
        f"with name '{name}' already exists ({names.arn(call, resource, name)})."
    )


def association(call: Call, trial: str, component: str) -> Key:
    """Where it says that a component belongs to a trial."""
    return call.key(ASSOCIATION, f"{trial.lower()}/{component.lower()}")


def components_of(call: Call, reader: Reader, trial: str) -> list[str]:
    """The keys' names of a trial's components."""
    rows = reader.list(ASSOCIATION, call.account_id, call.region, prefix=f"{trial.lower()}/")
    return [row.name.partition("/")[2] for row in rows]


def trials_of(call: Call, reader: Reader, component: str) -> list[str]:
    """The keys' names of the trials that a component belongs to."""
    rows = reader.list(ASSOCIATION, call.account_id, call.region)
    wanted = component.lower()
    return [trial for trial, _, each in (row.name.partition("/") for row in rows) if each == wanted]


def by_creation(request: Mapping[str, Any]) -> dict[str, Any]:
    """A List request in the words of SageMaker's other lists."""
    renamed = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    return {renamed.get(name, name): value for name, value in request.items()}
