"""The machine a result was measured on: printed with every table."""

import importlib.metadata
import os
import platform
from pathlib import Path


def describe(packages: tuple[str, ...]) -> str:
    """One line: processor, cores, kernel, Python, versions of the packages that matter."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}"
    )
