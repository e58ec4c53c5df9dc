"""The machine's cores, shared out to the jobs that run, over all kinds.

Place in the flow: ``app`` makes one ``JobSlots`` for all job reconcilers; each takes cores for a run and gives them back. Who waits is
woken when some become free, and says since when its oldest job waits, so that no kind overtakes another.
"""

import os
from collections.abc import Callable, Hashable


def machine_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))  # not on macOS
    except AttributeError:
        return os.cpu_count() or 1


class JobSlots:
    """Cores for jobs. Used on one event loop. ``cores`` 0: all of the machine's."""

    def __init__(self, cores: int = 0) -> None:
        self.cores = cores or machine_cores()
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[str, float] = {}
        self._wakes: list[Callable[[], None]] = []

    @property
    def free(self) -> int:
        """Cores that nobody has."""
        return self.cores - sum(self._taken.values())

    def threads(self, holder: Hashable) -> int:
        """How many threads ``holder`` may run: one for each of its cores."""
        return self._taken.get(holder, 1)

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something becomes possible that was not: cores are free, nobody older waits."""
        self._wakes.append(wake)

    def take(self, holder: Hashable, cores: int) -> None:
        """``holder`` has so many cores now; the caller looked at ``free`` before."""
        self._taken[holder] = cores

    def release(self, holder: Hashable) -> None:
        """``holder`` needs its cores no more."""
        if self._taken.pop(holder, None) is not None:
            self._wake()

    def wait(self, kind: str, since: float | None) -> None:
        """The oldest job of a kind that waits was created at ``since``; None when none waits."""
        before = self._waiting.pop(kind, None)
        if since is not None:
            self._waiting[kind] = since
        if before is not None and before != since:
            self._wake()

    def others_wait_since(self, kind: str) -> float | None:
        """When the oldest waiting job of the other kinds was created."""
        return min((since for other, since in self._waiting.items() if other != kind), default=None)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()
