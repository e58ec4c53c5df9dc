"""Finds the function of an operation: ``CreateEndpoint`` of ``sagemaker`` is ``create_endpoint`` in one of the
service's modules, named as boto3 names it. What is not there answers 501 with its name.
"""

import importlib
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import cast

from botocore import xform_name

from stagedoor.domain.errors import not_implemented
from stagedoor.services.call import Operation

# One list per service: its modules, each holding the operations of one resource.
MODULES: dict[str, tuple[str, ...]] = {
    "s3": (
        "buckets",
        "bucket_settings",
        "bucket_policies",
        "bucket_defaults",
        "objects",
        "object_attributes",
        "copies",
        "deletions",
        "listing",
        "multipart",
        "tagging",
    ),
    "iam": (
        "roles",
        "role_policies",
        "users",
        "user_policies",
        "groups",
        "group_policies",
        "policies",
        "boundaries",
        "access_keys",
        "mfa_devices",
        "instance_profiles",
        "service_linked_roles",
        "open_id_connect_providers",
        "password_policy",
        "simulation",
        "account",
        "authorization_details",
    ),
    "sts": ("identity", "sessions", "federation"),
    "sagemaker": (
        "models",
        "endpoint_configs",
        "endpoints",
        "training_jobs",
        "transform_jobs",
        "processing_jobs",
        "tags",
        "model_package_groups",
        "model_packages",
        "experiments",
        "experiment_trials",
        "trial_components",
        "searches",
        "tuning_jobs",
    ),
    "sagemaker-runtime": ("invocations",),
    "sagemaker-metrics": ("metrics",),
    "lambda": ("functions", "invocations", "versions", "aliases", "permissions", "tags"),
    "apigateway": (
        "apis",
        "resources",
        "methods",
        "integrations",
        "deployments",
        "stages",
        "method_tests",
        "tags",
        "api_keys",
        "usage_plans",
    ),
    "logs": ("groups", "streams", "events"),
    "cloudwatch": ("metric_data", "metric_statistics"),
}

_PACKAGES = {
    "sagemaker-runtime": "sagemaker_runtime",
    "sagemaker-metrics": "sagemaker_metrics",
    "lambda": "lambda_",
}


def _modules(service: str) -> Iterator[ModuleType]:
    package = _PACKAGES.get(service, service)
    for module in MODULES[service]:
        yield importlib.import_module(f"stagedoor.services.{package}.{module}")


@cache
def operations(service: str) -> dict[str, Operation]:
    """Every function that the service's modules define themselves, by its boto3 name."""
    found: dict[str, Operation] = {}
    for module in _modules(service):
        for name, value in vars(module).items():
            if (
                callable(value)
                and not name.startswith("_")
                and getattr(value, "__module__", "") == module.__name__
            ):
                found[name] = cast("Operation", value)
    return found


def operation(service: str, name: str) -> Operation:
    """The function for ``name`` (``CreateEndpoint``); a 501 AwsError with the name when nobody built it."""
    function = operations(service).get(xform_name(name)) if service in MODULES else None
    if function is None:
        raise not_implemented(service, name)
    return function
