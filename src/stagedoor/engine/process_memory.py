"""How much memory the server and all its processes use, each and together.

Place in the flow: ``stagedoor status`` asks it about the server's process number. Nothing runs in the server for it, and no listener tells it.

Forks share pages, so sizes of processes may not simply be added up. ``PSS`` counts a shared page in equal parts: the sum is what the
machine gives (Linux, where the reader may look into the process). Others are counted by ``own``, what a process has in memory beyond the one
that forked it (Linux: a worker hides from all but root), or by ``RSS`` (macOS), which counts what is shared again for each process.
"""

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Measure = Literal["PSS", "own", "RSS"]

_TITLE = "stagedoor: "
_PS = ("ps", "-axo", "pid=,ppid=,rss=,command=")


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process; ``name`` says what it is (``server``, ``warm xgboost``, ``model words``)."""

    pid: int
    name: str
    size_bytes: int
    measure: Measure


@dataclass(frozen=True, slots=True)
class _Seen:
    pid: int
    parent_pid: int
    title: str
    resident_bytes: int


def of_server(pid: int) -> list[ProcessMemory]:
    """The server and everything that descends from it, the server first. Blocks."""
    seen = _look_linux() if sys.platform == "linux" else _look_elsewhere()
    family = _family(pid, seen)
    return [
        ProcessMemory(each.pid, "server" if each.pid == pid else _name(each), *_size(each, seen))
        for each in family
    ]


def _family(pid: int, seen: dict[int, _Seen]) -> list[_Seen]:
    children: dict[int, list[int]] = {}
    for each in seen.values():
        children.setdefault(each.parent_pid, []).append(each.pid)
    found: list[_Seen] = []
    pending = [pid]
    while pending:
        one = pending.pop(0)
        if one in seen:
            found.append(seen[one])
            pending += sorted(children.get(one, []))
    return found


def _name(process: _Seen) -> str:
    title = process.title.strip()
    if title.startswith(_TITLE):
        return title.removeprefix(_TITLE)
    return Path(title.split(" ")[0]).name or "?"


def _size(process: _Seen, seen: dict[int, _Seen]) -> tuple[int, Measure]:
    if sys.platform != "linux":
        return process.resident_bytes, "RSS"
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024, "PSS"
    parent = seen.get(process.parent_pid)
    is_fork = parent is not None and parent.title.startswith(_TITLE)
    return max(0, process.resident_bytes - (parent.resident_bytes if parent and is_fork else 0)), "own"


def _look_linux() -> dict[int, _Seen]:
    found: dict[int, _Seen] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = entry.joinpath("status").read_text().splitlines()
            fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
            title = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # Memory that is no file's.
            resident_kb = sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))
            pid = int(entry.name)
            found[pid] = _Seen(pid, int(fields["PPid"]), title, resident_kb * 1024)
    return found


def _look_elsewhere() -> dict[int, _Seen]:
    listed = subprocess.run(_PS, capture_output=True, text=True, check=False).stdout
    found: dict[int, _Seen] = {}
    for line in listed.splitlines():
        pid, parent_pid, resident_kb, title = (*line.split(maxsplit=3), "")[:4]
        found[int(pid)] = _Seen(int(pid), int(parent_pid), title, int(resident_kb) * 1024)
    return found
