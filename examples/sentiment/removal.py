"""Deletes what the job made, last first. What is not there is passed over; a second run finds nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from botocore.exceptions import ClientError

import api
import roles
from place import Place
from plan import Plan
from steps import wait_until

# What the services answer for something that is not there.
_MISSING = {"NotFoundException", "ResourceNotFoundException", "NoSuchBucket", "NoSuchEntity", "404"}


def delete(place: Place, plan: Plan) -> Iterator[str]:
    """Delete everything with the plan's names; yields a line for each thing that was there."""
    if api_id := api.find(place, plan.api):
        place.apigateway.delete_rest_api(restApiId=api_id)
        yield f"REST API {plan.api}"
    if _gone(lambda: place.functions.delete_function(FunctionName=plan.function)):
        yield f"function {plan.function}"
    if _gone(lambda: place.sagemaker.delete_endpoint(EndpointName=plan.endpoint)):
        wait_until(lambda: _endpoint_exists(place, plan), lambda exists: not exists)
        yield f"endpoint {plan.endpoint}"
    yield from _delete_configs(place, plan)
    yield from _delete_models(place, plan)
    if _empty_and_delete(place, plan.page_bucket):
        yield f"bucket {plan.page_bucket}"
    if plan.keep_data_bucket:
        if _empty(place, plan.data_bucket, f"{plan.prefix}/"):
            yield f"objects under s3://{plan.data_bucket}/{plan.prefix}/"
    elif _empty_and_delete(place, plan.data_bucket):
        yield f"bucket {plan.data_bucket}"
    for role in [plan.function_role, *([] if plan.given_role else [plan.sagemaker_role])]:
        if roles.delete(place, role):
            yield f"role {role}"


def _delete_configs(place: Place, plan: Plan) -> Iterator[str]:
    for page in place.sagemaker.get_paginator("list_endpoint_configs").paginate(
        NameContains=f"{plan.prefix}-"
    ):
        for name in [config["EndpointConfigName"] for config in page["EndpointConfigs"]]:
            if name.startswith(f"{plan.prefix}-"):
                place.sagemaker.delete_endpoint_config(EndpointConfigName=name)
                yield f"endpoint configuration {name}"


def _delete_models(place: Place, plan: Plan) -> Iterator[str]:
    for page in place.sagemaker.get_paginator("list_models").paginate(NameContains=f"{plan.prefix}-"):
        for name in [model["ModelName"] for model in page["Models"]]:
            if name.startswith(f"{plan.prefix}-"):
                place.sagemaker.delete_model(ModelName=name)
                yield f"model {name}"


def _endpoint_exists(place: Place, plan: Plan) -> bool:
    try:
        place.sagemaker.describe_endpoint(EndpointName=plan.endpoint)
    except ClientError:
        return False
    return True


def _empty_and_delete(place: Place, bucket: str) -> bool:
    return _gone(lambda: (_empty(place, bucket, ""), place.s3.delete_bucket(Bucket=bucket)))


def _empty(place: Place, bucket: str, prefix: str) -> int:
    deleted = 0
    for page in place.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        keys = [item.get("Key", "") for item in page.get("Contents", [])]
        if keys:
            place.s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
            deleted += len(keys)
    return deleted


def _gone(delete_it: Callable[[], object]) -> bool:
    """Whether it was there to be deleted."""
    try:
        delete_it()
    except ClientError as error:
        details = error.response.get("Error", {})
        missing = details.get("Code") in _MISSING or "Could not find" in details.get("Message", "")
        if not missing:
            raise
        return False
    return True
