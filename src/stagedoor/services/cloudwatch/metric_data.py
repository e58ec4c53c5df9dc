"""PutMetricData and ListMetrics: metrics as they come in, and what there is."""

import base64
import binascii
import math
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Answer, Call
from stagedoor.services.cloudwatch.requests import combination, invalid, metric, missing, seconds
from stagedoor.store.metric_points import Metric, MetricPoints, Point

_DATA_AT_MOST: Final = 1_000
_VALUES_AT_MOST: Final = 150
_LARGEST: Final = 2.0**360
_PAST_S: Final = 14 * 86_400
_FUTURE_S: Final = 2 * 3_600
_PAGE_LENGTH: Final = 500
_ACTIVE_S: Final = {None: 14 * 86_400, "PT3H": 3 * 3_600}


def put_metric_data(call: Call, request: dict[str, Any]) -> Answer:
    """PutMetricData: all data of a request are stored, or none. Errors are AWS's, naming the datum."""
    namespace = request["Namespace"]
    if namespace.startswith("AWS/"):
        raise invalid("Namespace", namespace)
    if request.get("EntityMetricData"):
        raise AwsError(
            "InvalidParameterValue",
            "EntityMetricData is not supported by this release of stagedoor. Put the same data as MetricData.",
        )
    data: list[dict[str, Any]] = request.get("MetricData") or []
    if not data:
        raise missing("MetricData")
    if len(data) > _DATA_AT_MOST:
        raise AwsError(
            "InvalidParameterValue",
            f"The collection MetricData must not have a size greater than {_DATA_AT_MOST}.",
        )
    points: list[tuple[Metric, Point]] = []
    for number, datum in enumerate(data, 1):
        path = f"MetricData.member.{number}."
        described = metric(call, namespace, datum["MetricName"], datum.get("Dimensions"), path)
        points += [(described, point) for point in _points(datum, path, call.now)]
    _store(call).put(points)
    return {}


def _points(datum: dict[str, Any], path: str, now: float) -> list[Point]:
    """The points of one datum."""
    given = seconds(datum.get("Timestamp"))
    time_s = now if given is None else given
    if not now - _PAST_S <= time_s <= now + _FUTURE_S:
        raise AwsError(
            "InvalidParameterValue",
            f"The parameter {path}Timestamp must specify a time no more than two weeks in the past and no more than two "
            "hours in the future.",
        )
    resolution_s = datum.get("StorageResolution", 60)
    if resolution_s not in (1, 60):
        raise invalid(f"{path}StorageResolution", resolution_s)
    unit = datum.get("Unit", "None")
    kinds = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) is not None]
    if not kinds:
        raise missing(f"{path}Value")
    if len(kinds) > 1:
        raise combination(
            f"The parameters {path}{kinds[0]} and {path}{kinds[1]} are mutually exclusive and you have specified both."
        )
    if kinds == ["StatisticValues"]:
        found = [_statistic_set(datum["StatisticValues"], f"{path}StatisticValues.")]
    elif kinds == ["Values"]:
        found = _counted(datum["Values"], datum.get("Counts"), path)
    else:
        number = _checked(datum["Value"], f"{path}Value")
        found = [(1.0, number, number, number)]
    if datum.get("Counts") and kinds != ["Values"]:
        raise combination(f"The parameter {path}Counts needs {path}Values.")
    return [Point(time_s, *numbers, unit, resolution_s) for numbers in found]


_Numbers = tuple[float, float, float, float]


def _statistic_set(values: dict[str, float], path: str) -> _Numbers:
    count, total, low, high = (
        _checked(values[name], f"{path}{name}") for name in ("SampleCount", "Sum", "Minimum", "Maximum")
    )
    if count <= 0:
        raise invalid(f"{path}SampleCount", count)
    if low > high:
        raise combination(f"{path}Minimum must not be greater than {path}Maximum.")
    return count, total, low, high


def _counted(values: list[float], counts: list[float] | None, path: str) -> list[_Numbers]:
    if not values:
        raise missing(f"{path}Values")
    if len(values) > _VALUES_AT_MOST:
        raise AwsError(
            "InvalidParameterValue",
            f"The collection {path}Values must not have a size greater than {_VALUES_AT_MOST}.",
        )
    counts = [1.0] * len(values) if counts is None else counts
    if len(counts) != len(values):
        raise combination(f"The parameters {path}Values and {path}Counts must have the same number of items.")
    found: list[_Numbers] = []
    for index, (number, count) in enumerate(zip(values, counts, strict=True), 1):
        _checked(number, f"{path}Values.member.{index}")
        if _checked(count, f"{path}Counts.member.{index}") <= 0:
            raise invalid(f"{path}Counts.member.{index}", count)
        found.append((count, number * count, number, number))
    return found


def _checked(number: float, path: str) -> float:
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise invalid(path, number)
    return float(number)


def list_metrics(call: Call, request: dict[str, Any]) -> Answer:
    """ListMetrics: metrics that got data in the last two weeks (or three hours), 500 a page."""
    if (
        request.get("IncludeLinkedAccounts")
        or request.get("OwningAccount", call.account_id) != call.account_id
    ):
        raise AwsError(
            "InvalidParameterValue",
            "IncludeLinkedAccounts and OwningAccount are not supported by this release of stagedoor: an account sees its "
            "own metrics.",
        )
    dimensions: list[dict[str, str]] = request.get("Dimensions") or []
    found = _store(call).metrics(
        call.account_id,
        call.region,
        namespace=request.get("Namespace"),
        name=request.get("MetricName"),
        dimensions=[(each["Name"], each.get("Value")) for each in dimensions],
        active_s=_ACTIVE_S[request.get("RecentlyActive")],
        after=_read_token(request.get("NextToken")),
        limit=_PAGE_LENGTH + 1,
    )
    answer: dict[str, Any] = {
        "Metrics": [
            {
                "Namespace": listed.metric.namespace,
                "MetricName": listed.metric.name,
                "Dimensions": [{"Name": name, "Value": text} for name, text in listed.metric.dimensions],
            }
            for listed in found[:_PAGE_LENGTH]
        ]
    }
    if len(found) > _PAGE_LENGTH:
        answer["NextToken"] = base64.b64encode(f"metric:{found[_PAGE_LENGTH - 1].id}".encode()).decode()
    return answer


def _read_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        kind, _, place = base64.b64decode(token, validate=True).decode("ascii").partition(":")
        if kind == "metric" and place.isdigit():
            return int(place)
    except (ValueError, binascii.Error):
        pass
    raise AwsError("InvalidParameterValue", "Invalid NextToken: use the token of the previous answer.")


def _store(call: Call) -> MetricPoints:
    return call.house.metric_points
