"""The containers of model packages: checked when a package is made, and turned into a model's container when it is deployed.

The model data of each container is looked up and hashed like CreateModel does it. A package remembers what it saw, so a model
made from it later serves these very bytes or is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagedoor.services import permissions
from stagedoor.services.call import Call
from stagedoor.services.sagemaker import artifacts, names, package_names
from stagedoor.services.sagemaker.names import validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported
from stagedoor.store.records import Document

_NOT_YET = ("ProductId", "AdditionalS3DataSource", "BaseModel", "IsCheckpoint")


def checked(call: Call, specification: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The specification as it is described: containers with the ETag of their data. ValidationException naming what is wrong."""
    containers: Sequence[dict[str, Any]] = specification["Containers"]
    described = [
        _checked(call, container, f"{path}Containers.{number}.")
        for number, container in enumerate(containers, 1)
    ]
    return {**specification, "Containers": described}


def _checked(call: Call, container: dict[str, Any], path: str) -> dict[str, Any]:
    refuse(container, _NOT_YET, path)
    if not container.get("Image"):
        raise validation(f"{path}Image is required.")
    if not container.get("ModelDataUrl") and not container.get("ModelDataSource"):
        return container
    artifact = artifacts.find(call, artifacts.model_data_url(container, path), None)
    return {**container, "ModelDataETag": artifact["etag"], "artifact": artifact}


def described(document: Document) -> dict[str, Any]:
    """A package as Describe answers it: without what is the house's own."""
    answer = {name: value for name, value in names.public(document).items() if value not in ({}, [])}
    if "InferenceSpecification" in answer:
        answer["InferenceSpecification"] = _shown(answer["InferenceSpecification"])
    if "AdditionalInferenceSpecifications" in answer:
        answer["AdditionalInferenceSpecifications"] = [
            _shown(one) for one in answer["AdditionalInferenceSpecifications"]
        ]
    return answer


def _shown(specification: Mapping[str, Any]) -> dict[str, Any]:
    containers: Sequence[Mapping[str, Any]] = specification["Containers"]
    shown = [{name: value for name, value in each.items() if name != "artifact"} for each in containers]
    return {**specification, "Containers": shown}


def deployable(call: Call, container: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The container of a model that names a package: the package's own, with the model's environment on top.

    ValidationException when there is no such package, it is not approved, or has no single container; AccessDeniedException
    when it is another account's and its group's policy does not allow CreateModel.
    """
    refuse(container, ("Image", "ModelDataUrl", "ModelDataSource", "ImageConfig"), path)
    key = package_names.package_key(call, container["ModelPackageName"])
    arn = package_names.arn_of(key)
    if key.account_id != call.account_id:
        context = permissions.call_context(call)
        found = permissions.decision(call.house, call.caller, "sagemaker:CreateModel", arn, lambda: context)
        if not found.allowed:
            raise permissions.refusal(
                call.house, "sagemaker", call.caller, "sagemaker:CreateModel", arn, found, lambda: context
            )
    record = call.house.records.get(key)
    if record is None:
        raise validation(f"Could not find model package {arn}.")
    _require_approved(record.document, arn)
    specification = _specification(record.document, container.get("InferenceSpecificationName"), path)
    if len(specification["Containers"]) > 1:
        raise unsupported(
            f"{path}ModelPackageName of a package with {len(specification['Containers'])} containers (an inference pipeline)",
            "Use a package with one container.",
        )
    packed: dict[str, Any] = specification["Containers"][0]
    refuse(packed, ("AdditionalModelDataSources",), f"the model package's {path}")
    _require_unchanged(call, packed, arn)
    environment = {**packed.get("Environment", {}), **container.get("Environment", {})}
    members = ("Image", "ModelDataUrl", "ModelDataSource")
    taken = {member: packed[member] for member in members if member in packed}
    return taken | ({"Environment": environment} if environment else {})


def _require_approved(package: Document, arn: str) -> None:
    if package["ModelPackageStatus"] != "Completed":
        raise validation(
            f"The model package {arn} is in status {package['ModelPackageStatus']}, not Completed."
        )
    status = package.get("ModelApprovalStatus", "Approved")
    if status != "Approved":
        raise validation(
            f"The model package {arn} cannot be deployed: its ModelApprovalStatus is {status}. Set it to Approved with "
            "UpdateModelPackage."
        )


def _specification(package: Document, name: str | None, path: str) -> dict[str, Any]:
    if name is not None:
        for one in package.get("AdditionalInferenceSpecifications", []):
            if one["Name"] == name:
                return one
        raise validation(f"{path}InferenceSpecificationName: the model package has no specification {name}.")
    specification: dict[str, Any] | None = package.get("InferenceSpecification")
    if specification is None:
        raise validation(f"The model package {package['ModelPackageArn']} has no InferenceSpecification.")
    return specification


def _require_unchanged(call: Call, packed: Mapping[str, Any], arn: str) -> None:
    seen = packed.get("artifact")
    if seen is None:
        return
    row = call.house.objects.get(seen["bucket"], seen["key"])
    if row is None or row.etag != seen["etag"]:
        raise validation(
            f"The model data at s3://{seen['bucket']}/{seen['key']} is not what the model package {arn} was made with. "
            "Create a new model package from it."
        )
