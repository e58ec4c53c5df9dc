"""What the benchmark starts it ends, and what it writes down tells nothing of the machine but what it measured."""

import os
import sys
import time
from pathlib import Path

import pytest
from bench import __main__ as command
from bench import machine, processes
from bench.environments import NotStarted
from bench.load import BenchError

# Starts a process that leaves its session and its parent's group, as Ray's and Java's launchers do.
DETACHING = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    return (
        any(seen.pid == pid for seen in processes.descendants(os.getpid())) or Path(f"/proc/{pid}").exists()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_server_is_ended_with_whatever_it_detached(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    starting = processes.running(
        [sys.executable, "-c", DETACHING, str(told)],
        tmp_path / "log",
        {},
        lambda: bool(told.exists() and told.read_text()),
        tmp_path,
    )
    with starting as (process, start_s):
        detached = int(told.read_text())
        assert start_s > 0
        assert {process.pid, detached} <= {seen.pid for seen in processes.descendants(process.pid)}
        pss_bytes, count = processes.memory_bytes(process.pid)
        assert count == 2
        assert pss_bytes > 1_000_000
    deadline_s = time.monotonic() + 10
    while is_alive(detached) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_alive(detached)


def test_a_server_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with (
        pytest.raises(NotStarted, match="no model here"),
        processes.running(failing, tmp_path / "log", {}, lambda: False, tmp_path),
    ):
        pass


def test_reasons_and_errors_name_no_place_of_the_machine() -> None:
    raw = {
        "name": "/row/of/bars",
        "reason": "no such file: /home/someone/model.bin",
        "runs": [{"error": "GET https://registry.example/x failed, 3/4 tries, 127.0.0.1:12345 refused"}],
    }
    assert machine.without_places(raw) == {
        "name": "/row/of/bars",
        "reason": "no such file: ...",
        "runs": [{"error": "GET ... failed, 3/4 tries, ... refused"}],
    }


def test_flags_overrule_what_quick_means() -> None:
    given = command.parser().parse_args(["--quick", "--seconds", "4", "--connections", "1", "8", "--peers"])
    options = command.options_of(given)
    assert (options.seconds, options.repeats, options.connections) == (4.0, 1, (1, 8))
    assert not options.has_peer("flask")


@pytest.mark.parametrize("flags", [["--peers", "flusk"], ["--seconds", "0"], ["--connections", "8", "0"]])
def test_flags_without_meaning_are_refused(flags: list[str]) -> None:
    with pytest.raises(BenchError, match=r"flusk|--seconds|--connections"):
        command.options_of(command.parser().parse_args(flags))


def test_a_section_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BenchError, match="no such section: s4"):
        command.sections_of("invoke,s4")
