"""The AWS CLI, unmodified, with nothing but what `stagedoor env` prints: version 1, which is installed beside the tests, and version 2 where the
machine has one (`apt-get install awscli`; PyPI has none).

Version 2 as distributions ship it is older than AWS_ENDPOINT_URL, so it comes through the proxy (`stagedoor env --proxy`), in AWS's own names.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stagedoor.testing import Server

BESIDE = Path(sys.executable).parent
# What the CLI exits with when the service answered an error, and when the CLI itself refused to ask.
SERVICE_ERROR, USAGE_ERROR = 255, 2


@dataclass(frozen=True)
class Cli:
    """The CLI in a folder of its own."""

    program: str
    folder: Path
    environment: dict[str, str]

    @property
    def is_version_2(self) -> bool:
        return self.program != str(BESIDE / "aws")

    def run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Its output; what it says on stderr is the test's failure when it does not work."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, f"aws {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output", "json"))

    def fails(self, *arguments: str) -> tuple[int, str]:
        done = self.run(*arguments)
        return done.returncode, done.stderr.strip()


@cache
def version_2() -> str | None:
    """An AWS CLI of version 2 on this machine."""
    folders = [folder for folder in os.get_exec_path() if Path(folder) != BESIDE]
    for folder in [*folders, "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]:
        program = shutil.which("aws", path=folder)
        if program is None:
            continue
        said = subprocess.run([program, "--version"], capture_output=True, text=True)
        if said.stdout.startswith("aws-cli/2."):
            return program
    return None


def variables(server: Server, *flags: str) -> dict[str, str]:
    printed = subprocess.run(
        [str(BESIDE / "stagedoor"), "env", "--json", *flags, "--data", str(server.data)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(printed.stdout)


@pytest.fixture
def aws(stagedoor: Server, tmp_path: Path) -> Cli:
    """Version 1."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables(stagedoor)}
    return Cli(str(BESIDE / "aws"), tmp_path, environment)


@pytest.fixture(params=["version 1", "version 2"])
def either_aws(request: pytest.FixtureRequest, aws: Cli, stagedoor: Server, tmp_path: Path) -> Cli:
    """Version 1, and version 2."""
    if request.param == "version 1":
        return aws
    program = version_2()
    if program is None:
        pytest.skip(
            "there is no AWS CLI of version 2 on this machine (Debian, Ubuntu: apt-get install awscli)"
        )
    with_proxy = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_PAGER": ""}
    return Cli(program, tmp_path, with_proxy | variables(stagedoor, "--proxy"))
