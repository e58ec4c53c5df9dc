"""A program of the user that is asked to end: SIGTERM first, so that it can save; SIGKILL when its time is over, with all it started."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stagedoor.worker import user_program

PATIENCE_S = 20.0
POLITE = """
import signal, sys, time
def end(*_):
    open("saved", "w").write("model")
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
open("ready", "w").close()
time.sleep(600)
"""
STUBBORN = """
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, lambda *_: open("saved", "w").write("model"))
child = subprocess.Popen(["sleep", "600"])
open("child", "w").write(str(child.pid))
open("ready", "w").close()
while True:
    time.sleep(600)
"""


def when_ready(folder: Path) -> Callable[[], bool]:
    """The end is asked for as soon as the program can hear it."""

    def is_stopping() -> bool:
        until = time.monotonic() + PATIENCE_S
        while not (folder / "ready").exists() and time.monotonic() < until:
            time.sleep(0.01)
        return True

    return is_stopping


def ended(folder: Path, text: str, stop_grace_s: float) -> user_program.Ended:
    return user_program.run(
        [sys.executable, "-c", text],
        folder=folder,
        environment=os.environ,
        is_stopping=when_ready(folder),
        stop_grace_s=stop_grace_s,
    )


def test_who_saves_when_asked_ends_by_itself(tmp_path: Path) -> None:
    assert ended(tmp_path, POLITE, PATIENCE_S).exit_code == 7
    assert (tmp_path / "saved").read_text() == "model"


def test_who_does_not_end_is_killed_with_what_it_started_and_keeps_what_it_saved(tmp_path: Path) -> None:
    left = ended(tmp_path, STUBBORN, 0.5)
    assert (left.exit_code, left.shell_code) == (-9, 137)
    assert (tmp_path / "saved").read_text() == "model"
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + PATIENCE_S
    while is_running(child):
        assert time.monotonic() < until, "what the program started still runs"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process that is not a mere entry in the table of processes."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
