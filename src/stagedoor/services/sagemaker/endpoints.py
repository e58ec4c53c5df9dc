"""Endpoints: models behind an address. These operations write what is wanted; ``reconcile.endpoints`` makes it so.

CreateEndpoint  Creating  -> InService, or Failed with its FailureReason
Update…         Updating  -> InService (with a FailureReason when the old fleet stayed)
DeleteEndpoint  Deleting  -> gone
"""

from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import deployments, names, paging, tag_sets
from stagedoor.services.sagemaker.names import ENDPOINT, validation
from stagedoor.services.sagemaker.refusals import refuse
from stagedoor.store.records import AlreadyExistsError, Document, Record, Transaction

_PROPERTIES = {"DesiredInstanceCount": "count", "DesiredWeight": "weight"}


def create_endpoint(call: Call, request: dict[str, Any]) -> Answer:
    """CreateEndpoint: answers at once; the endpoint is Creating until all its workers are ready."""
    name = request["EndpointName"]
    refuse(request, ("DeploymentConfig",))
    arn = names.arn(call, ENDPOINT, name)
    try:
        with call.house.records.transaction() as transaction:
            if transaction.get(names.key(call, ENDPOINT, name)) is not None:
                raise names.already_exists(call, ENDPOINT, name)
            fleet = deployments.fleet(call, transaction, request["EndpointConfigName"], 1)
            _check_limit(fleet)
            document = {
                "EndpointName": name,
                "EndpointArn": arn,
                "EndpointConfigName": fleet["configName"],
                "EndpointStatus": "Creating",
                "CreationTime": call.now,
                "LastModifiedTime": call.now,
                "generation": 1,
                "coming": fleet,
                "comingSince": call.now,
            }
            transaction.insert(names.key(call, ENDPOINT, name), document)
            tag_sets.add(transaction, arn, request.get("Tags"))
    except AlreadyExistsError:
        raise names.already_exists(call, ENDPOINT, name) from None
    return {"EndpointArn": arn}


def describe_endpoint(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeEndpoint: status, what serves, and what is about to."""
    document = names.existing(call, call.house.records, ENDPOINT, request["EndpointName"]).document
    return names.public(document) | deployments.described(document)


def list_endpoints(call: Call, request: dict[str, Any]) -> Answer:
    """ListEndpoints, newest first unless told otherwise."""
    summarise = paging.members(
        "EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"
    )
    summaries = paging.ByCreation(call, ENDPOINT.kind, summarise)
    return paging.answer(
        request, summaries, member="Endpoints", name_member="EndpointName", status_member="EndpointStatus"
    )


def update_endpoint(call: Call, request: dict[str, Any]) -> Answer:
    """UpdateEndpoint: a new fleet is started next to the old one and takes over when it is ready."""
    refuse(request, ("DeploymentConfig",))
    excluded = {entry["VariantPropertyType"] for entry in request.get("ExcludeRetainedVariantProperties", [])}
    if excluded and not request.get("RetainAllVariantProperties"):
        raise validation("ExcludeRetainedVariantProperties needs RetainAllVariantProperties.")
    with call.house.records.transaction() as transaction:
        record = _updatable(call, transaction, request["EndpointName"])
        document = record.document
        generation = document["generation"] + 1
        fleet = deployments.fleet(call, transaction, request["EndpointConfigName"], generation)
        if request.get("RetainAllVariantProperties"):
            _retain(document["serving"], fleet, excluded)
        _check_limit(fleet)
        _update(call, transaction, record, fleet, generation)
    return {"EndpointArn": document["EndpointArn"]}


def update_endpoint_weights_and_capacities(call: Call, request: dict[str, Any]) -> Answer:
    """UpdateEndpointWeightsAndCapacities: the same fleet with other shares and numbers of workers."""
    with call.house.records.transaction() as transaction:
        record = _updatable(call, transaction, request["EndpointName"])
        document = record.document
        serving = document["serving"]
        variants = {variant["name"]: dict(variant) for variant in serving["variants"]}
        for number, desired in enumerate(request["DesiredWeightsAndCapacities"], 1):
            refuse(desired, ("ServerlessUpdateConfig",), f"DesiredWeightsAndCapacities.{number}.")
            variant = variants.get(desired["VariantName"])
            if variant is None:
                raise validation(
                    f'The variant name(s) "{desired["VariantName"]}" is/are not present within endpoint configuration '
                    f'"{serving["configName"]}".'
                )
            variant["weight"] = desired.get("DesiredWeight", variant["weight"])
            variant["count"] = desired.get("DesiredInstanceCount", variant["count"])
            if variant["count"] < 1:
                raise validation(
                    f"DesiredWeightsAndCapacities.{number}.DesiredInstanceCount must be at least 1: scaling to zero is "
                    "not supported by this release of stagedoor."
                )
        fleet = serving | {"variants": list(variants.values())}
        _check_limit(fleet)
        _update(call, transaction, record, fleet, document["generation"])
    return {"EndpointArn": document["EndpointArn"]}


def delete_endpoint(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteEndpoint: it takes no more invocations; its record goes when its workers have.

    AWS refuses this while the endpoint is being created or updated; nobody has to wait for that here.
    """
    with call.house.records.transaction() as transaction:
        record = names.existing(call, transaction, ENDPOINT, request["EndpointName"])
        if record.document["EndpointStatus"] == "Deleting":
            raise _in_progress(record)
        changes = {"EndpointStatus": "Deleting", "LastModifiedTime": call.now}
        transaction.put(record.key, record.document | changes, expect=record.revision)
    return {}


def _settled(call: Call, transaction: Transaction, name: str) -> Record:
    """The endpoint's record unless something is under way with it; AWS refuses updates until then."""
    record = names.existing(call, transaction, ENDPOINT, name)
    if record.document["EndpointStatus"] not in ("InService", "Failed"):
        raise _in_progress(record)
    return record


def _in_progress(record: Record) -> AwsError:
    return validation(f'Cannot update in-progress endpoint "{record.document["EndpointArn"]}".')


def _updatable(call: Call, transaction: Transaction, name: str) -> Record:
    record = _settled(call, transaction, name)
    if record.document["EndpointStatus"] == "Failed":
        raise validation(
            f'Cannot update failed endpoint "{record.document["EndpointArn"]}". Delete it, and create it again.'
        )
    return record


def _update(call: Call, transaction: Transaction, record: Record, fleet: Document, generation: int) -> None:
    document = {member: value for member, value in record.document.items() if member != "FailureReason"} | {
        "EndpointStatus": "Updating",
        "LastModifiedTime": call.now,
        "generation": generation,
        "coming": fleet,
        "comingSince": call.now,
    }
    transaction.put(record.key, document, expect=record.revision)


def _retain(serving: Document, fleet: Document, excluded: set[str]) -> None:
    """Keep the weights and counts that variants of the same name have now."""
    current = {variant["name"]: variant for variant in serving["variants"]}
    for variant in fleet["variants"]:
        for property_type, member in _PROPERTIES.items():
            if property_type not in excluded and variant["name"] in current:
                variant[member] = current[variant["name"]][member]


def _check_limit(fleet: Document) -> None:
    count = deployments.worker_count(fleet)
    if count > deployments.WORKERS_AT_MOST:
        raise AwsError(
            "ResourceLimitExceeded",
            f"An endpoint can have at most {deployments.WORKERS_AT_MOST} instances (each is a process on this machine); "
            f"{count} were asked for.",
            status=400,
        )
