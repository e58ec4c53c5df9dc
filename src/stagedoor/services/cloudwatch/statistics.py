"""Statistics of points: the five simple ones, percentiles, and those between two bounds. Pure.

Place in the flow: GetMetricStatistics and GetMetricData parse the statistics they are asked for here, gather points by period
and compute one number for each. CloudWatch's words: ``Average``, ``p99.9``, ``TM(10%:90%)``, ``PR(:300)``, ``IQM``.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stagedoor.store.metric_points import Point

SIMPLE: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")

_NUMBER = r"\d+(?:\.\d+)?"
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
_SHORT = re.compile(r"(tm|wm|tc|ts)(\d{1,2}(?:\.\d{1,10})?|100)")
_BETWEEN = re.compile(rf"(TM|WM|TC|TS|PR)\((?:({_NUMBER})(%?))?:(?:({_NUMBER})(%?))?\)")


class UnknownStatisticError(Exception):
    """A statistic that CloudWatch does not have either."""


class _Values:
    """The values of points, sorted, with how often each occurred. Statistic sets of different values have no place here."""

    def __init__(self, points: Iterable[Point]) -> None:
        merged: dict[float, float] = {}
        for point in points:
            if point.minimum == point.maximum or point.samples == 1:
                number = point.total / point.samples if point.samples else point.minimum
                merged[number] = merged.get(number, 0.0) + point.samples
        self.pairs = sorted(merged.items())
        self.count = math.fsum(count for _, count in self.pairs)

    def percentile(self, percent: float) -> float:
        """The smallest value that at least ``percent`` of all values do not exceed."""
        wanted = percent / 100 * self.count
        reached = 0.0
        for number, count in self.pairs:
            reached += count
            if reached >= wanted:
                return number
        return self.pairs[-1][0]

    def between_percents(self, low: float, high: float) -> list[tuple[float, float]]:
        """Values from the ``low``-th to the ``high``-th percent of them, those at the bounds by the part that is within."""
        start, end = low / 100 * self.count, high / 100 * self.count
        kept: list[tuple[float, float]] = []
        reached = 0.0
        for number, count in self.pairs:
            inside = min(reached + count, end) - max(reached, start)
            if inside > 0:
                kept.append((number, inside))
            reached += count
        return kept

    def between(self, low: float, high: float) -> list[tuple[float, float]]:
        """Values above ``low`` and not above ``high``."""
        return [(number, count) for number, count in self.pairs if low < number <= high]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic; ``of`` gives None for points that do not allow it (percentiles of ready-made sets)."""

    name: str
    of: Callable[[Sequence[Point]], float | None]


def parse(name: str) -> Statistic:
    """The statistic of that name. UnknownStatisticError when CloudWatch has none."""
    if name in SIMPLE:
        return Statistic(name, _SIMPLE_FUNCTIONS[name])
    if name == "IQM":
        return Statistic(name, lambda points: _bounded("TM", points, 25, 75, percents=True))
    if match := _PERCENTILE.fullmatch(name):
        return Statistic(name, lambda points: _percentile(points, float(match[1])))
    if match := _SHORT.fullmatch(name):
        kind, high = match[1].upper(), float(match[2])
        return Statistic(name, lambda points: _bounded(kind, points, 0, high, percents=True))
    if (match := _BETWEEN.fullmatch(name)) and (match[2] or match[4]):
        kind = match[1]
        percents = "%" in (match[3], match[5])
        mixed = percents and not all(
            mark == "%" for number, mark in ((match[2], match[3]), (match[4], match[5])) if number
        )
        low = float(match[2]) if match[2] else (0.0 if percents else -math.inf)
        high = float(match[4]) if match[4] else (100.0 if percents else math.inf)
        if not mixed and low <= high and not (percents and (high > 100 or kind == "PR")):
            return Statistic(name, lambda points: _bounded(kind, points, low, high, percents=percents))
    raise UnknownStatisticError(name)


def _percentile(points: Sequence[Point], percent: float) -> float | None:
    values = _Values(points)
    return values.percentile(percent) if values.count > 0 else None


def _bounded(kind: str, points: Sequence[Point], low: float, high: float, *, percents: bool) -> float | None:
    values = _Values(points)
    if values.count <= 0:
        return None
    kept = values.between_percents(low, high) if percents else values.between(low, high)
    count = math.fsum(each for _, each in kept)
    total = math.fsum(number * each for number, each in kept)
    match kind:
        case "TC":
            return count
        case "TS":
            return total
        case "PR":
            return 100 * count / values.count
        case "TM":
            return total / count if count else None
        case _:
            return _winsorized(values, kept)


def _winsorized(values: _Values, kept: Sequence[tuple[float, float]]) -> float | None:
    """The mean with what lies outside moved to the bounds."""
    if not kept:
        return None
    lowest, highest = kept[0][0], kept[-1][0]
    total = math.fsum(min(max(number, lowest), highest) * count for number, count in values.pairs)
    return total / values.count


def _average(points: Sequence[Point]) -> float | None:
    count = math.fsum(point.samples for point in points)
    return math.fsum(point.total for point in points) / count if count else None


_SIMPLE_FUNCTIONS: Final[Mapping[str, Callable[[Sequence[Point]], float | None]]] = {
    "SampleCount": lambda points: math.fsum(point.samples for point in points),
    "Average": _average,
    "Sum": lambda points: math.fsum(point.total for point in points),
    "Minimum": lambda points: min(point.minimum for point in points),
    "Maximum": lambda points: max(point.maximum for point in points),
}


def by_period(points: Iterable[Point], start_s: float, period_s: int) -> dict[float, list[Point]]:
    """Points by the beginning of their period; periods follow one another from ``start_s`` on.

    A point of standard resolution stands for its whole minute, whatever second of it was given.
    """
    gathered: dict[float, list[Point]] = {}
    for point in points:
        time_s = point.time_s - point.time_s % max(point.resolution_s, 1)
        place = start_s + (time_s - start_s) // period_s * period_s
        gathered.setdefault(place, []).append(point)
    return gathered
