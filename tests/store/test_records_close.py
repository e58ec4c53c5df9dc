"""A store that is closed while threads read from it: they get an error, and the process lives."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sqlite3, sys, threading
from pathlib import Path
from stagedoor.store.records import Key, SqliteRecords

for round_ in range(10):
    records = SqliteRecords(Path(sys.argv[1]) / f"{round_}.sqlite")
    key = Key("kind", "000000000000", "", "name")
    with records.transaction() as transaction:
        transaction.put(key, {"text": "x" * 100_000})
    reading = threading.Barrier(5)

    def read():
        reading.wait()
        try:
            while True:
                records.get(key)
                records.list("kind")
        except sqlite3.ProgrammingError:
            pass

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    reading.wait()
    records.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
"""


def test_closing_under_readers_does_not_end_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
