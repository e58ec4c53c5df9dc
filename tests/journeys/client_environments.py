"""Environments of clients that cannot share the server's: pinned, made once under ``.venv/clients``, by uv.

The versions and hashes are in ``requirements/<name>.txt``, written by ``make lock``. PyTorch's comes from pip, in the build for
CPUs, whose version says so: where pip does not find that build, nothing is installed, least of all the gigabytes of the one for GPUs.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv" / "clients"
TORCH = "torch==2.13.0+cpu"
TORCH_WANTED = (
    f"no PyTorch here: pip does not find {TORCH} (the build for CPUs, from PyTorch's own index or a folder that PIP_FIND_LINKS "
    "names) for this Python. Or set STAGEDOOR_TEST_PYTORCH to a Python that has torch, numpy, transformers and accelerate"
)


@functools.cache
def pytorch() -> Path | None:
    """A Python with PyTorch, transformers and accelerate; None where PyTorch cannot be had."""
    if named := os.environ.get("STAGEDOOR_TEST_PYTORCH"):
        return Path(named)
    try:
        return python_of("pytorch", _install_torch, TORCH)
    except subprocess.CalledProcessError:
        return None


def _install_torch(python: Path) -> None:
    """By pip, which takes wheels from more places than uv; CalledProcessError when it finds none."""
    subprocess.run([str(python), "-m", "ensurepip"], capture_output=True, check=True)
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--retries",
        "1",
        TORCH,
    ]
    subprocess.run(command, cwd=python.anchor, capture_output=True, check=True)


def python_of(name: str, first: Callable[[Path], None] | None = None, more: str = "") -> Path:
    """The Python of the environment ``name``; made, or made anew, when its requirements changed.

    ``first`` installs what is no matter of the requirements, ``more`` names that.
    """
    requirements = ROOT / "requirements" / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + f"{sys.version}{more}".encode()).hexdigest()
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
            if first is not None:
                first(python)
            command = [uv, "pip", "install", "-q", "--python", str(python), "--no-deps", "--require-hashes"]
            subprocess.run([*command, "-r", str(requirements)], cwd=outside, check=True)
            stamp.write_text(digest)
    return python
