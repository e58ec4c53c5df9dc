"""What CloudWatch's requests share: how a metric is named, times, and what is said when a parameter is wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.store.metric_points import Metric


def invalid(parameter: str, value: object) -> AwsError:
    """A value that is outside its range."""
    return AwsError("InvalidParameterValue", f"The value {value} for parameter {parameter} is invalid.")


def missing(parameter: str) -> AwsError:
    """A parameter that the model leaves optional and CloudWatch does not."""
    return AwsError("MissingParameter", f"The parameter {parameter} is required.")


def combination(message: str) -> AwsError:
    """Parameters that do not go together."""
    return AwsError("InvalidParameterCombination", message)


def seconds(value: Any) -> float | None:
    """A timestamp of a request, however the parser gives it, as epoch seconds."""
    if value is None or isinstance(value, (int, float)):
        return value
    return float(value.timestamp())


def metric(
    call: Call, namespace: str, name: str, dimensions: Sequence[Mapping[str, str]] | None, path: str = ""
) -> Metric:
    """The metric that a request names; its dimensions in whatever order."""
    pairs = sorted((each["Name"], each["Value"]) for each in dimensions or [])
    if len({pair[0] for pair in pairs}) < len(pairs):
        raise AwsError(
            "InvalidParameterValue", f"The parameter {path}Dimensions has the same name more than once."
        )
    return Metric(call.account_id, call.region, namespace, name, tuple(pairs))
