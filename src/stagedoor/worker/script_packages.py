"""Packages that the user's program needs: those of an index wait for the server, those of the source are installed here.

Place in the flow: ``script_training`` and ``script_serving`` call ``ready`` before they run the program, ``container_entry`` calls ``want``. What
the source brings (a ``setup.py``, wheels, source distributions) runs code of its author when it is built: so that happens in the
confined process, by pip, without a network. A process whose environment lacks something ends with EnvironmentWanted and is
started anew in one that has it: first what building needs, then what the built packages require.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from stagedoor.worker.job import EnvironmentWanted
from stagedoor.worker.script_requirements import Local, Requirements, RequirementsError, name_of
from stagedoor.worker.script_source import pip_wheel

FOLDER = ".packages"
"""Where the packages of the source are installed, in the workload's directory."""

_BUILD_WITH = ["setuptools>=70.1"]  # it makes wheels without further help
_PROJECT_FILES = ("setup.py", "pyproject.toml")
_ERROR_LINES = 12
_REQUIRED = """
import importlib.metadata as m, json, sys
from pip._vendor.packaging.requirements import Requirement
folder, extras = sys.argv[1], [*sys.argv[2:], ""]
normal = lambda name: name.lower().replace("_", "-").replace(".", "-")
found = {"installed": [], "required": []}
for distribution in m.distributions(path=[folder]):
    name = normal(distribution.metadata["Name"])
    found["installed"].append(name)
    for text in distribution.requires or []:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": each}) for each in extras):
            continue
        wanted.marker = None
        found["required"].append(str(wanted))
print(json.dumps(found))
"""


def want(wanted: Requirements, prepared_for: str | None) -> None:
    """EnvironmentWanted when there are packages to install that this process's environment was not made for.

    RequirementsError for what lies in the source: a container's command installs that itself.
    """
    if wanted.local or wanted.find_links:
        what = wanted.local[0].path if wanted.local else f"--find-links {wanted.find_links[0]}"
        raise RequirementsError(
            f"{what} in requirements.txt is not supported for a container's command: install what lies in the source from "
            "the command, or use script mode"
        )
    _ask_for(wanted.text(wanted.lines), prepared_for)


def ready(wanted: Requirements, code: Path, target: Path, prepared_for: str | None) -> list[Path]:
    """Have all packages: where those of the source are, for the import path. EnvironmentWanted, RequirementsError."""
    local = list(wanted.local)
    if (code / "setup.py").is_file() and not any(each.path == "." for each in local):
        local.append(Local("."))  # as AWS's containers do: a source that is a package is installed
    links = {folder: _distributions(code / folder) for folder in wanted.find_links}
    named = [line for line in wanted.lines if any(name_of(line) in names for names in links.values())]
    from_index = [line for line in wanted.lines if line not in named]
    if wanted.no_index and from_index:
        raise RequirementsError(
            f"requirements.txt says --no-index, and {from_index[0]!r} is in none of its --find-links"
        )
    for each in local:
        _check(code, each)
    building = _build_requirements(code, local, links if named else {})
    _ask_for(wanted.text([*from_index, *building]), prepared_for, enough=not local and not named)
    if not local and not named:
        return []
    required = _install(code, target, [*_lines(local), *named], local, links)
    _ask_for(wanted.text([*from_index, *building, *required]), prepared_for)
    return [target]


def _ask_for(text: str, prepared_for: str | None, *, enough: bool = True) -> None:
    """EnvironmentWanted unless this process's environment was made for it: for this text, or (not ``enough``) for more."""
    if not text or text == prepared_for:
        return
    if not enough and prepared_for is not None and set(text.splitlines()) <= set(prepared_for.splitlines()):
        return
    raise EnvironmentWanted(text)


def _lines(local: Iterable[Local]) -> list[str]:
    return [f"./{each.path}" for each in local]


def _check(code: Path, local: Local) -> None:
    path = code / local.path
    if path.is_dir() and any((path / name).is_file() for name in _PROJECT_FILES):
        return
    if not path.is_file():
        what = f"has neither {' nor '.join(_PROJECT_FILES)}" if path.is_dir() else "is not in the source"
        raise RequirementsError(f"requirements.txt asks for {local.path}, which {what}")


def _distributions(folder: Path) -> dict[str, bool]:
    """The names of the distributions in a folder of --find-links, and whether one of them must be built."""
    found: dict[str, bool] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.endswith(".whl"):
            found.setdefault(name_of(path.name.partition("-")[0]), False)
        elif path.name.endswith((".tar.gz", ".zip")):
            found[name_of(path.name.rpartition("-")[0])] = True
    return found


def _build_requirements(code: Path, local: Sequence[Local], links: dict[str, dict[str, bool]]) -> list[str]:
    """What must be there to build what is no wheel: what its pyproject.toml says, else setuptools."""
    found: list[str] = []
    for each in local:
        if not each.path.endswith(".whl"):
            found += _build_system(code / each.path / "pyproject.toml")
    if any(True in names.values() for names in links.values()):
        found += _BUILD_WITH
    return list(dict.fromkeys(found))


def _build_system(project: Path) -> list[str]:
    try:
        toml = importlib.import_module("tomllib")  # from Python 3.11 on
        document: Any = toml.loads(project.read_text(encoding="utf-8"))
        return [str(line) for line in cast("list[object]", document["build-system"]["requires"])]
    except (ImportError, OSError, ValueError, KeyError, TypeError):
        return _BUILD_WITH


def _install(
    code: Path, target: Path, lines: Sequence[str], local: Sequence[Local], links: dict[str, dict[str, bool]]
) -> list[str]:
    """Install into ``target`` what the source has, with what it requires that the source has, too; what is left required."""
    extras = sorted({extra for each in local for extra in each.extras})
    wanted = list(lines)
    while True:
        _pip(code, target, wanted, links)
        found = json.loads(_run([sys.executable, "-c", _REQUIRED, str(target), *extras], code))
        installed = set(found["installed"])
        required = [line for line in dict.fromkeys(found["required"]) if name_of(line) not in installed]
        wanted = [line for line in required if any(name_of(line) in names for names in links.values())]
        if not wanted:
            return required


def _pip(code: Path, target: Path, lines: Sequence[str], links: dict[str, dict[str, bool]]) -> None:
    listed = target.with_name(f"{target.name}.txt")
    listed.write_text("".join(f"{line}\n" for line in lines))
    flags = ["--no-index", "--no-deps", "--no-build-isolation", "--no-input", "--quiet", "--upgrade"]
    flags += ["--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore"]
    places = [part for folder in links for part in ("--find-links", str(code / folder))]
    # Paths in a requirements file are relative to where pip runs.
    _run(
        [sys.executable, "-m", "pip", "install", *flags, *places, "--target", str(target), "-r", str(listed)],
        code,
    )


def _run(command: Sequence[str], folder: Path) -> str:
    path = os.pathsep.join([*pip_wheel(), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode != 0:
        last = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-_ERROR_LINES:])
        raise RequirementsError(f"what the source brings cannot be installed:\n{last}")
    return ended.stdout
