"""Whether workloads may use time on a processor that nobody else wants, so that what they wait for finds them awake.

Place in the flow: ``local`` asks once and tells each workload; ``worker.connections`` makes use of it.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_ALL_GROUPS = Path("/sys/fs/cgroup")


def may_be_kept_busy(own_groups: Path = _OWN_GROUPS, all_groups: Path = _ALL_GROUPS) -> bool:
    """Linux, several processors, and no quota of processor time, as containers have it: what is used up of that is missing later."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return False
    return not any(_limits(folder) for folder in _folders(own_groups, all_groups))


def _folders(own_groups: Path, all_groups: Path) -> Iterator[Path]:
    """Where the limits of this process's control groups are, and of those around them: version 2, and the ``cpu`` one of version 1."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = own_groups.read_text().splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = all_groups / controllers if controllers else all_groups
        inner = root / name.lstrip("/")
        yield inner
        yield from (folder for folder in inner.parents if folder.is_relative_to(root))


def _limits(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return not (folder / "cpu.max").read_text().startswith("max")
    with contextlib.suppress(OSError):
        return not (folder / "cpu.cfs_quota_us").read_text().startswith("-1")
    return False
