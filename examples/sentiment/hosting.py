"""Model, endpoint configuration and endpoint: the trained model, answering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from jobs import JobFailed
from place import Place
from plan import INSTANCE_TYPE, Plan
from roles import once_assumable
from steps import Step, wait_until

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack"}


def ensure_model(place: Place, plan: Plan, role: str, image: str, model_data: str) -> bool:
    """Register the trained model; False when it is there already, with the same data."""
    try:
        described = place.sagemaker.describe_model(ModelName=plan.model)
    except ClientError as error:
        if not _is_missing(error):
            raise
    else:
        if described.get("PrimaryContainer", {}).get("ModelDataUrl") == model_data:
            return False
        place.sagemaker.delete_model(ModelName=plan.model)
    once_assumable(
        lambda: place.sagemaker.create_model(
            ModelName=plan.model,
            ExecutionRoleArn=role,
            PrimaryContainer={"Image": image, "ModelDataUrl": model_data},
        )
    )
    return True


def start_endpoint(place: Place, plan: Plan) -> bool:
    """Create the endpoint, or move it to this model; False when it serves this model already."""
    _ensure_config(place, plan)
    current = _describe(place, plan.endpoint)
    if current and current["EndpointStatus"] in {"Failed", "OutOfService"}:
        place.sagemaker.delete_endpoint(EndpointName=plan.endpoint)
        wait_until(lambda: _describe(place, plan.endpoint), lambda seen: seen is None)
        current = None
    if current is None:
        place.sagemaker.create_endpoint(EndpointName=plan.endpoint, EndpointConfigName=plan.endpoint_config)
        return True
    if current["EndpointConfigName"] == plan.endpoint_config:
        return False
    wait_until(
        lambda: _describe(place, plan.endpoint), lambda seen: not seen or seen["EndpointStatus"] not in _BUSY
    )
    place.sagemaker.update_endpoint(EndpointName=plan.endpoint, EndpointConfigName=plan.endpoint_config)
    return True


def wait_for_endpoint(place: Place, plan: Plan, step: Step) -> None:
    """:raises JobFailed: the endpoint did not come into service; with the service's FailureReason."""

    def look() -> DescribeEndpointOutputTypeDef:
        described = place.sagemaker.describe_endpoint(EndpointName=plan.endpoint)
        step.note(described["EndpointStatus"])
        return described

    described = wait_until(look, lambda seen: seen["EndpointStatus"] not in _BUSY)
    serves_this_model = described["EndpointConfigName"] == plan.endpoint_config
    if described["EndpointStatus"] != "InService" or not serves_this_model:
        raise JobFailed(f"the endpoint {plan.endpoint} is {described['EndpointStatus']}: "
                        f"{described.get('FailureReason', 'no reason given')}")  # fmt: skip


def _ensure_config(place: Place, plan: Plan) -> None:
    try:
        place.sagemaker.describe_endpoint_config(EndpointConfigName=plan.endpoint_config)
    except ClientError as error:
        if not _is_missing(error):
            raise
        place.sagemaker.create_endpoint_config(
            EndpointConfigName=plan.endpoint_config,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": plan.model,
                    "InstanceType": INSTANCE_TYPE,
                    "InitialInstanceCount": 1,
                }
            ],
        )


def _describe(place: Place, endpoint: str) -> DescribeEndpointOutputTypeDef | None:
    try:
        return place.sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if _is_missing(error):
            return None
        raise


def _is_missing(error: ClientError) -> bool:
    details = error.response.get("Error", {})
    return details.get("Code") == "ValidationException" and "Could not find" in details.get("Message", "")
