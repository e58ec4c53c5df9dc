"""A file system of a workload's own: an empty one, into which only what it is granted is bound. Linux, mount namespaces.

Place in the flow: ``confine`` enters it before rights are given up. Paths stay what they are outside (a Python keeps finding its
packages), the folders between them exist and are empty, and further names lead into the scratch directory: ``/tmp``,
``/dev/shm``, ``/opt/ml`` or ``/var/task``. ``plan`` only looks; ``enter`` acts.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stagedoor.worker import linux
from stagedoor.worker.grants import Grants

_BASE = "/tmp"  # noqa: S108 - any folder that exists everywhere; it is covered for a moment, in this namespace alone
_OLD = "/.outside"
_STANDARD_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
_MOST_LINKS = 40
_TMPFS_OPTIONS = "mode=0755,size=1m"

Kind = Literal["folder", "link", "read", "write", "device"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to make at ``path``: a link with ``source`` as its text, or a bind of ``source`` (a path outside)."""

    kind: Kind
    path: str
    source: str = ""


def plan(grants: Grants, aliases: Mapping[str, str]) -> list[Step]:
    """What has to be made, outer folders first. ``aliases``: path inside -> folder of the scratch directory.

    Links on the way to a granted path are made anew, so that every spelling of it works.
    """
    steps: dict[str, Step] = {}
    kinds: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("read", grants.readable),
        ("device", grants.devices),
        ("write", grants.writable),
    )
    for kind, paths in kinds:
        for path in paths:
            _resolve(path, kind, steps)
    for path, source in aliases.items():
        steps[path] = Step("write", path, source)
    for name, target in _STANDARD_LINKS.items():
        steps[name] = Step("link", name, target)
    return _in_order(steps)


def _resolve(path: str, kind: Kind, steps: dict[str, Step]) -> None:
    """Note the links on the way to ``path``, then the bind of what they lead to."""
    pending = [part for part in os.path.normpath(path).split("/") if part]
    here = ""
    links = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            here = here.rpartition("/")[0]
            continue
        place = f"{here}/{part}"
        try:
            is_link = stat.S_ISLNK(os.lstat(place).st_mode)
        except OSError:
            return  # it does not exist, or not for us
        if not is_link:
            here = place
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        target = str(Path(place).readlink())
        steps.setdefault(place, Step("link", place, target))
        pending = [piece for piece in target.split("/") if piece not in ("", ".")] + pending
        if target.startswith("/"):
            here = ""
    if here:
        steps[here] = Step(kind, here, here)


def _in_order(steps: Mapping[str, Step]) -> list[Step]:
    """By path, with the folders that lead to them; what lies in a bound folder of the same kind is there already."""
    ordered: list[Step] = []
    made: set[str] = set()
    bound: dict[str, Step] = {}
    for path in sorted(steps, key=lambda name: name.split("/")):
        step = steps[path]
        parents = _parents(path)
        around = next((bound[parent] for parent in reversed(parents) if parent in bound), None)
        # Within an alias, names are those of the scratch directory: nothing is there already.
        if around is not None and around.path == around.source and step.kind in (around.kind, "link"):
            continue
        for parent in parents:
            if parent not in made and parent not in bound:
                made.add(parent)
                ordered.append(Step("folder", parent))
        if step.kind != "link":
            bound[path] = step
        ordered.append(step)
    return ordered


def _parents(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def enter(steps: Iterable[Step], texts: Mapping[str, str], *, with_proc: bool) -> None:
    """Make the steps' file system this process's, and leave the old one behind. OSError when the system forbids it.

    ``texts``: small files of its own. ``with_proc``: this process is in a PID namespace of its own, which /proc then shows.
    Needs the right to mount.
    """
    here = Path.cwd()
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", _BASE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _TMPFS_OPTIONS)
    old = _BASE + _OLD
    os.mkdir(old, 0o700)  # noqa: PTH102 - as below: paths are text here
    linux.pivot_root(_BASE, old)
    os.chdir("/")
    for step in steps:
        _make(step)
    for path, text in texts.items():
        _make_parents(path)
        Path(path).write_text(text)
        Path(path).chmod(0o644)
    _make_parents("/proc/self")
    if with_proc:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.unmount(_OLD)
    Path(_OLD).rmdir()
    flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("", "/", flags=flags)
    os.chdir(here)


def _make(step: Step) -> None:
    if step.kind == "folder":
        _folder(step.path)
        return
    if step.kind == "link":
        if not os.path.lexists(step.path):
            Path(step.path).symlink_to(step.source)
        return
    source = _OLD + step.source
    if Path(source).is_dir():
        _folder(step.path)
    elif not os.path.lexists(step.path):
        os.close(os.open(step.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    linux.mount(source, step.path, flags=linux.MS_BIND | linux.MS_REC)
    attributes = linux.MOUNT_ATTR_NOSUID
    if step.kind != "device":
        attributes |= linux.MOUNT_ATTR_NODEV
    if step.kind == "read":
        attributes |= linux.MOUNT_ATTR_RDONLY
    linux.restrict_mount(step.path, attributes)


def _folder(path: str) -> None:
    try:
        os.mkdir(path)  # noqa: PTH102 - hundreds of times at each start
        Path(path).chmod(0o755)  # whatever the umask
    except FileExistsError:
        pass


def _make_parents(path: str) -> None:
    for parent in _parents(path):
        _folder(parent)
