"""Model packages: models that were registered, as versions of a group or alone, and whether they may be deployed."""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services import permissions
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import authors, names, package_containers, package_names, paging, tag_sets
from stagedoor.services.sagemaker.names import MODEL_PACKAGE, validation
from stagedoor.services.sagemaker.refusals import refuse
from stagedoor.store.records import AlreadyExistsError, Document, Key, Reader, Record, Transaction

_NOT_YET = (
    "ValidationSpecification",
    "SourceAlgorithmSpecification",
    "CertifyForMarketplace",
    "ManagedStorageType",
)
_SPECIFICATIONS_AT_MOST = 15
_METADATA_AT_MOST = 50
_TOKENS_KEPT = 50


def create_model_package(call: Call, request: dict[str, Any]) -> Answer:
    """CreateModelPackage: the next version of a group, or a package of its own name. Completed at once: nothing is validated."""
    refuse(request, _NOT_YET)
    name, group = request.get("ModelPackageName"), request.get("ModelPackageGroupName")
    if bool(name) == bool(group):
        raise validation("Exactly one of ModelPackageName and ModelPackageGroupName is required.")
    if "InferenceSpecification" not in request and "SourceUri" not in request:
        raise validation("InferenceSpecification is required, or a SourceUri.")
    document = {
        member: value
        for member, value in request.items()
        if member not in ("Tags", "ClientToken", "ModelPackageGroupName", "ModelPackageName")
    }
    document |= _specifications(call, request)
    document |= {
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": False,
        **authors.creation(call),
    }
    if group:
        return {"ModelPackageArn": _add_version(call, request, group, document)}
    # Approval is for versions; AWS takes the member for others and does nothing with it.
    document.pop("ModelApprovalStatus", None)
    return {"ModelPackageArn": _add_alone(call, request, document)}


