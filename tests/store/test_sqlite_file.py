"""The file under every store: a reader within a reader, one state per snapshot, and an end while threads read."""

import errno
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stagedoor.store import durable
from stagedoor.store.durable import GroupSync, SyncFailedError
from stagedoor.store.sqlite_file import SqliteFile

SCHEMA = "CREATE TABLE IF NOT EXISTS rows (number INTEGER)"
PROGRAM = """
import sqlite3, sys, threading
from pathlib import Path
from stagedoor.store.sqlite_file import SqliteFile

for round_ in range(10):
    file = SqliteFile(Path(sys.argv[1]) / f"{round_}.sqlite", "CREATE TABLE rows (text)", synchronous="NORMAL")
    with file.writing() as connection:
        connection.executemany("INSERT INTO rows VALUES (?)", [("x" * 10_000,)] * 50)
    reading = threading.Barrier(5)

    def read():
        reading.wait()
        try:
            while True:
                with file.reading() as connection:
                    connection.execute("SELECT * FROM rows ORDER BY random()").fetchall()
        except sqlite3.ProgrammingError:
            pass

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    reading.wait()
    file.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
"""


def test_closing_under_readers_does_not_end_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_thread_may_read_within_a_read_and_not_after_the_end(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    with file.reading() as outer, file.reading() as inner:
        assert outer is inner
    file.close()
    with pytest.raises(sqlite3.ProgrammingError), file.reading() as connection:
        connection.execute("SELECT 1")


def test_a_snapshot_does_not_see_what_is_committed_meanwhile(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    count = "SELECT count(*) FROM rows"
    with file.snapshot() as connection:
        assert connection.execute(count).fetchone() == (0,)
        with file.writing() as writer:
            writer.execute("INSERT INTO rows VALUES (1)")
        assert connection.execute(count).fetchone() == (0,)
    with file.reading() as connection:
        assert connection.execute(count).fetchone() == (1,)
    file.close()


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    with pytest.raises(ValueError, match="no"), file.writing() as writer:
        writer.execute("INSERT INTO rows VALUES (1)")
        raise ValueError("no")
    with file.reading() as connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (0,)
    file.close()


class Disk:
    """Counts fsyncs and holds each until it is let go. ``path``: the log that the writers append to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.syncs = 0
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.synced_bytes = 0
        self._log = path.with_name(path.name + "-wal")
        monkeypatch.setattr(durable, "sync", self._sync)

    def _sync(self, _descriptor: int) -> None:
        size = self._log.stat().st_size
        self.begun.release()
        assert self.let_go.acquire(timeout=20)
        self.syncs += 1
        self.synced_bytes = size


def insert(file: SqliteFile, number: int) -> None:
    with file.writing() as connection:
        connection.execute("INSERT INTO rows VALUES (?)", (number,))


def test_writers_share_an_fsync_and_none_returns_before_one_that_began_after_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of one process on one file, as records and objects are.
    first = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    second = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    disk = Disk(monkeypatch, tmp_path / "f.sqlite")
    with ThreadPoolExecutor(9) as threads:
        leader = threads.submit(insert, first, 0)
        assert disk.begun.acquire(timeout=20)
        followers = [threads.submit(insert, (first, second)[n % 2], n) for n in range(1, 9)]
        while read(first, "SELECT count(*) FROM rows") != 9:
            pass
        assert not leader.done()
        disk.let_go.release()
        leader.result(20)
        assert disk.begun.acquire(timeout=20)
        committed = (tmp_path / "f.sqlite-wal").stat().st_size
        assert not any(each.done() for each in followers)
        disk.let_go.release()
        for each in followers:
            each.result(20)
    assert (disk.syncs, disk.synced_bytes) == (2, committed)
    first.close()
    second.close()


def read(file: SqliteFile, sql: str) -> int:
    with file.reading() as connection:
        return connection.execute(sql).fetchone()[0]


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_only_changes_of_durable_files_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    calls: list[int] = []
    file = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous=synchronous)  # type: ignore[arg-type]
    monkeypatch.setattr(durable, "sync", calls.append)
    with file.writing() as connection:
        connection.execute("SELECT * FROM rows")
    assert calls == []
    insert(file, 1)
    assert len(calls) == (synchronous == "FULL")
    file.close()


def test_what_is_told_of_a_commit_is_told_before_the_next_one(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    told: list[int] = []

    def write(number: int) -> None:
        tell: Callable[[], None] = lambda: told.append(number)  # noqa: E731
        with file.writing(tell) as connection:
            connection.execute("INSERT INTO rows VALUES (?)", (number,))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(100)))
    with file.reading() as connection:
        assert [row[0] for row in connection.execute("SELECT number FROM rows ORDER BY rowid")] == told
    file.close()


def test_after_a_disk_failed_to_keep_a_commit_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SqliteFile(tmp_path / "f.sqlite", SCHEMA, synchronous="FULL")
    insert(file, 1)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync", fail)
        with pytest.raises(SyncFailedError, match=r"f\.sqlite-wal"):
            insert(file, 2)
    with pytest.raises(SyncFailedError):
        insert(file, 3)
    assert read(file, "SELECT count(*) FROM rows WHERE number=3") == 0
    file.close()


def test_a_log_that_is_gone_was_moved_to_the_database(tmp_path: Path) -> None:
    sync = GroupSync(tmp_path / "none-wal")
    sync.wait(sync.appended())
