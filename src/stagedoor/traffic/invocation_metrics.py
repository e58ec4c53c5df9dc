"""How the invocations of endpoints went, for CloudWatch: counted as they happen, stored every few seconds.

Place in the flow: ``services.sagemaker_runtime.data_path`` notes each invocation in the series of its variant. What came since the last
time becomes points in the namespace ``AWS/SageMaker`` with the dimensions EndpointName and VariantName, which a thread stores; a front
process sends them to the control process.

The metrics are those of AWS (https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html, "endpoint invocation metrics").
Times are counted in steps of at most a sixteenth of their length, so that a busy endpoint makes some dozens of points and no more: sums,
averages and extremes are exact, a percentile is off by less than a sixteenth.
"""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping

from stagedoor.domain.clock import Clock
from stagedoor.store.metric_points import Metric, MetricPoints, Point
from stagedoor.traffic.endpoint_routes import EndpointKey

log = logging.getLogger(__name__)

NAMESPACE = "AWS/SageMaker"
FLUSH_S = 5.0
_STEP_BITS = 5
_ADDED_AT_ONCE = 256  # takes less than 0.1 ms, during which the loop stands still
_KEPT_FLUSHES = 120  # a series that nobody used for so long is forgotten; no invocation takes that long


class _Times:
    """Durations of one kind, in nanoseconds until they are points."""

    __slots__ = ("_least", "_most", "_steps")

    def __init__(self) -> None:
        self._least = self._most = -1
        self._steps: dict[int, list[int]] = {}  # count and total of those in each step, by the step's end

    def add(self, durations_s: list[float]) -> None:
        """Any number of them; many at once cost far less than many calls."""
        durations_ns = sorted([int(duration_s * 1e9) for duration_s in durations_s])
        start = 0
        while start < len(durations_ns):
            step = _step_end(durations_ns[start])
            end = bisect_left(durations_ns, step, start)
            found = self._steps.setdefault(step, [0, 0])
            found[0] += end - start
            found[1] += sum(durations_ns[start:end])
            start = end
        self._least = durations_ns[0] if self._least < 0 else min(self._least, durations_ns[0])
        self._most = max(self._most, durations_ns[-1])

    def points(self, time_s: float) -> Iterator[Point]:
        """The shortest and the longest as they are; the rest by step, with the mean of each."""
        for extreme_ns in {self._least, self._most}:
            found = self._steps[_step_end(extreme_ns)]
            found[0] -= 1
            found[1] -= extreme_ns
            yield _point(time_s, 1, extreme_ns)
        for count, total_ns in self._steps.values():
            if count:
                yield _point(time_s, count, total_ns)


def _step_end(duration_ns: int) -> int:
    """The first duration that is beyond the step of this one."""
    shift = max(0, duration_ns.bit_length() - _STEP_BITS)
    return ((duration_ns >> shift) + 1) << shift


def _point(time_s: float, count: int, total_ns: int) -> Point:
    mean_us = total_ns / count / 1_000
    return Point(time_s, count, total_ns / 1_000, mean_us, mean_us, "Microseconds")


