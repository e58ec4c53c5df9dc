"""The peers' own environments: made once under ``bench/.peers`` from their pinned requirements, by uv (npm for Node.js).

``bench/peers/NAME/requirements.txt`` is written by ``make lock`` from ``requirements.in`` beside it. An environment is made
anew when its requirements or the Python changed.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / ".peers"
INSTALL_TIMEOUT_S = 900


class Unavailable(Exception):
    """This peer cannot be installed or started here; the text is the reason that the table shows."""


class NotStarted(Unavailable):
    """It is installed, and did not come up: a busy machine may be the reason."""


def python_of(name: str, say: Callable[[str], None]) -> Path:
    """The Python of the peer's environment. Unavailable with the installer's last line when it cannot be made."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    requirements = HERE / "peers" / name / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if _is_made(folder, digest):
        return python
    say(f"making the environment of {name}")
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    _install([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], FOLDER)
    command = [
        uv,
        "pip",
        "install",
        "-q",
        "--compile-bytecode",
        "--no-config",
        "--python",
        str(python),
        "--no-deps",
        "-r",
        str(requirements),
    ]
    _install(command, FOLDER)
    (folder / "made").write_text(digest)
    return python


def node_of(name: str, say: Callable[[str], None]) -> Path:
    """The folder with the peer's ``node_modules``, installed from its ``package.json`` and ``package-lock.json``."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("Node.js and npm are missing")
    folder, source = FOLDER / name, HERE / "peers" / name
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    if not _is_made(folder, digest):
        say(f"making the environment of {name}")
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copyfile(source / file, folder / file)
        _install([npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        (folder / "made").write_text(digest)
    return folder


def versions_of(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Installed versions, asked of the environment itself."""
    code = "import importlib.metadata as m, sys\nfor name in sys.argv[1:]: print(name, m.version(name))"
    done = subprocess.run(
        [str(python), "-c", code, *packages], capture_output=True, text=True, check=True, timeout=60
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def node_version(folder: Path, package: str) -> str:
    """The version of a package in an environment of Node.js."""
    return str(json.loads((folder / "node_modules" / package / "package.json").read_text())["version"])


def _is_made(folder: Path, digest: str) -> bool:
    stamp = folder / "made"
    return stamp.exists() and stamp.read_text() == digest


def _install(command: list[str], where: Path) -> None:
    where.mkdir(parents=True, exist_ok=True)
    # uv obeys a pyproject.toml above it, and stagedoor's leaves pandas out: --no-config says not to.
    try:
        done = subprocess.run(
            command, cwd=where, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"its installation took more than {INSTALL_TIMEOUT_S} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"it cannot be installed: {lines[-1] if lines else 'no reason given'}")
