"""Turns: of several servers one goes on while the others stand still, so that the measured one has the machine to itself.

Place in the flow: ``invoke`` and ``storage`` measure side by side; all their servers stay alive, as starting them anew for each of
many short runs would take hours. What a server does while nobody asks it (Ray keeps a seventh of a core busy) is its own cost and
told as such, not its neighbours'.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench import processes

SETTLE_S = 0.15
"""What wakes after seconds has timers to catch up with."""

Take = Callable[[int], None]


@contextmanager
def among(roots: Sequence[int]) -> Iterator[Take]:
    """Servers by the id of their first process. All stand still but the one that the given function was called with last.

    At the end, however it comes, all go on.
    """
    going: list[int] = []

    def take(root: int) -> None:
        if going != [root]:
            while going:
                processes.pause(going.pop())
            going.append(root)
            processes.resume(root)
            time.sleep(SETTLE_S)

    try:
        for root in roots:
            processes.pause(root)
        yield take
    finally:
        for root in roots:
            processes.resume(root)
