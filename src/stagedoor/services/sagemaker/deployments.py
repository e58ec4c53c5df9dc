"""What an endpoint runs: fleets, worked out of a configuration and its models, and how Describe shows them.

Place in the flow: CreateEndpoint and UpdateEndpoint put a fleet into the endpoint's record; ``reconcile.endpoints`` starts
its workers. A fleet holds everything a worker needs, so that deleting the configuration or the models afterwards changes
nothing about an endpoint, as on AWS.

An endpoint's record has, besides AWS's members: ``serving`` (the fleet that answers), ``coming`` (the fleet that is to take
over; of the same ``generation`` when only counts and weights change), ``comingSince`` and ``generation`` (the last one given).
"""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.sagemaker import names, programs
from stagedoor.services.sagemaker.names import ENDPOINT_CONFIG, MODEL
from stagedoor.store.records import Document, Reader

Fleet = dict[str, Any]

WORKERS_AT_MOST = 64
"""Workers of one endpoint: each is a process on this machine."""


def fleet(call: Call, reader: Reader, config_name: str, generation: int) -> Fleet:
    """The fleet of a configuration; ValidationException when it or one of its models is not there."""
    config = names.existing(call, reader, ENDPOINT_CONFIG, config_name).document
    variants = [_variant(call, reader, variant) for variant in config["ProductionVariants"]]
    return {
        "generation": generation,
        "configName": config["EndpointConfigName"],
        "resolved": call.now,
        "variants": variants,
    }


def _variant(call: Call, reader: Reader, variant: Document) -> dict[str, Any]:
    model = names.existing(call, reader, MODEL, variant["ModelName"]).document
    container = model["container"]
    return {
        "name": variant["VariantName"],
        "weight": variant["InitialVariantWeight"],
        "count": variant["InitialInstanceCount"],
        "instanceType": variant["InstanceType"],
        "modelName": model["ModelName"],
        "image": container["Image"],
        "environment": container.get("Environment", {}),
        "algorithm": model["algorithm"],
        "artifact": model["artifact"],
        **programs.carried(model),
        "startTimeoutS": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
    }


def worker_count(fleet: Fleet) -> int:
    """Workers of a fleet."""
    return sum(variant["count"] for variant in fleet["variants"])


def described(document: Document) -> dict[str, Any]:
    """The members of DescribeEndpoint that follow from the fleets."""
    serving: Fleet | None = document.get("serving")
    coming: Fleet | None = document.get("coming")
    shown: dict[str, Any] = {}
    if "startFailure" in document and "FailureReason" not in document:
        shown["FailureReason"] = document["startFailure"]
    if serving is not None:
        wanted = coming if coming is not None and coming["generation"] == serving["generation"] else serving
        shown["EndpointConfigName"] = serving["configName"]
        shown["ProductionVariants"] = [
            _summary(now, then, serving["resolved"])
            for now, then in zip(serving["variants"], wanted["variants"], strict=True)
        ]
    if serving is not None and coming is not None and coming["generation"] != serving["generation"]:
        shown["PendingDeploymentSummary"] = {
            "EndpointConfigName": coming["configName"],
            "StartTime": document["comingSince"],
            "ProductionVariants": [_pending(variant, coming["resolved"]) for variant in coming["variants"]],
        }
    return shown


def _image(variant: dict[str, Any], resolved: float) -> dict[str, Any]:
    return {"SpecifiedImage": variant["image"], "ResolvedImage": variant["image"], "ResolutionTime": resolved}


def _summary(now: dict[str, Any], then: dict[str, Any], resolved: float) -> dict[str, Any]:
    return {
        "VariantName": now["name"],
        "DeployedImages": [_image(now, resolved)],
        "CurrentWeight": now["weight"],
        "DesiredWeight": then["weight"],
        "CurrentInstanceCount": now["count"],
        "DesiredInstanceCount": then["count"],
    }


def _pending(variant: dict[str, Any], resolved: float) -> dict[str, Any]:
    return {
        "VariantName": variant["name"],
        "DeployedImages": [_image(variant, resolved)],
        "CurrentWeight": 0.0,
        "DesiredWeight": variant["weight"],
        "CurrentInstanceCount": 0,
        "DesiredInstanceCount": variant["count"],
        "InstanceType": variant["instanceType"],
        "VariantStatus": [{"Status": "Creating"}],
    }
