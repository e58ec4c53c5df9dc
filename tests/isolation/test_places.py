"""Where the server's own files lie does not matter: below /tmp, which workloads have of their own, the rungs hold, too."""

import json
import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import stagedoor
from stagedoor.testing import Server


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy of the package below /tmp, as a checkout there has it."""
    with tempfile.TemporaryDirectory(
        prefix="stagedoor-place-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)
        source = Path(folder) / "src"
        shutil.copytree(
            Path(stagedoor.__file__).parent,
            source / "stagedoor",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        yield source


def isolation(server: Server) -> Any:
    with urllib.request.urlopen(f"{server.api}/_stagedoor/health", timeout=30) as answer:
        return json.load(answer)["isolation"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has the rungs this is about")
def test_a_checkout_below_tmp_has_the_same_rungs(
    stagedoor_server: Callable[..., Server], checkout: Path
) -> None:
    elsewhere = isolation(stagedoor_server())
    assert isolation(stagedoor_server({"PYTHONPATH": str(checkout)})) == elsewhere


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root has other users to be")
def test_a_checkout_that_others_may_not_read_costs_that_rung_alone(
    stagedoor_server: Callable[..., Server], checkout: Path
) -> None:
    elsewhere = isolation(stagedoor_server())
    (checkout / "stagedoor").chmod(0o700)
    rungs = isolation(stagedoor_server({"PYTHONPATH": str(checkout)}))["rungs"]
    assert set(elsewhere["rungs"]) - set(rungs) <= {"separate-user", "process-limit"}
    assert "separate-user" not in rungs
