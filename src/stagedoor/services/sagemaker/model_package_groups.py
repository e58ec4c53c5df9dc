"""Model package groups: the versions of one model, and who else may see them.

A group counts its versions; numbers are never given twice. Its resource policy holds for its packages, too
(``services.permissions`` reads it).
"""

from typing import Any

from stagedoor.authz import policy_document
from stagedoor.authz.policy_document import PolicyError
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import authors, names, package_names, paging, tag_sets
from stagedoor.services.sagemaker.names import MODEL_PACKAGE, MODEL_PACKAGE_GROUP, validation
from stagedoor.services.sagemaker.refusals import refuse
from stagedoor.store.records import AlreadyExistsError, Key, Reader, Record

_POLICY_CHARACTERS = 20_480


def create_model_package_group(call: Call, request: dict[str, Any]) -> Answer:
    """CreateModelPackageGroup: an empty group, Completed at once."""
    refuse(request, ("ManagedConfiguration",))
    name = request["ModelPackageGroupName"]
    arn = names.arn(call, MODEL_PACKAGE_GROUP, name)
    document = {member: value for member, value in request.items() if member != "Tags"} | {
        "ModelPackageGroupArn": arn,
        "ModelPackageGroupStatus": "Completed",
        **authors.creation(call),
        "lastVersion": 0,
    }
    try:
        with call.house.records.transaction() as transaction:
            transaction.insert(names.key(call, MODEL_PACKAGE_GROUP, name), document)
            tag_sets.add(transaction, arn, request.get("Tags"))
    except AlreadyExistsError:
        raise validation(f"Model Package Group already exists: {arn}") from None
    return {"ModelPackageGroupArn": arn}


def _existing(reader: Reader, key: Key) -> Record:
    record = reader.get(key)
    if record is None:
        arn = package_names.arn_of(key)
        raise validation(f"ModelPackageGroup {arn} does not exist. Could not find it in this region.")
    return record


def describe_model_package_group(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeModelPackageGroup, by name or ARN."""
    key = package_names.group_key(call, request["ModelPackageGroupName"])
    return names.public(_existing(call.house.records, key).document)


def list_model_package_groups(call: Call, request: dict[str, Any]) -> Answer:
    """ListModelPackageGroups, oldest first unless told otherwise."""
    if request.get("CrossAccountFilterOption", "SameAccount") != "SameAccount":
        raise validation(
            "CrossAccountFilterOption CrossAccount is not supported by this release of stagedoor."
        )
    summarise = paging.members(
        "ModelPackageGroupName",
        "ModelPackageGroupArn",
        "ModelPackageGroupDescription",
        "CreationTime",
        "ModelPackageGroupStatus",
    )
    summaries = paging.ByCreation(call, MODEL_PACKAGE_GROUP.kind, summarise)
    return paging.answer(
        request,
        summaries,
        member="ModelPackageGroupSummaryList",
        name_member="ModelPackageGroupName",
        order="Ascending",
    )


def delete_model_package_group(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteModelPackageGroup: only when it is empty."""
    key = package_names.group_key(call, request["ModelPackageGroupName"])
    with call.house.records.transaction() as transaction:
        record = _existing(transaction, key)
        if transaction.list(MODEL_PACKAGE.kind, key.account_id, key.region, prefix=f"{key.name}/", limit=1):
            raise AwsError(
                "ConflictException",
                f"Model Package Group cannot be deleted because it still contains Model Packages: "
                f"{record.document['ModelPackageGroupArn']}",
                status=400,
            )
        transaction.delete(key)
        tag_sets.forget(transaction, package_names.arn_of(key))
    return {}


def put_model_package_group_policy(call: Call, request: dict[str, Any]) -> Answer:
    """PutModelPackageGroupPolicy: who else may use the group and its packages. ValidationException unless it is a policy."""
    policy = request["ResourcePolicy"]
    if len(policy) > _POLICY_CHARACTERS:
        raise validation(f"ResourcePolicy is longer than {_POLICY_CHARACTERS} characters.")
    try:
        policy_document.validate(policy, "resource")
    except PolicyError as error:
        raise validation(f"ResourcePolicy is not a policy document: {error}") from error
    key = names.key(call, MODEL_PACKAGE_GROUP, request["ModelPackageGroupName"])
    with call.house.records.transaction() as transaction:
        record = _existing(transaction, key)
        transaction.put(key, record.document | {"resourcePolicy": policy})
    return {"ModelPackageGroupArn": record.document["ModelPackageGroupArn"]}


def get_model_package_group_policy(call: Call, request: dict[str, Any]) -> Answer:
    """GetModelPackageGroupPolicy: the text that was put."""
    key = names.key(call, MODEL_PACKAGE_GROUP, request["ModelPackageGroupName"])
    document = _existing(call.house.records, key).document
    return {"ResourcePolicy": _policy(document["ModelPackageGroupArn"], document.get("resourcePolicy"))}


def delete_model_package_group_policy(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteModelPackageGroupPolicy."""
    key = names.key(call, MODEL_PACKAGE_GROUP, request["ModelPackageGroupName"])
    with call.house.records.transaction() as transaction:
        document = _existing(transaction, key).document
        _policy(document["ModelPackageGroupArn"], document.get("resourcePolicy"))
        transaction.put(key, {name: document[name] for name in document if name != "resourcePolicy"})
    return {}


def _policy(arn: str, policy: str | None) -> str:
    if policy is None:
        raise validation(f"Could not find a resource policy of the model package group {arn}.")
    return policy
