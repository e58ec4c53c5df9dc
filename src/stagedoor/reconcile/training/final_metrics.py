"""The values that an algorithm printed last for each of its metrics: FinalMetricDataList.

Place in the flow: when a job has ended and all its lines are stored, ``act`` reads them here, oldest first.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any


class FinalMetrics:
    """Takes log lines in order; remembers the last value of each metric that MetricDefinitions name."""

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._patterns = [(each["Name"], re.compile(each["Regex"])) for each in definitions]
        self._found: dict[str, tuple[float, float]] = {}

    def take(self, line: str, time_s: float) -> None:
        """Look at one line, printed at ``time_s``."""
        if ":" not in line or "#011" not in line:
            return  # no line of metrics of a built-in algorithm, and the patterns are many
        for name, pattern in self._patterns:
            if name.partition(":")[2] in line and (match := pattern.search(line)) is not None:
                self._found[name] = (float(match[1]), time_s)

    def values(self) -> list[dict[str, Any]]:
        """As DescribeTrainingJob answers them."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": time_s}
            for name, (value, time_s) in sorted(self._found.items())
        ]
