"""GetMetricStatistics and GetMetricData: points gathered by period, and statistics of them."""

import base64
import binascii
import hashlib
import re
from typing import Any, Final

import orjson

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Answer, Call
from stagedoor.services.cloudwatch import statistics
from stagedoor.services.cloudwatch.requests import combination, invalid, metric, missing, seconds
from stagedoor.services.cloudwatch.statistics import Statistic, UnknownStatisticError
from stagedoor.store.metric_points import MetricPoints, Point

_DATAPOINTS_AT_MOST: Final = 1_440
_SHORT_PERIODS_S: Final = (1, 5, 10, 20, 30)
_QUERIES_AT_MOST: Final = 500
_PAGE_DATAPOINTS: Final = 100_800
_DAY_S: Final = 86_400
# How far back, and to what a start is rounded there.
_ROUNDING: Final = ((15 * _DAY_S, 60), (63 * _DAY_S, 300))
_OLD_ROUNDING_S: Final = 3_600
_QUERY_ID: Final = re.compile(r"[a-z][a-zA-Z0-9_]*").fullmatch


def get_metric_statistics(call: Call, request: dict[str, Any]) -> Answer:
    """GetMetricStatistics: one datapoint for each period (and unit) that has points, oldest first."""
    asked = _statistics(request, "Statistics")
    extended = _statistics(request, "ExtendedStatistics")
    if not asked and not extended:
        raise missing("Statistics or ExtendedStatistics")
    start_s, end_s, period_s = _span(call, request)
    points = _store(call).read(
        metric(call, request["Namespace"], request["MetricName"], request.get("Dimensions")),
        start_s,
        end_s,
        request.get("Unit"),
    )
    datapoints: list[dict[str, Any]] = []
    for unit in dict.fromkeys(point.unit for point in points):
        ours = [point for point in points if point.unit == unit]
        for time_s, gathered in statistics.by_period(ours, start_s, period_s).items():
            shown = {one.name: one.of(gathered) for one in asked}
            datapoint: dict[str, Any] = {"Timestamp": time_s, "Unit": unit} | shown
            more = {one.name: number for one in extended if (number := one.of(gathered)) is not None}
            if more:
                datapoint["ExtendedStatistics"] = more
            if asked or more:
                datapoints.append(datapoint)
    datapoints.sort(key=lambda datapoint: datapoint["Timestamp"])
    return {"Label": request["MetricName"], "Datapoints": datapoints}


