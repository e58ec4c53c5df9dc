"""What the invocations of a variant become in CloudWatch."""

import asyncio
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.domain.clock import ManualClock
from stagedoor.services.cloudwatch import statistics
from stagedoor.store.metric_points import Metric, MetricPoints, Point
from stagedoor.traffic.endpoint_routes import EndpointKey
from stagedoor.traffic.invocation_metrics import InvocationMetrics, Series

KEY = EndpointKey("111111111111", "us-east-1", "reviews")


def taken(series: Series, name: str) -> list[Point]:
    return [point for found, point in series.take(1_700_000_000.0) if found == name]


def statistic(points: list[Point], name: str) -> float:
    found = statistics.parse(name).of(points)
    assert found is not None
    return found


@given(st.lists(st.floats(1e-6, 60.0), min_size=1, max_size=300), st.integers(0, 100))
def test_times_keep_their_sum_and_extremes_and_nearly_their_percentiles(
    durations_s: list[float], percent: int
) -> None:
    series = Series()
    for duration_s in durations_s:
        series.answered(200, duration_s, 0.0)
    points = taken(series, "ModelLatency")
    values = sorted(int(duration_s * 1e9) / 1_000 for duration_s in durations_s)
    assert statistic(points, "SampleCount") == len(values)
    assert statistic(points, "Sum") == pytest.approx(sum(values), rel=1e-9)
    assert statistic(points, "Minimum") == values[0]
    assert statistic(points, "Maximum") == values[-1]
    nearest = values[max(0, math.ceil(percent / 100 * len(values)) - 1)]
    assert statistic(points, f"p{percent}") == pytest.approx(nearest, rel=1 / 15, abs=1)
    assert {point.unit for point in points} == {"Microseconds"}


def test_many_times_are_few_points() -> None:
    series = Series()
    for number in range(100_000):
        series.answered(200, 300e-6 + number * 1e-8, 20e-6 + number * 1e-10)
    assert len(taken(series, "ModelLatency")) < 50


def test_answers_are_counted_by_what_the_model_said() -> None:
    series = Series()
    for status in (200, 200, 400, 415, 503, 0):
        series.sent(2)
        series.answered(status, 1e-3, 1e-5)
    series.sent(2)  # under way, or its caller is gone
    found = series.take(0.0)

    def total(name: str) -> float:
        return sum(point.total for given, point in found if given == name)

    assert total("Invocations") == 7
    assert total("InvocationsPerInstance") == 3.5
    assert total("Invocation4XXErrors") == 2
    assert total("Invocation5XXErrors") == 1
    assert total("InvocationModelErrors") == 4
    errors = [point for name, point in found if name == "Invocation4XXErrors"]
    assert statistic(errors, "Average") == pytest.approx(2 / 6)
    assert series.take(0.0) == []


def test_what_has_come_is_stored_at_the_end_and_unused_series_are_forgotten(tmp_path: Path) -> None:
    points = MetricPoints(tmp_path / "metrics.sqlite")
    clock = ManualClock()

    async def story() -> None:
        metrics = InvocationMetrics(points, clock)
        series = metrics.series(KEY, "AllTraffic")
        series.sent(1)
        for _ in range(200):
            metrics.flush()
        assert metrics.series(KEY, "AllTraffic") is not series
        metrics.series(KEY, "AllTraffic").sent(1)
        await metrics.close()

    asyncio.run(story())
    dimensions = (("EndpointName", "reviews"), ("VariantName", "AllTraffic"))
    metric = Metric(KEY.account_id, KEY.region, "AWS/SageMaker", "Invocations", dimensions)
    assert sum(point.total for point in points.read(metric, 0, clock.now() + 1)) == 2
    points.close()
