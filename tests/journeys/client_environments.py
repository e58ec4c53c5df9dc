"""Environments of clients that cannot share the server's: pinned, made once under ``.venv/clients``, by uv.

The versions and hashes are in ``requirements/<name>.txt``, written by ``make lock``.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv" / "clients"


def python_of(name: str) -> Path:
    """The Python of the environment ``name``; made, or made anew, when its requirements changed."""
    requirements = ROOT / "requirements" / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    folder = FOLDER / name
    python, stamp = folder / "bin" / "python", folder / "made"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
            # From outside the checkout: inside, uv obeys the pyproject.toml of stagedoor, which leaves pandas out.
            outside = python.anchor
            venv = [uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)]
            subprocess.run(venv, cwd=outside, check=True)
            command = [uv, "pip", "install", "-q", "--python", str(python), "--no-deps", "--require-hashes"]
            subprocess.run([*command, "-r", str(requirements)], cwd=outside, check=True)
            stamp.write_text(digest)
    return python
