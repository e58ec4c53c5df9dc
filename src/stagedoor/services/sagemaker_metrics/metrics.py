"""BatchPutMetrics and BatchGetMetrics: the values that a run logs for its trial component."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import experiment_names, names
from stagedoor.services.sagemaker.names import TRIAL_COMPONENT
from stagedoor.services.sagemaker.paging import seconds
from stagedoor.store.step_metrics import Component, StepValue

_PERIODS_S: Final = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3_600}
_STATISTICS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "Min": min,
    "Max": max,
    "Avg": lambda numbers: math.fsum(numbers) / len(numbers),
    "Count": lambda numbers: float(len(numbers)),
    "Last": lambda numbers: numbers[-1],
    "StdDev": lambda numbers: math.sqrt(
        math.fsum((each - math.fsum(numbers) / len(numbers)) ** 2 for each in numbers) / len(numbers)
    ),
}


def batch_put_metrics(call: Call, request: dict[str, Any]) -> Answer:
    """BatchPutMetrics: what is no finite number is told by its index, all else is kept."""
    name = request["TrialComponentName"]
    if call.house.records.get(names.key(call, TRIAL_COMPONENT, name)) is None:
        raise experiment_names.not_found(TRIAL_COMPONENT, name)
    values: list[StepValue] = []
    errors: list[dict[str, Any]] = []
    for index, datum in enumerate(request["MetricData"]):
        time_s, number = seconds(datum["Timestamp"]), datum["Value"]
        if time_s is None or not math.isfinite(number):
            errors.append({"Code": "VALIDATION_ERROR", "MetricIndex": index})
            continue
        values.append(StepValue(datum["MetricName"], datum.get("Step"), time_s, number))
    call.house.step_metrics.put(Component(call.account_id, call.region, name.lower()), values)
    return {"Errors": errors} if errors else {}


def batch_get_metrics(call: Call, request: dict[str, Any]) -> Answer:
    """BatchGetMetrics of trial components: by step, or by time in periods. A query that cannot be answered says why."""
    results: list[dict[str, Any]] = []
    for query in request["MetricQueries"]:
        try:
            results.append(_result(call, query))
        except AwsError as error:
            results.append(
                {
                    "Status": "ValidationError",
                    "Message": error.message,
                    "XAxisValues": [],
                    "MetricValues": [],
                }
            )
    return {"MetricQueryResults": results}


def _result(call: Call, query: Mapping[str, Any]) -> dict[str, Any]:
    arn = Arn.parse(query["ResourceArn"])
    by_step = query["XAxisType"] == "IterationNumber"
    if by_step != (query["Period"] == "IterationNumber"):
        raise names.validation("XAxisType and Period must both be IterationNumber, or neither.")
    if arn.resource_type != TRIAL_COMPONENT.arn_type:
        raise names.validation(
            "Only metrics of trial components can be asked for; those of jobs are in CloudWatch."
        )
    key = experiment_names.existing(call, call.house.records, TRIAL_COMPONENT, query["ResourceArn"]).key
    gathered: dict[int, list[float]] = {}
    for value in call.house.step_metrics.values(
        Component(key.account_id, key.region, key.name), query["MetricName"]
    ):
        if by_step:
            place = value.step
        else:
            period_s = _PERIODS_S[query["Period"]]
            place = int(value.time_s // period_s * period_s)
        if place is not None and query.get("Start", place) <= place <= query.get("End", place):
            gathered.setdefault(place, []).append(value.number)
    statistic = _STATISTICS[query["MetricStat"]]
    places = sorted(gathered)
    return {
        "Status": "Complete",
        "XAxisValues": places,
        "MetricValues": [statistic(gathered[place]) for place in places],
    }
