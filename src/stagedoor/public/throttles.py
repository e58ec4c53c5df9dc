"""How many requests a second: token buckets, as API Gateway's throttles are described. Pure; the caller brings the time.

Place in the flow: ``authorise`` asks for the usage plan of a key and for the settings of a method.
"""

from collections.abc import Hashable

_MOST_BUCKETS = 16_384


class Throttles:
    """Buckets by whatever is throttled alone. A bucket of ``burst`` requests is full at first and refills with ``rate``."""

    def __init__(self) -> None:
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, what: Hashable, rate: float, burst: int, now_s: float) -> bool:
        """Whether one more request may pass at ``now_s`` (a clock that never goes back)."""
        tokens, at_s = self._buckets.get(what, (float(burst), now_s))
        tokens = min(float(burst), tokens + max(0.0, now_s - at_s) * rate)
        passes = tokens >= 1
        if what not in self._buckets and len(self._buckets) >= _MOST_BUCKETS:
            # Oldest first: who has not called for longest has the fullest bucket.
            del self._buckets[min(self._buckets, key=lambda each: self._buckets[each][1])]
        self._buckets[what] = (tokens - 1 if passes else tokens, now_s)
        return passes
