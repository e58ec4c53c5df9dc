"""Environments with the packages of a requirements.txt, made by uv on top of a runtime's own, kept by content.

Place in the flow: a job or model finds requirements in the user's source and says so; ``Engine.prepare`` comes here, and the
workload starts anew in the runtime whose name it gets (``sklearn@DIGEST``). Only what the runtime lacks is installed, into a
virtual environment that sees the runtime's packages behind its own. Nothing of a package is executed here: wheels are
unpacked, source distributions and addresses are refused. Its Python is started by confined workloads alone, as code in ``.pth`` files
runs whenever it starts.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stagedoor.engine.interface import RuntimeUnavailableError
from stagedoor.engine.runtimes import Runtime

log = logging.getLogger(__name__)

_LINE = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    r"(?:\(?\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*"
    r"(?:,\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*)*\)?)?\s*"
    r"(?:;[^@/\\]*)?(?:\s+--hash=[a-z0-9]+:[0-9a-fA-F]+)*"
)
_ADDED = re.compile(r"^ [+~] ([A-Za-z0-9._-]+)==([^\s]+)$", re.MULTILINE)
_TIMEOUT_S = 900.0
_REPORTED_LINES = 12
_FACTS = """
import importlib.metadata as m, json, site, sys, sysconfig
paths = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
installed = sorted(f"{d.metadata['Name']}=={d.version}" for d in m.distributions(path=paths))
print(json.dumps({"version": sys.version, "paths": paths, "installed": installed}))
"""


@dataclass(frozen=True, slots=True)
class _Base:
    """What is known of a runtime's own environment."""

    version: str
    paths: list[str]
    installed: list[str]


class Environments:
    """Those below one directory. For the event loop; nothing blocks it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._locks: dict[str, asyncio.Lock] = {}

    def folder(self, name: str) -> Path | None:
        """The environment behind a name that ``prepare`` gave; None when it is not there (any more)."""
        folder = self._directory / name.partition("@")[2]
        return folder if "@" in name and (folder / "made").is_file() else None

    async def prepare(self, name: str, base: Runtime, requirements: str) -> str:
        """See ``Engine.prepare``. ``name`` and ``base`` are a runtime that needs no environment made for it."""
        lines = checked(requirements)
        if not lines:
            return name
        facts = await self._facts(base)
        identity = json.dumps([str(base.python), facts.version, facts.installed, lines])
        digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
        async with self._locks.setdefault(digest, asyncio.Lock()):
            folder = self._directory / digest
            if not (folder / "made").is_file():
                try:
                    await self._make(folder, base, facts, lines)
                except BaseException:
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                    raise
        return f"{name}@{digest}"

    async def _facts(self, base: Runtime) -> _Base:
        try:
            output = await _run([str(base.python), "-I", "-c", _FACTS])
        except _ProgramFailedError as error:
            raise RuntimeUnavailableError(f"the Python {base.python} cannot be used: {error}") from error
        return _Base(**json.loads(output.splitlines()[-1]))

    async def _make(self, folder: Path, base: Runtime, facts: _Base, lines: Sequence[str]) -> None:
        uv = _uv()
        await asyncio.to_thread(_begin, folder, lines)
        listed = str(folder / "requirements.txt")
        log.info("environment is made", extra={"folder": folder.name, "requirements": list(lines)})
        python = ["--python", str(base.python)]
        try:
            look = ["--dry-run", "--no-build", "--break-system-packages"]  # nothing is changed there
            plan = await _run([uv, "pip", "install", *look, *python, "-r", listed])
            missing = [f"{each}=={version}" for each, version in _ADDED.findall(plan)]
            await _run([uv, "venv", "--quiet", "--allow-existing", *python, str(folder)])
            await asyncio.to_thread(_see_base, folder, facts)
            if missing:
                flags = ["--quiet", "--no-deps", "--no-build"]
                own = ["--python", str(folder / "bin" / "python")]
                await _run([uv, "pip", "install", *flags, *own, *missing])
                compiling = ["-m", "compileall", "-q", "-j", "1", str(folder / "lib")]
                with contextlib.suppress(
                    _ProgramFailedError
                ):  # a package may hold what is no Python of this version
                    await _run([str(base.python), "-I", *compiling])
        except _ProgramFailedError as error:
            raise RuntimeUnavailableError(
                f"InstallRequirementsError: requirements.txt cannot be installed:\n{error}\nPackages come as wheels from a package "
                "index (or from uv's cache when there is no network); install them where stagedoor runs to do without."
            ) from error
        await asyncio.to_thread(_finish, folder)


def checked(text: str) -> list[str]:
    """The requirements of a file, one each. RuntimeUnavailableError names a line that is not a plain requirement.

    Options, paths and addresses are refused: they would have the server read its own files, or call anybody.
    """
    found: list[str] = []
    for line in re.sub(r"\\\r?\n", " ", text.lstrip("\ufeff")).splitlines():
        wanted = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not wanted:
            continue
        if _LINE.fullmatch(wanted) is None:
            raise RuntimeUnavailableError(
                f"InstallRequirementsError: the line {wanted[:200]!r} of requirements.txt is not supported: write names of packages "
                "with versions (NAME==VERSION); options, paths and addresses are not read"
            )
        found.append(" ".join(wanted.split()))
    return found


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        raise RuntimeUnavailableError(
            "InstallRequirementsError: requirements.txt cannot be installed, as there is no uv. Install it where stagedoor runs: "
            "pip install uv"
        )
    return uv


def _begin(folder: Path, lines: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))


def _see_base(folder: Path, facts: _Base) -> None:
    """Have the environment find the runtime's packages, behind its own."""
    packages = next(folder.glob("lib/python*/site-packages"))
    added = "; ".join(f"site.addsitedir({path!r})" for path in facts.paths)
    (packages / "_runtime.pth").write_text(f"import site; {added}\n")


def _finish(folder: Path) -> None:
    """Readable for workloads, which may be other users; they get there only where they are shown it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            more = 0o055 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o044
            path.chmod(stat.S_IMODE(mode) | more)
    (folder / "made").write_text("")


class _ProgramFailedError(Exception):
    """A program did not do what it was asked; the text is the end of what it printed."""


async def _run(command: Sequence[str]) -> str:
    """All that the program prints. It ends with whoever waits for it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",  # a project's own settings for uv are no business of ours
            env={**os.environ, "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"},
            start_new_session=True,
        )
    except OSError as error:
        raise _ProgramFailedError(f"{command[0]}: {error.strerror or error}") from error
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    except TimeoutError as error:
        raise _ProgramFailedError(f"it was not done after {_TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    text = output.decode("utf-8", "replace")
    if process.returncode != 0:
        raise _ProgramFailedError("\n".join(text.strip().splitlines()[-_REPORTED_LINES:]))
    return text