class Series:
    """The invocations of one variant since the last flush."""

    __slots__ = ("_answers", "_model", "_model_s", "_overhead", "_overhead_s", "_sent", "_statuses", "rests")

    def __init__(self) -> None:
        self.rests = 0
        """For how many flushes nothing has come."""
        self._begin()

    def _begin(self) -> None:
        self._sent: dict[int, int] = {}  # by the number of instances
        self._answers = 0
        self._statuses: dict[int, int] = {}  # of answers that were not 200
        self._model, self._overhead = _Times(), _Times()
        # What has not been added to the times yet.
        self._model_s: list[float] = []
        self._overhead_s: list[float] = []

    def sent(self, instances: int) -> None:
        """A worker got an invocation; the variant has so many ``instances``."""
        self._sent[instances] = self._sent.get(instances, 0) + 1

    def answered(self, status: int, model_s: float, overhead_s: float) -> None:
        """It was answered with this HTTP status (0: with none) after ``model_s``; ``overhead_s`` is what all else took."""
        if status != 200:
            self._statuses[status] = self._statuses.get(status, 0) + 1
        self._model_s.append(model_s)
        self._overhead_s.append(overhead_s)
        if len(self._model_s) >= _ADDED_AT_ONCE:
            self._add()

    def _add(self) -> None:
        self._answers += len(self._model_s)
        self._model.add(self._model_s)
        self._overhead.add(self._overhead_s)
        self._model_s, self._overhead_s = [], []

    def _failures(self, least: int, most: int) -> int:
        return sum([count for status, count in self._statuses.items() if least <= status <= most])

    def take(self, time_s: float) -> list[tuple[str, Point]]:
        """Name and point of what came since the last time."""
        found: list[tuple[str, Point]] = []
        for instances, count in self._sent.items():
            share = 1 / instances
            found += [
                ("Invocations", Point(time_s, count, count, 1, 1)),
                ("InvocationsPerInstance", Point(time_s, count, count * share, share, share)),
            ]
        if self._model_s:
            self._add()
        if self._answers:
            for name, errors in (
                ("Invocation4XXErrors", self._failures(400, 499)),
                ("Invocation5XXErrors", self._failures(500, 599)),
                ("InvocationModelErrors", self._failures(0, 999)),
            ):
                for number, count in ((0, self._answers - errors), (1, errors)):
                    if count:
                        found.append((name, Point(time_s, count, count * number, number, number)))
            found += [("ModelLatency", point) for point in self._model.points(time_s)]
            found += [("OverheadLatency", point) for point in self._overhead.points(time_s)]
        self.rests = 0 if found else self.rests + 1
        self._begin()
        return found


class InvocationMetrics:
    """The series of all variants. Used on the event loop."""

    def __init__(self, metric_points: MetricPoints, clock: Clock) -> None:
        self._metric_points = metric_points
        self._clock = clock
        self._series: dict[tuple[EndpointKey, str], Series] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._storing: set[asyncio.Future[None]] = set()

    def series(self, key: EndpointKey, variant: str) -> Series:
        """Where the invocations of this variant are noted."""
        found = self._series.get((key, variant))
        if found is None:
            found = self._series[key, variant] = Series()
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush_again)
        return found

    def _flush_again(self) -> None:
        self._timer = None
        self.flush()
        if self._series:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush_again)

    def flush(self) -> None:
        """Have stored what came since the last time."""
        points = self._take()
        if points:
            self.store(points)

    async def close(self) -> None:
        """Store the rest."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        if self._storing:
            await asyncio.wait(self._storing)

    def store(self, points: list[tuple[Metric, Point]]) -> None:
        """Have a thread ``put`` them."""
        storing = asyncio.get_running_loop().run_in_executor(None, self.put, points)
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)

    def put(self, points: list[tuple[Metric, Point]]) -> None:
        """Keep these points: those from here, and those that front processes send. Blocks."""
        try:
            self._metric_points.put(points)
        except Exception:
            # A full disk, for one: invocations go on without being counted.
            log.exception("metrics of invocations were lost", extra={"points": len(points)})

    def _take(self) -> list[tuple[Metric, Point]]:
        now = self._clock.now()
        found = [
            (_metric(key, variant, name), point)
            for (key, variant), series in self._series.items()
            for name, point in series.take(now)
        ]
        self._series = {key: series for key, series in self._series.items() if series.rests < _KEPT_FLUSHES}
        return found


def _metric(key: EndpointKey, variant: str, name: str) -> Metric:
    dimensions: Mapping[str, str] = {"EndpointName": key.name, "VariantName": variant}
    return Metric(key.account_id, key.region, NAMESPACE, name, tuple(dimensions.items()))
