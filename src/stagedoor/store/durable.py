"""Getting bytes onto the disk itself: one file, one folder, or the commits of many writers with one fsync.

Place in the flow: under ``store.contents`` (files) and ``store.sqlite_file`` (commits).
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final


def sync(descriptor: int) -> None:
    """Flush a file to the disk itself. On macOS fsync stops at the drive's cache; F_FULLFSYNC does not."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        os.fsync(descriptor)
        return
    # The times of the file may be lost, its size and bytes not.
    os.fdatasync(descriptor)


def sync_directory(path: Path) -> None:
    """Flush a folder: what was created, renamed and removed in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if sys.platform == "darwin":
            sync(descriptor)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SyncFailedError(OSError):
    """The disk refused to make a commit durable. What it holds is unknown from then on, so nothing more is written."""


class GroupSync:
    """Makes what several threads have appended to one file durable: whoever comes while an fsync runs shares the next.

    ``path`` is SQLite's write-ahead log. It is opened for each fsync, since SQLite creates and removes it; where it is gone SQLite
    has moved everything in it to the database file, durably.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._turn = threading.Condition()
        self._appended = 0
        self._durable = 0
        self._syncing = False
        self._failure: OSError | None = None

    def appended(self) -> int:
        """Note that something was written; the ticket to ``wait`` with. Called before anybody else appends."""
        with self._turn:
            self._appended += 1
            return self._appended

    def wait(self, ticket: int) -> None:
        """Return when what the ticket stands for, and all before it, is on the disk. SyncFailedError."""
        with self._turn:
            while self._syncing and self._durable < ticket:
                self._turn.wait()
            self.check()
            if self._durable >= ticket:
                return
            self._syncing = True
            # All that was appended before the fsync begins.
            reached = self._appended
        failure: OSError | None = None
        try:
            self._sync()
        except OSError as error:
            failure = error
        with self._turn:
            self._syncing = False
            if failure is None:
                self._durable = reached
            else:
                # The kernel may have dropped what it could not write: a later fsync that succeeds would prove nothing.
                self._failure = failure
            self._turn.notify_all()
        self.check()

    def check(self) -> None:
        """SyncFailedError when an fsync has failed."""
        if self._failure is not None:
            raise SyncFailedError(
                self._failure.errno, f"the disk failed to keep what was written to {self._path}"
            ) from self._failure

    def _sync(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)
