"""The user's source in script mode: where it comes from, its program, and the Python it asks for.

Place in the flow: ``script_training``, ``script_serving`` and ``container_entry`` prepare the folder that the user's code runs in. Archives
are opened here, in the confined process, never in the server.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from stagedoor.worker import archives

_PROGRAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_SOURCE_BYTES = 8 * 1024**3
_LARGEST_COPY_BYTES = 64 * 1024 * 1024
_DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn",),
    "pytorch": ("torch",),
    "huggingface": ("transformers",),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "python": (),
}
_TITLES = {
    "sklearn": "scikit-learn",
    "pytorch": "PyTorch",
    "huggingface": "Transformers",
    "xgboost": "XGBoost",
    "python": "Python",
}


def unpack(archive: Path, folder: Path) -> None:
    """Put a source archive's files into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    archives.extract_tar(archive, folder, max_bytes=_MAX_SOURCE_BYTES)


def copy_links(folders: Iterable[Path]) -> None:
    """Turn links to input files into files of the job's own, as a container has them; very large ones stay links."""
    for folder in folders:
        for here, _, names in os.walk(folder):
            for name in names:
                path = Path(here, name)
                if path.is_symlink() and path.stat().st_size <= _LARGEST_COPY_BYTES:
                    source = path.resolve()
                    path.unlink()
                    shutil.copyfile(source, path)


def version_line(framework: str, asked: str) -> str:
    """What the log says about versions: the one that the image names, and the one that runs."""
    title = _TITLES.get(framework, framework)
    versions = [_version(name) for name in _DISTRIBUTIONS.get(framework, ())]
    present = next(filter(None, versions), "")
    here = " ".join(filter(None, (title if present else "", present)))
    runs = f"{here} on Python {platform.python_version()}" if here else f"Python {platform.python_version()}"
    return f"stagedoor: the image asks for {title} {asked}; this is {runs}, the version present here."


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def command_folder(scratch: Path) -> Path:
    """A folder for PATH with ``python``, ``python3``, ``pip``, ``pip3`` and all programs of packages of this very environment.

    The interpreter may have another name where it lies, an environment need not contain pip, and the programs of the runtime's
    packages would not see those that a requirements.txt has added.
    """
    folder = scratch / ".bin"
    folder.mkdir(exist_ok=True)
    python = shlex.quote(sys.executable)
    for entry in importlib.metadata.entry_points(group="console_scripts"):
        if _PROGRAM_NAME.fullmatch(entry.name) and entry.attr.isidentifier():
            call = f"import sys; from {entry.module} import {entry.attr} as main; sys.argv[0] = {entry.name!r}; sys.exit(main())"
            _program(folder / entry.name, f'exec {python} -c {shlex.quote(call)} "$@"')
    if importlib.util.find_spec("torch") is not None:
        _program(folder / "torchrun", f'exec {python} -m stagedoor.worker.torchrun "$@"')
    for name in ("python", "python3"):
        _program(folder / name, f'exec {python} "$@"')
    for name in ("pip", "pip3"):
        _program(folder / name, f'exec {python} -m pip "$@"')
    return folder


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def pip_wheel() -> list[str]:
    """The pip that comes with Python, for PYTHONPATH, where the environment itself has none."""
    if _version("pip"):
        return []
    bundled = Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")
    return [str(path) for path in sorted(bundled.glob("pip-*.whl"))[-1:]]
