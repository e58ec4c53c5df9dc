"""A folder in which processes work meanwhile: `Path.rglob` of Python 3.11 raises when one of its folders goes while it looks."""

import os
from fnmatch import fnmatch
from pathlib import Path


def paths_under(folder: Path, pattern: str = "*") -> list[Path]:
    """Every path below `folder` whose last part matches `pattern`, sorted; what goes meanwhile is left out."""
    return sorted(
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if fnmatch(name, pattern)
    )
