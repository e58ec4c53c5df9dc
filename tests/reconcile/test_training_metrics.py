"""The metrics of a job: found in its lines once, stored as points, summed up; and patterns that would never end."""

import time
from pathlib import Path

import pytest

from stagedoor.domain.metric_patterns import MetricPattern, MetricPatternError
from stagedoor.reconcile.training.metrics import NAMESPACE, JobMetrics
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import Metric, MetricPoints
from stagedoor.traffic.log_writer import LogPlace

PLACE = LogPlace("000000000000", "us-east-1", "/aws/sagemaker/TrainingJobs", "job/algo-1-1")
DEFINITIONS = [
    {"Name": "loss", "Regex": r"loss=([0-9.e+-]+)"},
    {"Name": "validation:accuracy", "Regex": r"accuracy: (\S+);"},
]


class Desk:
    def __init__(self, folder: Path) -> None:
        self.log_events = LogEvents(folder / "logs.sqlite")
        self.points = MetricPoints(folder / "metrics.sqlite")

    def metrics(self, definitions: list[dict[str, str]], *places: LogPlace) -> JobMetrics:
        return JobMetrics("job", definitions, places or [PLACE], self.log_events, self.points)

    def log(self, *lines: str, at_s: float = 1_000.0, place: LogPlace = PLACE) -> None:
        events = [(int(at_s * 1000), line) for line in lines]
        self.log_events.put(place.account_id, place.region, place.group, place.stream, events)

    def stored(self, name: str) -> list[tuple[float, float]]:
        dimensions = (("TrainingJobName", "job"),)
        metric = Metric(PLACE.account_id, PLACE.region, NAMESPACE, name, dimensions)
        return [(point.time_s, point.total) for point in self.points.read(metric, 0, 1e12)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_each_line_counts_once_however_often_it_is_collected(desk: Desk) -> None:
    metrics = desk.metrics(DEFINITIONS)
    metrics.collect()
    desk.log("loss=0.5 and so on", "nothing here", at_s=10)
    metrics.collect()
    metrics.collect()
    desk.log("loss=0.25 accuracy: 0.75;", at_s=20)
    desk.log("loss=3e-1", at_s=20)
    metrics.collect()
    assert desk.stored("loss") == [(10, 0.5), (20, 0.25), (20, 0.3)]
    assert desk.stored("validation:accuracy") == [(20, 0.75)]
    assert metrics.final() == [
        {"MetricName": "loss", "Value": 0.3, "Timestamp": 20},
        {"MetricName": "validation:accuracy", "Value": 0.75, "Timestamp": 20},
    ]
    loss = metrics.statistics()["loss"]
    assert (loss["Min"], loss["Max"], loss["Count"]) == (0.25, 0.5, 3)
    assert loss["Avg"] == pytest.approx(0.35)
    assert loss["StdDev"] == pytest.approx(0.10801, abs=1e-5)


def test_all_hosts_count_and_what_is_no_number_does_not(desk: Desk) -> None:
    other = PLACE._replace(stream="job/algo-2-1")
    metrics = desk.metrics(DEFINITIONS, PLACE, other)
    desk.log("loss=1", "accuracy: nan;", "accuracy: inf;", "accuracy: high;")
    desk.log("loss=2", place=other)
    metrics.collect()
    assert [number for _, number in desk.stored("loss")] == [1, 2]
    assert [metric["MetricName"] for metric in metrics.final()] == ["loss"]


def test_a_pattern_without_end_is_given_up_and_said_in_the_log(desk: Desk) -> None:
    endless = {"Name": "endless", "Regex": r"((?:a+)+)+\d$"}
    metrics = desk.metrics([endless, DEFINITIONS[0]])
    desk.log(*(["a" * 5_000 + "!"] * 50), "loss=1")
    started_s = time.perf_counter()
    metrics.collect()
    # 50 lines would take for ever; three time-outs of 0.05 s are what it may take.
    assert time.perf_counter() - started_s < 10
    assert desk.stored("loss") == [(1_000, 1)]
    group = desk.log_events.group(PLACE.account_id, PLACE.region, PLACE.group)
    assert group is not None
    said = [event.message for event in desk.log_events.read(group, limit=1_000)]
    assert [line for line in said if "The Regex of the metric endless takes too long" in line]
    metrics.collect()
    assert sum("takes too long" in event.message for event in desk.log_events.read(group, limit=1_000)) == 1


@pytest.mark.parametrize(
    ("text", "why"), [("loss=(", "is not a regular expression"), ("loss=[0-9]+", "has no group")]
)
def test_what_can_find_nothing_is_no_pattern(text: str, why: str) -> None:
    with pytest.raises(MetricPatternError, match=why):
        MetricPattern(text)
