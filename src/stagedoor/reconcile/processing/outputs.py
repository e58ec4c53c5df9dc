"""What a processing job's program left, as objects in S3: at its end, or while it runs (``Continuous``).

Place in the flow: ``act`` calls ``Uploads.upload`` in a thread. The program is not trusted: while it runs it may replace folders by
links, so folders are opened one by one without following any, and files are read through what was opened.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stagedoor.domain.clock import Clock
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import ObjectRows

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DEEPEST = 64

Seen = tuple[int, int, int]


@dataclass(slots=True)
class Uploads:
    """One output of one instance. ``directory`` is for copies on their way; what has not changed is not sent again."""

    objects: ObjectRows
    contents: Contents
    clock: Clock
    directory: Path
    target: Location
    seen: dict[str, Seen] = field(default_factory=dict[str, Seen])

    def upload(self, root: Path, inside: str) -> None:
        """Store every file below ``root/inside`` that is new or changed. NoSuchBucketError, OSError. Blocks."""
        with contextlib.ExitStack() as opened:
            here = os.open(root, _FOLDER)
            opened.callback(os.close, here)
            for part in inside.split("/"):
                try:
                    here = os.open(part, _FOLDER, dir_fd=here)
                except (FileNotFoundError, NotADirectoryError, OSError):
                    return  # there is nothing, or a link to elsewhere
                opened.callback(os.close, here)
            for name, descriptor in _files(here, "", 0):
                with os.fdopen(descriptor, "rb", buffering=0) as file:
                    self._store(name, file.fileno())

    def _store(self, name: str, descriptor: int) -> None:
        status = os.fstat(descriptor)
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self.seen.get(name) == state:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        copy = self.directory / f"upload-{os.getpid()}-{descriptor}"
        place = self.target.under(name)
        try:
            with copy.open("wb", buffering=0) as target:
                while data := os.read(descriptor, 1024 * 1024):
                    target.write(data)
            objects_io.put_file(
                self.objects, self.contents, place.bucket, place.key, copy, now=self.clock.now()
            )
        finally:
            copy.unlink(missing_ok=True)
        self.seen[name] = state


def _files(folder: int, prefix: str, depth: int) -> Iterator[tuple[str, int]]:
    """Every plain file below an open folder: its relative name and an open descriptor, which is the caller's."""
    if depth > _DEEPEST:
        return
    for name in sorted(os.listdir(folder)):
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError:
            continue  # a link, a socket, or gone by now
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            yield prefix + name, descriptor
            continue
        try:
            if stat.S_ISDIR(mode):
                yield from _files(descriptor, f"{prefix}{name}/", depth + 1)
        finally:
            os.close(descriptor)


def of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ``S3Output`` members of a job's record."""
    return [each["S3Output"] for each in document.get("ProcessingOutputConfig", {}).get("Outputs", [])]
