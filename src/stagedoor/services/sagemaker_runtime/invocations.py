"""InvokeEndpoint as an operation: refuses what is not built yet, then takes the data path."""

from typing import Any

from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker_runtime.data_path import Wanted, invoke, validation_error
from stagedoor.traffic.endpoint_routes import EndpointKey

_NOT_YET = ("InferenceComponentName", "SessionId", "PrefixAwareId")


async def invoke_endpoint(call: Call, request: dict[str, Any]) -> Answer:
    """InvokeEndpoint. ValidationError names members that are not supported; see ``data_path.invoke`` for the rest."""
    for member in _NOT_YET:
        if request.get(member) is not None:
            raise validation_error(f"{member} is not supported by this release of stagedoor.")
    name = request["EndpointName"]
    if request.get("TargetModel") is not None:
        raise validation_error(
            f"Endpoint {name} is not a multi-model endpoint and does not support target model header."
        )
    if request.get("TargetContainerHostname") is not None:
        raise validation_error(
            f"Endpoint {name} is not a multi-container endpoint and does not support target container hostname header."
        )
    if request.get("EnableExplanations") is not None:
        raise validation_error(f"Endpoint {name} has no explainer and does not support EnableExplanations.")
    received_s = call.house.clock.monotonic() if call.received_s is None else call.received_s
    wanted = Wanted(
        received_s,
        request.get("Body", b""),
        content_type=request.get("ContentType"),
        accept=request.get("Accept"),
        custom_attributes=request.get("CustomAttributes"),
        target_variant=request.get("TargetVariant"),
        inference_id=request.get("InferenceId"),
    )
    result = await invoke(call.house, EndpointKey(call.account_id, call.region, name), wanted)
    answer = {
        "Body": result.body,
        "ContentType": result.content_type,
        "InvokedProductionVariant": result.variant,
    }
    if result.custom_attributes is not None:
        answer["CustomAttributes"] = result.custom_attributes
    return answer
