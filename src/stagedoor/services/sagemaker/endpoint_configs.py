"""Endpoint configurations: which models an endpoint hosts, on how many instances, with which share of the traffic."""

from typing import Any

from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import names, paging, roles, tag_sets
from stagedoor.services.sagemaker.names import ENDPOINT_CONFIG, MODEL, validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported
from stagedoor.store.records import AlreadyExistsError

# InstanceType, VolumeSizeInGB, InferenceAmiVersion, KmsKeyId and VpcConfig are recorded: they choose hardware and networks
# that a single machine does not have, and change nothing about the answers.
_NOT_YET = (
    "AsyncInferenceConfig",
    "ExplainerConfig",
    "ShadowProductionVariants",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
)
_VARIANT_NOT_YET = (
    "ServerlessConfig",
    "AcceleratorType",
    "CoreDumpConfig",
    "EnableSSMAccess",
    "ManagedInstanceScaling",
    "CapacityReservationConfig",
    "InstancePools",
    "VariantInstanceProvisionTimeoutInSeconds",
    "AcceleratorPartitionLayouts",
)


def create_endpoint_config(call: Call, request: dict[str, Any]) -> Answer:
    """CreateEndpointConfig: the models must exist now; endpoints read them again when they are made."""
    name = request["EndpointConfigName"]
    refuse(request, _NOT_YET)
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise unsupported("DataCaptureConfig.EnableCapture")
    variants = [_variant(variant, number) for number, variant in enumerate(request["ProductionVariants"], 1)]
    variant_names = [variant["VariantName"] for variant in variants]
    if len(set(variant_names)) < len(variant_names):
        raise validation(f"Production variant names must be unique, not {', '.join(variant_names)}.")
    if request.get("ExecutionRoleArn") is not None:
        roles.require_role(call, request["ExecutionRoleArn"])
    arn = names.arn(call, ENDPOINT_CONFIG, name)
    document = {member: value for member, value in request.items() if member != "Tags"} | {
        "ProductionVariants": variants,
        "EndpointConfigArn": arn,
        "CreationTime": call.now,
    }
    try:
        with call.house.records.transaction() as transaction:
            for variant in variants:
                names.existing(call, transaction, MODEL, variant["ModelName"])
            transaction.insert(names.key(call, ENDPOINT_CONFIG, name), document)
            tag_sets.add(transaction, arn, request.get("Tags"))
    except AlreadyExistsError:
        raise names.already_exists(call, ENDPOINT_CONFIG, name) from None
    return {"EndpointConfigArn": arn}


def _variant(variant: dict[str, Any], number: int) -> dict[str, Any]:
    """The variant with its defaults; ValidationException for what cannot be honoured."""
    path = f"ProductionVariants.{number}."
    refuse(variant, _VARIANT_NOT_YET, path)
    if "ModelName" not in variant:
        raise unsupported(f"{path}without ModelName (inference components)", "Name a model.")
    for member in ("InstanceType", "InitialInstanceCount"):
        if member not in variant:
            raise validation(f"{path}{member} is required.")
    strategy = variant.get("RoutingConfig", {}).get("RoutingStrategy", "LEAST_OUTSTANDING_REQUESTS")
    if strategy != "LEAST_OUTSTANDING_REQUESTS":
        raise unsupported(
            f"{path}RoutingConfig.RoutingStrategy {strategy}", "Use LEAST_OUTSTANDING_REQUESTS."
        )
    return {"InitialVariantWeight": 1.0} | variant


def describe_endpoint_config(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeEndpointConfig: what was given at its creation."""
    record = names.existing(call, call.house.records, ENDPOINT_CONFIG, request["EndpointConfigName"])
    return {member: value for member, value in names.public(record.document).items() if value not in ({}, [])}


def list_endpoint_configs(call: Call, request: dict[str, Any]) -> Answer:
    """ListEndpointConfigs, newest first unless told otherwise."""
    summarise = paging.members("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    summaries = paging.ByCreation(call, ENDPOINT_CONFIG.kind, summarise)
    return paging.answer(request, summaries, member="EndpointConfigs", name_member="EndpointConfigName")


def delete_endpoint_config(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteEndpointConfig: endpoints that were made with it keep running."""
    name = request["EndpointConfigName"]
    with call.house.records.transaction() as transaction:
        if not transaction.delete(names.key(call, ENDPOINT_CONFIG, name)):
            raise names.not_found(call, ENDPOINT_CONFIG, name)
        tag_sets.forget(transaction, names.arn(call, ENDPOINT_CONFIG, name))
    return {}
