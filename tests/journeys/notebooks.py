"""Scripts as notebooks: in the own environment of a SageMaker SDK, with the variables of ``stagedoor env --notebook``."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from journeys import client_environments

from stagedoor.testing import Server

# v2 and v3 report their use to a host of AWS unless told otherwise; a test calls nobody outside.
TELEMETRY_OFF = """
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


class Ran(NamedTuple):
    """What a script printed, and its last line's result."""

    printed: str
    result: dict[str, Any]


def variables(server: Server) -> dict[str, str]:
    """What `stagedoor env --notebook` prints."""
    command = [sys.executable, "-m", "stagedoor", "env", "--notebook", "--json", "--data", str(server.data)]
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    return json.loads(done.stdout)


def run(
    server: Server,
    sdk: str,
    script: str | Path,
    folder: Path,
    arguments: Sequence[str] = (),
    timeout_s: float = 300,
) -> Ran:
    """Run ``script``, here or elsewhere, with the SDK; it gets a folder to work in and ends with a line ``RESULT {…}``."""
    settings = folder / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(TELEMETRY_OFF)
    done = subprocess.run(
        [
            str(client_environments.python_of(sdk)),
            str(Path(__file__).parent / script),
            str(folder),
            *arguments,
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables(server)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return Ran(done.stdout + done.stderr, json.loads(done.stdout.rpartition("RESULT ")[2]))
