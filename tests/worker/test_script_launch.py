"""How scripts are started: what torchrun is given, and the programs of packages on a job's PATH."""

import subprocess
import sys
from pathlib import Path

import pytest

from stagedoor.worker import script_source, torchrun
from stagedoor.worker.threads import VARIABLES


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--nnodes=2", "--master_port=7777", "a.py"], ["--nnodes=2", "--master_port=20001", "a.py"]),
        (["--master-port", "7777", "a.py", "7777"], ["--master-port", "20001", "a.py", "7777"]),
        (
            ["--master_port=29500", "a.py", "--port", "7777"],
            ["--master_port=29500", "a.py", "--port", "7777"],
        ),
    ],
)
def test_the_port_that_aws_gives_to_every_job_becomes_the_jobs_own(
    given: list[str], expected: list[str]
) -> None:
    assert torchrun.own_port(given, "20001") == expected


@pytest.mark.parametrize(("count", "expected"), [("2", "2"), ("3", "1"), ("9", "1")])
def test_processes_of_one_host_share_its_threads(
    monkeypatch: pytest.MonkeyPatch, count: str, expected: str
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "4")
    torchrun.share_threads(["--nnodes=1", f"--nproc_per_node={count}", "a.py"])
    assert {name: torchrun.os.environ[name] for name in VARIABLES} == dict.fromkeys(VARIABLES, expected)


def test_programs_of_packages_run_in_the_very_environment(tmp_path: Path) -> None:
    folder = script_source.command_folder(tmp_path)
    for name, option in (("python3", "--version"), ("pip", "--version"), ("pytest", "--version")):
        done = subprocess.run([folder / name, option], capture_output=True, text=True)
        printed = done.stdout + done.stderr
        assert printed.startswith(("Python", "pip", "pytest", sys.executable)), printed
