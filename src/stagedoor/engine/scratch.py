"""Scratch directories of workloads, and the private folder of their sockets.

Place in the flow: ``local`` makes one directory per workload in the data directory. Sockets live elsewhere: the path of a Unix
socket may have 104 bytes on macOS and 108 on Linux, and a data directory may be anywhere. All functions block; ``local`` calls
them in threads.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stagedoor.engine.interface import EngineError

_SOCKETS_PREFIX = "stagedoor-"
_SOCKETS_LINK = ".sockets"
_LONGEST_SOCKETS_DIR = 70


def settle(root: Path) -> Path:
    """Make ``root`` ready and empty, of what an earlier server left too; gives a new folder for sockets (mode 0700)."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = root / _SOCKETS_LINK
    with contextlib.suppress(OSError):
        earlier = link.readlink()
        if earlier.name.startswith(_SOCKETS_PREFIX) and earlier.stat().st_uid == os.getuid():
            shutil.rmtree(earlier)
    for left in root.iterdir():
        remove(left)
    sockets = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX, dir=_sockets_parent()))
    link.symlink_to(sockets)
    return sockets


def _sockets_parent() -> Path:
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if (
        runtime_dir
        and len(os.fsencode(runtime_dir)) < _LONGEST_SOCKETS_DIR
        and os.access(runtime_dir, os.W_OK)
    ):
        return Path(runtime_dir)
    return Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it; TMPDIR is too long on macOS


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a scratch directory from the beginning: links to files, copies of files, named pipes."""

    files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    copies: Mapping[str, Path] = field(default_factory=dict[str, Path])
    pipes: Sequence[str] = ()


_NOTHING = Contents()


def make(
    root: Path, number: int, workload_id: str, contents: Contents = _NOTHING, uid: int | None = None
) -> Path:
    """A new scratch directory with its contents, owned by ``uid`` if given. EngineError for a name outside of it."""
    scratch = root / f"{number:06d}-{re.sub(r'[^A-Za-z0-9_.-]', '_', workload_id)[:64]}"
    scratch.mkdir(mode=0o700)
    try:
        (scratch / "tmp").mkdir(mode=0o700)
        for name, target in contents.files.items():
            _put(scratch, name, target, lambda place, target=target: place.symlink_to(target))
        for name, source in contents.copies.items():
            _put(scratch, name, source, lambda place, source=source: _copy(source, place))
        for name in contents.pipes:
            _put(scratch, name, None, lambda place: os.mkfifo(place, 0o600))
        if uid is not None:
            _give(scratch, uid)
    except BaseException:
        remove(scratch)
        raise
    return scratch


def _give(scratch: Path, uid: int) -> None:
    for folder, _, names in os.walk(scratch):
        os.chown(folder, uid, uid)
        for name in names:
            os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)  # noqa: PTH118 - thousands, maybe


def _put(scratch: Path, name: str, source: Path | None, make_it: Callable[[Path], object]) -> None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise EngineError(f"a file cannot be given to a workload under the name {name!r}")
    if source is not None and (not source.is_absolute() or not source.exists()):
        raise EngineError(f"the file for {name!r} does not exist: {source}")
    place = scratch.joinpath(path)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_it(place)
    except (FileExistsError, NotADirectoryError) as error:
        raise EngineError(f"two files of a workload are in each other's way at {name!r}") from error


def _copy(source: Path, place: Path) -> None:
    with source.open("rb") as file, place.open("xb") as copy:
        shutil.copyfileobj(file, copy, 1024 * 1024)


def remove(path: Path) -> None:
    """Remove a scratch directory, also one whose folders the workload has made unreadable."""

    def open_up_and_retry(function: object, name: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            Path(name).parent.chmod(0o700)
            if Path(name).is_dir() and not Path(name).is_symlink():
                Path(name).chmod(0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                Path(name).unlink(missing_ok=True)

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=open_up_and_retry)
    else:
        path.unlink(missing_ok=True)
