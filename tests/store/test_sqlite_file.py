"""The file under every store: a reader within a reader, one state per snapshot, and an end while threads read."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

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
