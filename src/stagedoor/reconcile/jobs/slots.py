"""How many jobs run at once, over all kinds: they share the machine's cores.

Place in the flow: ``app`` makes one ``JobSlots`` for all job reconcilers; each takes a slot for a run and gives it back. Who
waits is woken when one becomes free.
"""

import os
from collections.abc import Callable, Hashable


class JobSlots:
    """Slots for jobs. Used on one event loop. ``count`` 0: one per two cores, at least one."""

    def __init__(self, count: int = 0, cores: int | None = None) -> None:
        self._cores = cores or os.cpu_count() or 1
        self.count = count or max(1, self._cores // 2)
        self._taken: set[Hashable] = set()
        self._wakes: list[Callable[[], None]] = []

    @property
    def free(self) -> int:
        return self.count - len(self._taken)

    @property
    def threads(self) -> int:
        """What one job may use of the machine."""
        return max(1, self._cores // self.count)

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever a slot becomes free."""
        self._wakes.append(wake)

    def take(self, holder: Hashable) -> None:
        """``holder`` has a slot now; the caller looked at ``free`` before."""
        self._taken.add(holder)

    def release(self, holder: Hashable) -> None:
        """``holder`` needs its slot no more."""
        if holder in self._taken:
            self._taken.discard(holder)
            for wake in self._wakes:
                wake()