def _span(call: Call, request: dict[str, Any]) -> tuple[float, float, int]:
    """Start (rounded as CloudWatch rounds it), end and period, in seconds."""
    start_s, end_s = seconds(request["StartTime"]), seconds(request["EndTime"])
    assert start_s is not None and end_s is not None, "both are required"
    if start_s >= end_s:
        raise combination("The parameter StartTime must be less than the parameter EndTime.")
    period_s = _period(request["Period"], "Period")
    start_s = _rounded(start_s, call.now, period_s)
    number = int((end_s - start_s) // period_s)
    if number > _DATAPOINTS_AT_MOST:
        raise combination(
            f"You have requested up to {number:,} datapoints, which exceeds the limit of {_DATAPOINTS_AT_MOST:,}. You may "
            "reduce the datapoints requested by increasing Period, or decreasing the time range."
        )
    return start_s, end_s, period_s


def _period(period_s: int, parameter: str) -> int:
    if period_s % 60 and period_s not in _SHORT_PERIODS_S:
        raise AwsError(
            "InvalidParameterValue",
            f"The parameter {parameter} must be 1, 5, 10, 20, 30 or a multiple of 60, and it is {period_s}.",
        )
    return period_s


def _rounded(start_s: float, now: float, period_s: int) -> float:
    age_s = now - start_s
    step_s: int = next((step for limit, step in _ROUNDING if age_s <= limit), _OLD_ROUNDING_S)
    if period_s < 60 and step_s == 60:
        step_s = period_s
    return start_s - start_s % step_s


def _statistics(request: dict[str, Any], parameter: str) -> list[Statistic]:
    found: list[Statistic] = []
    names: list[str] = request.get(parameter) or []
    for name in names:
        try:
            found.append(statistics.parse(name))
        except UnknownStatisticError:
            raise invalid(parameter, name) from None
    return found


def get_metric_data(call: Call, request: dict[str, Any]) -> Answer:
    """GetMetricData: the values of up to 500 metrics. Metric math (``Expression``) is refused by name.

    A page ends after MaxDatapoints values, also within a metric, which is PartialData then.
    """
    queries = request["MetricDataQueries"]
    _check_queries(call, queries)
    start_s, end_s = seconds(request["StartTime"]), seconds(request["EndTime"])
    assert start_s is not None and end_s is not None, "both are required"
    if start_s >= end_s:
        raise _wrong("The parameter EndTime must be greater than StartTime.")
    ascending = request.get("ScanBy") == "TimestampAscending"
    limit = int(request.get("MaxDatapoints", _PAGE_DATAPOINTS))
    if not 1 <= limit <= _PAGE_DATAPOINTS:
        raise _wrong(f"MaxDatapoints must be between 1 and {_PAGE_DATAPOINTS}, and it is {limit}.")
    question = hashlib.sha256(repr((queries, start_s, end_s, ascending)).encode()).hexdigest()[:16]
    index, offset = _read_token(request.get("NextToken"), question)
    results: list[dict[str, Any]] = []
    shown = [query for query in queries if query.get("ReturnData", True)]
    while index < len(shown) and limit > 0:
        values = _values(call, shown[index], start_s, end_s, ascending)[offset:]
        page = values[:limit]
        complete = len(page) == len(values)
        results.append(_result(shown[index], page, complete=complete))
        limit -= len(page)
        index, offset = (index + 1, 0) if complete else (index, offset + len(page))
    answer: dict[str, Any] = {"MetricDataResults": results, "Messages": []}
    if index < len(shown):
        answer["NextToken"] = base64.b64encode(orjson.dumps([question, index, offset])).decode()
    return answer


def _wrong(message: str) -> AwsError:
    return AwsError("ValidationError", message, status=400)


def _check_queries(call: Call, queries: list[dict[str, Any]]) -> None:
    if not 1 <= len(queries) <= _QUERIES_AT_MOST:
        raise _wrong(
            f"The parameter MetricDataQueries must have between 1 and {_QUERIES_AT_MOST} members, and it has {len(queries)}."
        )
    ids = [query["Id"] for query in queries]
    if len(set(ids)) < len(ids):
        raise _wrong("The values for parameter id in MetricDataQueries are not unique.")
    for number, query in enumerate(queries, 1):
        path = f"MetricDataQueries.member.{number}."
        if not _QUERY_ID(query["Id"]):
            raise _wrong(
                f'The value {query["Id"]} for parameter {path}Id is not matching the expected pattern "^[a-z][a-zA-Z0-9_]*$".'
            )
        if query.get("Expression") is not None:
            raise _wrong(
                f"{path}Expression (metric math) is not supported by this release of stagedoor. Ask for the metrics themselves "
                "with MetricStat."
            )
        if "MetricStat" not in query:
            raise _wrong(f"The parameter {path}MetricStat is required.")
        if query.get("Period") is not None:
            raise _wrong(f"{path}Period is for expressions; a metric has {path}MetricStat.Period.")
        if "${" in query.get("Label", ""):
            raise _wrong(f"Dynamic labels ({path}Label) are not supported by this release of stagedoor.")
        if query.get("AccountId", call.account_id) != call.account_id:
            raise _wrong(f"{path}AccountId: an account sees its own metrics in this release of stagedoor.")
        _check_metric(query["MetricStat"], f"{path}MetricStat.")
    if not any(query.get("ReturnData", True) for query in queries):
        raise _wrong("At least one query of MetricDataQueries must have ReturnData true.")


def _check_metric(asked: dict[str, Any], path: str) -> None:
    for member in ("Namespace", "MetricName"):
        if not asked["Metric"].get(member):
            raise _wrong(f"The parameter {path}Metric.{member} is required.")
    try:
        statistics.parse(asked["Stat"])
    except UnknownStatisticError:
        raise _wrong(f"The value {asked['Stat']} for parameter {path}Stat is not supported.") from None
    period_s = asked["Period"]
    if period_s % 60 and period_s not in _SHORT_PERIODS_S:
        raise _wrong(f"Period must be 1, 5, 10, 20, 30 or a multiple of 60, and {path}Period is {period_s}.")


def _values(
    call: Call, query: dict[str, Any], start_s: float, end_s: float, ascending: bool
) -> list[tuple[float, float]]:
    """(time, value) of one metric; periods are aligned with the clock, not with the start."""
    asked = query["MetricStat"]
    period_s = asked["Period"]
    first_s = start_s - start_s % period_s
    described = metric(
        call, asked["Metric"]["Namespace"], asked["Metric"]["MetricName"], asked["Metric"].get("Dimensions")
    )
    points: list[Point] = _store(call).read(described, first_s, end_s, asked.get("Unit"))
    one = statistics.parse(asked["Stat"])
    found = [
        (time_s, number)
        for time_s, gathered in statistics.by_period(points, first_s, period_s).items()
        if (number := one.of(gathered)) is not None
    ]
    return sorted(found, reverse=not ascending)


def _result(query: dict[str, Any], page: list[tuple[float, float]], *, complete: bool) -> dict[str, Any]:
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or query["MetricStat"]["Metric"]["MetricName"],
        "Timestamps": [time_s for time_s, _ in page],
        "Values": [number for _, number in page],
        "StatusCode": "Complete" if complete else "PartialData",
    }


def _read_token(token: str | None, question: str) -> tuple[int, int]:
    if token is None:
        return 0, 0
    try:
        asked, index, offset = orjson.loads(base64.b64decode(token, validate=True))
        if asked == question and isinstance(index, int) and isinstance(offset, int):
            return max(index, 0), max(offset, 0)
    except (ValueError, TypeError, binascii.Error):
        pass
    raise AwsError(
        "InvalidNextToken", "Invalid NextToken: use the token of the previous answer, for the same question."
    )


def _store(call: Call) -> MetricPoints:
    return call.house.metric_points
