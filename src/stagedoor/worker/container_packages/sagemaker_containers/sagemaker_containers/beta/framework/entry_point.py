"""Running another script as this one is run."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence


def run(
    uri: str,
    user_entry_point: str,
    args: Sequence[str],
    env_vars: Mapping[str, str] | None = None,
    wait: bool = True,
) -> "subprocess.Popen[bytes]":
    """Start ``user_entry_point`` in the folder ``uri`` with arguments and variables; by default wait for its end."""
    command = [sys.executable, user_entry_point, *args]
    process = subprocess.Popen(command, cwd=uri, env={**os.environ, **(env_vars or {})})
    if wait and process.wait() != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return process
