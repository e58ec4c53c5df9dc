"""The metrics of a training job: what MetricDefinitions find in its log, for CloudWatch while it runs and for its record at the end.

Place in the flow: ``act`` lets ``collect`` run every few seconds and once at the end, in a thread. It reads the lines that the log
store got since the last time, so nothing is lost and nothing is counted twice. The points go under
``/aws/sagemaker/TrainingJobs`` with the dimension ``TrainingJobName``, as AWS's do.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagedoor.domain.metric_patterns import MetricPattern, MetricPatternError
from stagedoor.store.log_events import BEGINNING, Boundary, LogEvent, LogEvents
from stagedoor.store.metric_points import Metric, MetricPoints, Point, single
from stagedoor.traffic.log_writer import LogPlace

log = logging.getLogger(__name__)

NAMESPACE = "/aws/sagemaker/TrainingJobs"
COLLECT_EVERY_S = 5.0


@dataclass(slots=True)
class _Series:
    """One metric so far (mean and squares by Welford's method)."""

    last: float = 0.0
    time_s: float = 0.0
    count: int = 0
    lowest: float = math.inf
    highest: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0

    def add(self, number: float, time_s: float) -> None:
        self.last, self.time_s = number, time_s
        self.count += 1
        self.lowest, self.highest = min(self.lowest, number), max(self.highest, number)
        off = number - self.mean
        self.mean += off / self.count
        self.squares += off * (number - self.mean)


class JobMetrics:
    """The metrics of one run of a job. ``places`` are the log streams of its hosts. Used by one thread at a time."""

    def __init__(
        self,
        job_name: str,
        definitions: Iterable[Mapping[str, str]],
        places: Sequence[LogPlace],
        log_events: LogEvents,
        metric_points: MetricPoints,
    ) -> None:
        self._job_name = job_name
        self._patterns = list(_patterns(definitions))
        self._places = places
        self._log_events = log_events
        self._metric_points = metric_points
        self._after: dict[LogPlace, Boundary] = {}
        self._series: dict[str, _Series] = {}
        self._given_up: set[str] = set()

    def collect(self) -> None:
        """Take the lines that are new since the last call, and store what they say. Blocks."""
        if not self._patterns:
            return
        for place in self._places:
            for page in self._new(place):
                points = [found for event in page for found in self._found(place, event)]
                self._metric_points.put(points)
            self._say_what_is_given_up(place)

    def _new(self, place: LogPlace) -> Iterable[list[LogEvent]]:
        events = self._log_events
        group = events.group(place.account_id, place.region, place.group)
        stream = events.stream(group.id, place.stream) if group is not None else None
        if group is None or stream is None:
            return
        while page := events.read(group, streams=[stream], after=self._after.get(place, BEGINNING)):
            self._after[place] = page[-1].after
            yield page

    def _found(self, place: LogPlace, event: LogEvent) -> Iterable[tuple[Metric, Point]]:
        time_s = event.timestamp_ms / 1000
        for name, pattern in self._patterns:
            number = pattern.value(event.message)
            if number is None:
                continue
            self._series.setdefault(name, _Series()).add(number, time_s)
            dimensions = (("TrainingJobName", self._job_name),)
            yield Metric(place.account_id, place.region, NAMESPACE, name, dimensions), single(time_s, number)

    def _say_what_is_given_up(self, place: LogPlace) -> None:
        for name, pattern in self._patterns:
            if not pattern.is_given_up or name in self._given_up:
                continue
            self._given_up.add(name)
            text = f"[stagedoor] The Regex of the metric {name} takes too long on this log; the metric is not looked for any more."
            time_ms = self._after[place].timestamp_ms
            self._log_events.put(place.account_id, place.region, place.group, place.stream, [(time_ms, text)])

    def final(self) -> list[dict[str, Any]]:
        """The last value of each metric, as DescribeTrainingJob answers them."""
        return [
            {"MetricName": name, "Value": series.last, "Timestamp": series.time_s}
            for name, series in sorted(self._series.items())
        ]

    def statistics(self) -> dict[str, dict[str, Any]]:
        """How each metric developed, in the words of a trial component's summary."""
        return {
            name: {
                "Min": series.lowest,
                "Max": series.highest,
                "Count": series.count,
                "Avg": series.mean,
                "StdDev": math.sqrt(max(series.squares, 0.0) / series.count),
            }
            for name, series in sorted(self._series.items())
        }

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncGenerator[None]:
        """Collect now and then while the block runs; the rest is for the caller to collect afterwards."""
        task = asyncio.create_task(self._collecting())
        try:
            yield
        finally:
            task.cancel()
            # A collection that is under way in its thread ends before the next one begins.
            await asyncio.gather(task, return_exceptions=True)

    async def _collecting(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_EVERY_S)
            collecting = asyncio.ensure_future(asyncio.to_thread(self.collect))
            try:
                await asyncio.shield(collecting)
            except asyncio.CancelledError:
                await asyncio.gather(collecting, return_exceptions=True)
                raise
            except Exception:
                # The end of the job collects again and tells; a full disk must not end the job now.
                log.exception("metrics could not be stored", extra={"job": self._job_name})


def _patterns(definitions: Iterable[Mapping[str, str]]) -> Iterable[tuple[str, MetricPattern]]:
    for definition in definitions:
        # What is no pattern was refused when the job was made.
        with contextlib.suppress(MetricPatternError):
            yield definition["Name"], MetricPattern(definition["Regex"])
