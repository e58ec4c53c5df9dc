"""What a workload may see of the file system: one list, enforced by ``private_root`` and by ``landlock`` alike.

Place in the flow: ``confine`` asks for the grants of an assignment. Readable are the runtime (the Python it runs on, its
packages, the system's libraries), what the system's resolver and TLS need, and the workload's own files; writable is its scratch
directory alone.
"""

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stagedoor.worker.assignment import Assignment

_SYSTEM_FOLDERS = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.conf.d"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node"),
)
_SYSTEM_FILES = (
    *("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/mime.types", "/etc/ld.so.cache", "/etc/ld.so.conf"),
    *("/etc/localtime", "/etc/timezone", "/etc/os-release", "/etc/lsb-release", "/etc/machine-info"),
)
_ACCOUNT_FILES = ("/etc/passwd", "/etc/group")
_PROC_FILES = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GPUS = ("nvidia*", "kfd", "dri")


@dataclass(frozen=True, slots=True)
class Grants:
    """Absolute paths. ``account_files`` and ``proc_files`` are for where there is no private root with its own."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    devices: tuple[str, ...]
    account_files: tuple[str, ...] = _ACCOUNT_FILES
    proc_files: tuple[str, ...] = _PROC_FILES


def of(assignment: Assignment) -> Grants:
    """The grants of a workload in this process's runtime."""
    readable = (*runtime_folders(), *_SYSTEM_FOLDERS, *_SYSTEM_FILES, *assignment.read_only)
    gpus = () if assignment.kind == "function" else tuple(_gpu_devices())
    return Grants(readable, (assignment.scratch,), (*_DEVICES, *gpus))


@functools.cache
def runtime_folders() -> tuple[str, ...]:
    """Where this process's Python, its packages, and the libraries it has loaded are."""
    folders = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    folders += [os.path.realpath(sys.executable), sys.executable]
    folders += [entry for entry in sys.path if os.path.isabs(entry)]  # noqa: PTH117 - text, not a path yet
    folders.append(str(Path(__file__).resolve().parent.parent))
    folders += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    folders += _loaded_libraries()
    real = (os.path.realpath(folder) for folder in folders if folder)
    return tuple(_outermost(path for path in (*filter(None, folders), *real) if path != "/"))


def _loaded_libraries() -> Iterator[str]:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    paths = {line.split(maxsplit=5)[5] for line in lines if "/" in line}
    yield from (path for path in sorted(paths) if path.startswith("/") and ".so" in Path(path).name)


def _outermost(paths: Iterable[str]) -> list[str]:
    """The existing paths without those that lie below another of them."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths if Path(path).exists()}):
        if not any(path.startswith(folder + "/") for folder in kept):
            kept.append(path)
    return kept


def exposed(private: Iterable[str]) -> str | None:
    """The first of ``private`` (folders that nobody may see) that lies in something readable, or None."""
    readable = [os.path.realpath(path) for path in (*runtime_folders(), *_SYSTEM_FOLDERS)]
    for folder in private:
        real = os.path.realpath(folder)
        if any(real == path or real.startswith(path + "/") for path in readable):
            return folder
    return None


def _gpu_devices() -> Iterator[str]:
    for pattern in _GPUS:
        yield from (str(path) for path in sorted(Path("/dev").glob(pattern)))