def _specifications(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The inference specifications with their model data looked up."""
    found: dict[str, Any] = {}
    if "InferenceSpecification" in request:
        found["InferenceSpecification"] = package_containers.checked(
            call, request["InferenceSpecification"], "InferenceSpecification."
        )
    if more := request.get("AdditionalInferenceSpecifications"):
        found["AdditionalInferenceSpecifications"] = _additional(call, more, [])
    return found


def _additional(
    call: Call, more: list[dict[str, Any]], present: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    checked = [
        package_containers.checked(call, one, f"AdditionalInferenceSpecifications.{number}.")
        for number, one in enumerate(more, 1)
    ]
    everything = [*present, *checked]
    if len({one["Name"] for one in everything}) < len(everything):
        raise validation("The names of AdditionalInferenceSpecifications must be unique.")
    if len(everything) > _SPECIFICATIONS_AT_MOST:
        raise validation(
            f"A model package has at most {_SPECIFICATIONS_AT_MOST} AdditionalInferenceSpecifications."
        )
    return everything


def _add_version(call: Call, request: Mapping[str, Any], group: str, document: Document) -> str:
    group_key = package_names.group_key(call, group)
    if group_key.account_id != call.account_id:
        raise validation(f"Model packages of another account's group ({group}) cannot be created here.")
    token = request.get("ClientToken")
    with call.house.records.transaction() as transaction:
        record = transaction.get(group_key)
        if record is None:
            raise validation(
                f"Model Package Group does not exist: {package_names.arn_of(group_key)}. Could not find it; create it with "
                "CreateModelPackageGroup."
            )
        tokens: list[list[Any]] = record.document.get("recentTokens", [])
        for known, arn in tokens:
            if token is not None and known == token:
                return arn
        version = record.document["lastVersion"] + 1
        key = Key(MODEL_PACKAGE.kind, group_key.account_id, group_key.region, f"{group_key.name}/{version}")
        arn = package_names.arn_of(key)
        kept = [*tokens, [token, arn]][-_TOKENS_KEPT:] if token is not None else tokens
        transaction.put(group_key, record.document | {"lastVersion": version, "recentTokens": kept})
        transaction.insert(
            key,
            {
                "ModelPackageGroupName": record.document["ModelPackageGroupName"],
                "ModelPackageVersion": version,
                "ModelPackageRegistrationType": "Registered",
                "ModelApprovalStatus": "PendingManualApproval",
            }
            | document
            | {"ModelPackageArn": arn},
        )
        tag_sets.add(transaction, arn, request.get("Tags"))
    return arn


def _add_alone(call: Call, request: Mapping[str, Any], document: Document) -> str:
    name = request["ModelPackageName"]
    key = names.key(call, MODEL_PACKAGE, name)
    arn = package_names.arn_of(key)
    token = request.get("ClientToken")
    try:
        with call.house.records.transaction() as transaction:
            existing = transaction.get(key)
            if existing is not None and token is not None and existing.document.get("clientToken") == token:
                return arn
            own = {"ModelPackageName": name, "ModelPackageArn": arn, "clientToken": token}
            transaction.insert(key, document | own)
            tag_sets.add(transaction, arn, request.get("Tags"))
    except AlreadyExistsError:
        raise validation(f"Model Package already exists: {arn}") from None
    return arn


def _existing(reader: Reader, key: Key) -> Record:
    record = reader.get(key)
    if record is None:
        raise validation(
            f"ModelPackage {package_names.arn_of(key)} does not exist. Could not find it in this region."
        )
    return record


def describe_model_package(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeModelPackage, by name, ``GROUP/VERSION`` or ARN. ``MetadataOnly`` leaves the model card out."""
    key = package_names.package_key(call, request["ModelPackageName"])
    answer = package_containers.described(_existing(call.house.records, key).document)
    if request.get("IncludedData") == "MetadataOnly":
        answer.pop("ModelCard", None)
    return answer


def list_model_packages(call: Call, request: dict[str, Any]) -> Answer:
    """ListModelPackages: versions of one group, or packages without a group (the default), oldest first unless told otherwise."""
    group = request.get("ModelPackageGroupName")
    wanted = request.get("ModelPackageType", "Versioned" if group else "Unversioned")
    account_id, region, prefix = call.account_id, call.region, ""
    if group:
        key = package_names.group_key(call, group)
        if call.house.records.get(key) is None or key.account_id != call.account_id:
            raise validation(
                f"Model Package Group does not exist: {package_names.arn_of(key)}. Could not find it."
            )
        prefix = f"{key.name}/"
    members = (
        "ModelPackageName",
        "ModelPackageGroupName",
        "ModelPackageVersion",
        "ModelPackageArn",
        "ModelPackageDescription",
        "CreationTime",
        "ModelPackageStatus",
        "ModelApprovalStatus",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
    )
    summaries: list[dict[str, Any]] = []
    for record in call.house.records.list(MODEL_PACKAGE.kind, account_id, region, prefix=prefix):
        document = record.document
        version = document.get("ModelPackageVersion")
        if wanted != "Both" and (version is not None) != (wanted == "Versioned"):
            continue
        asked = request.get("ModelApprovalStatus")
        if asked is not None and document.get("ModelApprovalStatus") != asked:
            continue
        name = str(document.get("ModelPackageGroupName") or document["ModelPackageName"])
        if (part := request.get("NameContains")) is not None and part.lower() not in name.lower():
            continue
        summary = {member: document[member] for member in members if member in document}
        summaries.append(summary | {"place": f"{name.lower()}/{version or 0:010}"})
    unfiltered = {name: value for name, value in request.items() if name != "NameContains"}
    return paging.answer(
        unfiltered,
        summaries,
        member="ModelPackageSummaryList",
        name_member="ModelPackageArn",
        order="Ascending",
        order_member="place",
    )


def update_model_package(call: Call, request: dict[str, Any]) -> Answer:
    """UpdateModelPackage: approval, life cycle, customers' metadata, and further inference specifications."""
    key = package_names.package_key(call, request["ModelPackageArn"])
    changes: dict[str, Any] = {
        member: request[member]
        for member in (
            "ModelApprovalStatus",
            "ModelPackageRegistrationType",
            "ApprovalDescription",
            "SourceUri",
            "ModelCard",
            "ModelLifeCycle",
        )
        if member in request
    }
    if "InferenceSpecification" in request:
        changes["InferenceSpecification"] = package_containers.checked(
            call, request["InferenceSpecification"], "InferenceSpecification."
        )
    with call.house.records.transaction() as transaction:
        document = _existing(transaction, key).document
        if "ModelPackageVersion" not in document and "ModelApprovalStatus" in changes:
            raise validation(
                f"The model package {document['ModelPackageArn']} is not a version of a group, so it needs no approval."
            )
        _update_metadata(request, document, changes)
        if more := request.get("AdditionalInferenceSpecificationsToAdd"):
            present = document.get("AdditionalInferenceSpecifications", [])
            changes["AdditionalInferenceSpecifications"] = _additional(call, more, present)
        transaction.put(key, document | changes | authors.change(call))
    return {"ModelPackageArn": document["ModelPackageArn"]}


def _update_metadata(request: Mapping[str, Any], document: Document, changes: dict[str, Any]) -> None:
    added: dict[str, str] = request.get("CustomerMetadataProperties") or {}
    removed: list[str] = request.get("CustomerMetadataPropertiesToRemove") or []
    if not added and not removed:
        return
    if both := sorted(set(added) & set(removed)):
        raise validation(f"CustomerMetadataProperties: {both[0]} is both to be set and to be removed.")
    present: dict[str, str] = document.get("CustomerMetadataProperties", {})
    merged = {name: value for name, value in (present | added).items() if name not in removed}
    if len(merged) > _METADATA_AT_MOST:
        raise validation(f"A model package has at most {_METADATA_AT_MOST} CustomerMetadataProperties.")
    changes["CustomerMetadataProperties"] = merged


def delete_model_package(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteModelPackage: models that were made from it stay."""
    key = package_names.package_key(call, request["ModelPackageName"])
    with call.house.records.transaction() as transaction:
        _existing(transaction, key)
        _delete(transaction, key)
    return {}


def _delete(transaction: Transaction, key: Key) -> None:
    transaction.delete(key)
    tag_sets.forget(transaction, package_names.arn_of(key))


def batch_describe_model_package(call: Call, request: dict[str, Any]) -> Answer:
    """BatchDescribeModelPackage: packages by ARN; what is not there, or not allowed, is told for each."""
    summaries: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for arn in request["ModelPackageArnList"]:
        try:
            summaries[arn] = _summary(call, arn)
        except AwsError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    answer: dict[str, Any] = {"ModelPackageSummaries": summaries}
    return answer | ({"BatchDescribeModelPackageErrorMap": errors} if errors else {})


def _summary(call: Call, arn: str) -> dict[str, Any]:
    key = package_names.package_key(call, arn)
    action, resource = "sagemaker:BatchDescribeModelPackage", package_names.arn_of(key)
    context = permissions.call_context(call)
    found = permissions.decision(call.house, call.caller, action, resource, lambda: context)
    if not found.allowed:
        raise permissions.refusal(
            call.house, "sagemaker", call.caller, action, resource, found, lambda: context
        )
    answer = package_containers.described(_existing(call.house.records, key).document)
    if "InferenceSpecification" not in answer or "ModelPackageGroupName" not in answer:
        raise validation(f"The model package {arn} is not a version with an InferenceSpecification.")
    members = (
        "ModelPackageGroupName",
        "ModelPackageVersion",
        "ModelPackageArn",
        "ModelPackageDescription",
        "CreationTime",
        "InferenceSpecification",
        "ModelPackageStatus",
        "ModelApprovalStatus",
        "ModelPackageRegistrationType",
    )
    return {member: answer[member] for member in members if member in answer}
