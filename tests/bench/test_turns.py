"""Who is not measured stands still, with all its processes; it goes on for its turn, and before it is ended."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from bench import processes, turns

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the state of a process")

# A server of three processes, one of them in a session of its own, that says goodbye when it is asked to end.
SERVER = """
import pathlib, signal, subprocess, sys, time
def ended(number, frame):
    (folder / "goodbye").touch()
    sys.exit()
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, ended)
for is_apart in (False, True):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=is_apart)
(folder / "ready").touch()
time.sleep(600)
"""

# One that always starts another process, so that no list of its processes is true for long.
FORKING = """
import pathlib, subprocess, sys
folder, children = pathlib.Path(sys.argv[1]), []
while True:
    children = [one for one in children if one.poll() is None]
    if len(children) < 10:
        children.append(subprocess.Popen(["sleep", "0.05"]))
    (folder / "ready").touch()
"""

Running = AbstractContextManager[tuple["subprocess.Popen[bytes]", float]]


def started(code: str, folder: Path) -> Running:
    folder.mkdir()
    command = [sys.executable, "-c", code, str(folder)]
    return processes.running(command, folder / "log", {}, (folder / "ready").exists, folder)


def states(root: int) -> list[str]:
    """One letter for each process; T: it is stopped."""
    found = []
    for seen in processes.descendants(root):
        stat = Path(f"/proc/{seen.pid}/stat").read_text()
        found.append(stat.rpartition(")")[2].split()[0])
    return found


def eventually(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_one_goes_on_while_the_others_stand_still_with_all_their_processes(tmp_path: Path) -> None:
    with ExitStack() as stack:
        roots = [
            stack.enter_context(started(SERVER, tmp_path / name))[0].pid for name in ("one", "two", "three")
        ]
        with turns.among(roots) as take:
            eventually(lambda: all(states(root) == ["T"] * 3 for root in roots))
            for going in roots:
                take(going)
                eventually(lambda going=going: "T" not in states(going))
                others = [root for root in roots if root != going]
                eventually(lambda others=others: all(states(root) == ["T"] * 3 for root in others))
        eventually(lambda: all("T" not in states(root) for root in roots))


def test_all_go_on_when_a_measurement_is_broken_off(tmp_path: Path) -> None:
    with started(SERVER, tmp_path / "one") as (process, _):
        with pytest.raises(KeyboardInterrupt), turns.among([process.pid]):
            raise KeyboardInterrupt
        eventually(lambda: "T" not in states(process.pid))


def test_what_a_server_starts_while_it_is_stopped_is_stopped_too(tmp_path: Path) -> None:
    with started(FORKING, tmp_path / "one") as (process, _):
        processes.pause(process.pid)
        # Who has ended just before stays a zombie, as who stands still buries nobody; who has just forked waits (D) for a child that stands still.
        eventually(lambda: set(states(process.pid)) - {"Z", "D"} == {"T"})
        known = processes.descendants(process.pid)
        processes.resume(process.pid)
        eventually(lambda: processes.descendants(process.pid) != known)


def test_a_server_that_stands_still_is_asked_to_end_as_any_other(tmp_path: Path) -> None:
    with started(SERVER, tmp_path / "one") as (process, _):
        known = processes.descendants(process.pid)
        processes.pause(process.pid)
        eventually(lambda: states(process.pid) == ["T"] * 3)
    assert (tmp_path / "one" / "goodbye").exists()
    # Whoever adopted them buries them when it comes to it.
    eventually(lambda: not set(known) & set(processes.descendants(1)))


def test_a_server_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    with started(SERVER, tmp_path / "one") as (process, _):
        pass
    with turns.among([process.pid]) as take:
        take(process.pid)
