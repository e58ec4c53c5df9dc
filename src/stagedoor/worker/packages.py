"""Puts packages that the user chose in front of the runtime's own, in a process that is confined already.

Place in the flow: ``process.become`` calls it after ``confine`` for workloads whose requirements were installed (``engine.environments``).
The warm parent knows nothing of them: importing a package, or only starting a Python that sees it, runs what its author wrote.
"""

import site
import sys
from pathlib import Path


def enter(folder: Path) -> None:
    """Make this process, and the Pythons that it starts, those of the virtual environment ``folder``."""
    before = list(sys.path)
    for packages in sorted(folder.glob("lib/python*/site-packages")):
        site.addsitedir(str(packages))
    added = [path for path in sys.path if path not in before]
    first = next((place for place, path in enumerate(before) if path.endswith("-packages")), len(before))
    sys.path[:] = [*before[:first], *added, *before[first:]]
    sys.executable = str(folder / "bin" / "python")
