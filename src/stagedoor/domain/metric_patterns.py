"""The regular expressions of MetricDefinitions, bounded: a user's pattern never costs more than a moment per line. Pure.

Place in the flow: CreateTrainingJob refuses what is no pattern; whoever reads a job's lines (``reconcile.training.metrics``) asks
``value``.
"""

import math

import regex

from stagedoor.domain.required_text import required_text

MATCH_TIMEOUT_S = 0.05
TIMEOUTS_AT_MOST = 3
LINE_CHARACTERS = 8_192
"""What of a line is looked at."""


class MetricPatternError(Exception):
    """A pattern that nothing can be found with; the text says why."""


class MetricPattern:
    """One definition's pattern. After a few lines that took too long, it finds nothing any more (``is_given_up``)."""

    def __init__(self, text: str) -> None:
        try:
            # Patterns are compiled once for a job; the library's own cache would keep every user's.
            self._pattern = regex.compile(text, cache_pattern=False)
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise MetricPatternError(f"is not a regular expression: {error}") from error
        if self._pattern.groups < 1:
            raise MetricPatternError("has no group (…) around the value")
        self._required = required_text(text)
        self._timeouts = 0

    @property
    def is_given_up(self) -> bool:
        """Whether it took too long too often."""
        return self._timeouts >= TIMEOUTS_AT_MOST

    def value(self, line: str) -> float | None:
        """The number that the first group found in a line; None for none, or no finite number."""
        # Most lines hold no metric, and the patterns are many.
        if self._required not in line or self.is_given_up:
            return None
        try:
            # Other threads run meanwhile; the time-out bounds patterns that backtrack without end.
            match = self._pattern.search(line[:LINE_CHARACTERS], concurrent=True, timeout=MATCH_TIMEOUT_S)
        except TimeoutError:
            self._timeouts += 1
            return None
        if match is None or match[1] is None:
            return None
        try:
            number = float(match[1])
        except ValueError:
            return None
        return number if math.isfinite(number) else None
