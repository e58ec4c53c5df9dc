"""How many connections each front process has, in memory that all of them see: for sharing new ones out evenly."""

import mmap
import os
import tempfile
from pathlib import Path
from struct import Struct
from typing import Final

from stagedoor.settings import FRONTS_MAX

_COUNT: Final = Struct("<I")
_NOBODY: Final = 0xFFFF_FFFF
_SIZE_BYTES: Final = FRONTS_MAX * _COUNT.size


def make() -> int:
    """A descriptor of such memory, with nobody in it."""
    descriptor, path = tempfile.mkstemp(prefix="stagedoor-counts-")
    Path(path).unlink()
    os.write(descriptor, _COUNT.pack(_NOBODY) * FRONTS_MAX)
    return descriptor


class ConnectionCounts:
    """The numbers of all front processes; ``own`` is this one's place, None for the control process."""

    def __init__(self, descriptor: int, own: int | None = None) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE_BYTES)
        self._own = own

    def set(self, count: int) -> None:
        """Note how many this process has."""
        assert self._own is not None
        _COUNT.pack_into(self._memory, self._own * _COUNT.size, count)

    def leave(self, number: int) -> None:
        """A process is gone: nobody waits for it any more."""
        _COUNT.pack_into(self._memory, number * _COUNT.size, _NOBODY)

    @property
    def has_more_than_another(self) -> bool:
        """Whether some other process has fewer than this one."""
        assert self._own is not None
        counts = [count for (count,) in _COUNT.iter_unpack(self._memory[:])]
        return min(counts) < counts[self._own]
