"""The machine a result was measured on: printed with every table, kept in every raw file."""

import datetime as dt
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = (
    "stagedoor",
    "boto3",
    "uvloop",
    "httptools",
    "orjson",
    "numpy",
    "xgboost-cpu",
    "xgboost",
    "onnxruntime",
)

# An address with a scheme, host:port of the loopback, or an absolute path of two or more parts.
_PLACE = re.compile(r"\w+://\S+|\b127\.0\.0\.1:\d+|(?<![\w.])(?:/[\w.+@-]+){2,}/?")


def describe(packages: tuple[str, ...]) -> str:
    """One line: processor, cores, kernel, Python, versions of the packages that matter."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def environment() -> dict[str, Any]:
    """What a reader has to know; nothing that tells whose machine it is."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "packages": _versions(),
        "wrk": _first_words(["wrk", "-v"], 2),
    }


def moment() -> dict[str, Any]:
    """When a section was measured, on what code, and how busy the machine was before."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def without_places(value: Any, name: str = "") -> Any:
    """The same, with no address and no folder of this machine in a reason or an error: what is told is published."""
    if isinstance(value, dict):
        return {key: without_places(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_places(inner, name) for inner in value]
    if isinstance(value, str) and name in ("reason", "error"):
        return _PLACE.sub("...", value)
    return value


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    root = Path(__file__).parents[1]
    told = _first_words(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], 1)
    changed = _first_words(["git", "-C", str(root), "status", "--porcelain", "--", "src", "bench"], 1)
    return told + (" with changes" if changed else "")


def _first_words(command: list[str], count: int) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:count])
