"""The values that an algorithm printed last for each of its metrics: FinalMetricDataList.

Place in the flow: when a job has ended and all its lines are stored, ``act`` reads them here, oldest first.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What ends a run of characters that a matching line must contain as they stand.
_ESCAPED_LITERALS = frozenset(".^$*+?{}[]()|\\/-#<>=:,%' ")
_FLAGS = re.compile(r"\(\?[a-zA-Z]")


class FinalMetrics:
    """Takes log lines in order; remembers the last value of each metric that MetricDefinitions name."""

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._patterns = [
            (each["Name"], required_text(each["Regex"]), re.compile(each["Regex"])) for each in definitions
        ]
        self._found: dict[str, tuple[float, float]] = {}

    def take(self, line: str, time_s: float) -> None:
        """Look at one line, printed at ``time_s``."""
        for name, text, pattern in self._patterns:
            # Most lines hold no metric, the patterns are many, and some take long to find nothing.
            if text in line and (match := pattern.search(line)) is not None:
                try:
                    self._found[name] = (float(match[1]), time_s)
                except ValueError:
                    continue  # the pattern found something that is no number

    def values(self) -> list[dict[str, Any]]:
        """As DescribeTrainingJob answers them."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": time_s}
            for name, (value, time_s) in sorted(self._found.items())
        ]


def required_text(regex: str) -> str:
    """The longest text that every line must contain where ``regex`` matches; empty when that is not plain to see."""
    if _FLAGS.search(regex):
        return ""  # (?i) and the like: letters need not stand as they are
    runs, run = [""], ""
    depth, position = 0, 0
    while position < len(regex):
        character = regex[position]
        position += 1
        if character == "[":
            position = _after_class(regex, position)
            character = ""
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "|" and depth == 0:
            return ""
        elif character == "\\":
            character = regex[position] if position < len(regex) else ""
            position += 1
            if depth == 0 and character in _ESCAPED_LITERALS:
                run += character
                continue
        elif depth == 0 and character in "*?{":
            runs.append(run[:-1])  # what stands before may be missing
            run = ""
            if character == "{":
                position = regex.find("}", position) + 1 or len(regex)
            continue
        elif depth == 0 and character not in ".^$+":
            run += character
            continue
        runs.append(run)
        run = ""
    return max([*runs, run], key=len)


def _after_class(regex: str, position: int) -> int:
    """Behind the bracket that ends a class of characters begun before ``position``."""
    if regex[position : position + 1] == "^":
        position += 1
    if regex[position : position + 1] == "]":
        position += 1  # one that comes first is a member
    while position < len(regex) and regex[position] != "]":
        position += 2 if regex[position] == "\\" else 1
    return position + 1
