"""Models: an image that stands for a local algorithm or framework, model data in S3, and maybe a script that serves it."""

from typing import Any

from stagedoor.domain import images
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import (
    artifacts,
    names,
    package_containers,
    paging,
    programs,
    roles,
    tag_sets,
)
from stagedoor.services.sagemaker.names import MODEL, validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported
from stagedoor.store.records import AlreadyExistsError

_NOT_YET = (
    "AdditionalModelDataSources",
    "MultiModelConfig",
    "ContainerMetricsConfig",
)


def create_model(call: Call, request: dict[str, Any]) -> Answer:
    """CreateModel: checks role, image and model data now, so that an endpoint fails late only for what is inside them."""
    name = request["ModelName"]
    container, path = _container(request)
    refuse(container, _NOT_YET, path)
    if container.get("ModelPackageName"):
        container = package_containers.deployable(call, container, path)
    else:
        refuse(container, ("InferenceSpecificationName",), path)
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise unsupported(f"{path}Mode {container['Mode']}", "Only SingleModel is.")
    if container.get("ImageConfig", {}).get("RepositoryAccessMode", "Platform") != "Platform":
        raise unsupported(
            f"{path}ImageConfig.RepositoryAccessMode Vpc", "Image URIs are names of local runtimes here."
        )
    if request.get("InferenceExecutionConfig", {}).get("Mode", "Serial") != "Serial":
        raise unsupported("InferenceExecutionConfig.Mode Direct", "A model has one container here.")
    if "Image" not in container:
        raise validation(f"{path}Image is required.")
    try:
        algorithm = images.resolve(container["Image"])
    except images.UnsupportedImageError as error:
        raise validation(str(error)) from error
    role_arn = request.get("ExecutionRoleArn")
    if role_arn is not None:
        roles.require_role(call, role_arn)
    programs.refuse_hub(container, path)
    programs.check_batching(container.get("Environment", {}), path)
    artifact = artifacts.find(call, artifacts.model_data_url(container, path), role_arn)
    program = programs.of_model(call, request, container, algorithm)
    arn = names.arn(call, MODEL, name)
    document = (
        {member: value for member, value in request.items() if member != "Tags"}
        | {
            "ModelArn": arn,
            "CreationTime": call.now,
            "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation", False)),
            "algorithm": algorithm.name,
            "artifact": artifact,
            "container": container,
        }
        | ({"program": program} if program else {})
    )
    try:
        with call.house.records.transaction() as transaction:
            transaction.insert(names.key(call, MODEL, name), document)
            tag_sets.add(transaction, arn, request.get("Tags"))
    except AlreadyExistsError:
        raise names.already_exists(call, MODEL, name) from None
    return {"ModelArn": arn}


def _container(request: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The one container and where it stands in the request."""
    primary, containers = request.get("PrimaryContainer"), request.get("Containers")
    if primary is not None and containers:
        raise validation("Only one of PrimaryContainer and Containers can be given.")
    if primary is not None:
        return primary, "PrimaryContainer."
    if not containers:
        raise validation("PrimaryContainer is required.")
    if len(containers) > 1:
        raise unsupported(
            f"Containers with {len(containers)} members (an inference pipeline)", "Give one container."
        )
    return containers[0], "Containers.1."


def describe_model(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeModel: what was given at its creation."""
    document = names.public(names.existing(call, call.house.records, MODEL, request["ModelName"]).document)
    if "PrimaryContainer" in document:
        document["PrimaryContainer"] = {"Mode": "SingleModel"} | document["PrimaryContainer"]
    return {member: value for member, value in document.items() if value not in ({}, [])}


def list_models(call: Call, request: dict[str, Any]) -> Answer:
    """ListModels, newest first unless told otherwise."""
    summarise = paging.members("ModelName", "ModelArn", "CreationTime")
    summaries = paging.ByCreation(call, MODEL.kind, summarise)
    return paging.answer(request, summaries, member="Models", name_member="ModelName")


def delete_model(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteModel: endpoints that run it keep running, as on AWS."""
    name = request["ModelName"]
    with call.house.records.transaction() as transaction:
        if not transaction.delete(names.key(call, MODEL, name)):
            raise names.not_found(call, MODEL, name)
        tag_sets.forget(transaction, names.arn(call, MODEL, name))
    return {}
