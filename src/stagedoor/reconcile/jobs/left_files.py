"""The files that a job's process has left, or is still writing, below its scratch directory: read without trusting it.

Place in the flow: ``artifacts`` collects models and outputs, ``checkpoints`` looks again and again. The process may put links anywhere
at any time; so every folder and file is opened from the one above, and no link is followed.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class LeftFile:
    """A regular file. ``name`` is relative to the folder that was asked for. Good until the next one is asked for."""

    name: str
    size_bytes: int
    modified_ns: int
    mode: int
    _folder: int
    _base_name: str

    def open(self) -> BinaryIO:
        """Open it for reading. OSError when it is gone, or not a regular file any more."""
        descriptor = os.open(self._base_name, _FILE, dir_fd=self._folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{self.name} is not a regular file")
            return os.fdopen(descriptor, "rb")
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise


def open_folder(scratch: Path, folder: str) -> int | None:
    """A descriptor of a folder below ``scratch``; None when there is none, or a link on the way to it."""
    descriptor = os.open(scratch, _FOLDER)
    for part in folder.split("/"):
        try:
            inner = os.open(part, _FOLDER, dir_fd=descriptor)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def left_files(scratch: Path, folder: str) -> Iterator[LeftFile]:
    """The regular files below a folder (``opt/ml/model``) in the order of their names. Links are left out."""
    top = open_folder(scratch, folder)
    if top is None:
        return
    try:
        for path, folders, names, descriptor in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            folders.sort()
            for name in sorted(names):
                try:
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError:
                    continue  # gone meanwhile
                if stat.S_ISREG(found.st_mode):
                    inner = os.path.normpath(f"{path}/{name}")
                    yield LeftFile(
                        inner, found.st_size, found.st_mtime_ns, found.st_mode & 0o777, descriptor, name
                    )
    finally:
        os.close(top)
