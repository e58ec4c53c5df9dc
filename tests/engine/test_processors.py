"""When a workload may use processor time that nobody else wants."""

import os
import sys
from pathlib import Path

import pytest

from stagedoor.engine import processors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="never elsewhere")


@pytest.mark.parametrize(
    ("own", "files", "busy"),
    [
        ("0::/", {}, True),
        ("0::/", {"cpu.max": "max 100000"}, True),
        ("0::/", {"cpu.max": "150000 100000"}, False),
        (
            "0::/system.slice/stagedoor.service",
            {"system.slice/stagedoor.service/cpu.max": "50000 100000"},
            False,
        ),
        ("0::/system.slice/stagedoor.service", {"system.slice/cpu.max": "50000 100000"}, False),
        ("0::/system.slice/stagedoor.service", {"user.slice/cpu.max": "50000 100000"}, True),
        (
            "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1",
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "-1"},
            True,
        ),
        ("4:cpu,cpuacct:/docker/1", {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "50000"}, False),
        ("4:cpu,cpuacct:/docker/1", {"cpu,cpuacct/cpu.cfs_quota_us": "50000"}, False),
        ("nonsense", {}, True),
    ],
)
def test_a_quota_of_processor_time_is_not_spent_on_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], busy: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert processors.may_be_kept_busy(tmp_path / "own", tmp_path / "groups") is busy


def test_with_one_processor_whoever_waits_would_be_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert not processors.may_be_kept_busy()
