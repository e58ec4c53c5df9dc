"""Environments with the packages of a requirements.txt, made by uv on top of a runtime's own, kept by content.

Place in the flow: a job or model finds requirements in the user's source and says so; ``Engine.prepare`` comes here, and the
workload starts anew in the runtime whose name it gets (``sklearn@DIGEST``). Only what the runtime lacks is installed, into a
virtual environment that sees the runtime's packages behind its own. Nothing of a package is executed here: wheels are
unpacked, source distributions and addresses are refused. Its Python is started by confined workloads alone, as code in ``.pth`` files
runs whenever it starts. Together they stay below a size: those that nobody uses go, the least recently used first.
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
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stagedoor.engine.interface import RuntimeUnavailableError
from stagedoor.engine.runtimes import Runtime
from stagedoor.worker.specs import CONSTRAINTS_LINE

log = logging.getLogger(__name__)

_LINE = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    r"(?:\(?\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*"
    r"(?:,\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*)*\)?)?\s*"
    r"(?:;[^@/\\]*)?(?:\s+--hash=[a-z0-9]+:[0-9a-fA-F]+)*"
)
_HASH = re.compile(r"\s--hash=\S+")
_FLAGS = {"--pre": "--prerelease=allow", "--require-hashes": "--require-hashes"}
_MADE = "made"
_ADDED = re.compile(r"^ [+~] ([A-Za-z0-9._-]+)==([^\s]+)$", re.MULTILINE)
_TIMEOUT_S = 900.0
_SOON_S = 120.0
_REPORTED_LINES = 12
_FACTS = """
import importlib.metadata as m, json, site, sys, sysconfig
paths = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
installed = sorted(f"{d.metadata['Name']}=={d.version}" for d in m.distributions(path=paths))
print(json.dumps({"version": sys.version, "paths": paths, "installed": installed}))
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requirements.txt: its requirements, constraints on versions, and uv's options for them."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Base:
    """What is known of a runtime's own environment."""

    version: str
    paths: list[str]
    installed: list[str]


class Environments:
    """Those below one directory. For the event loop; nothing blocks it.

    ``most_bytes`` is how large they may be together (0: without a limit). ``in_use`` tells the folders that workloads have.
    """

    def __init__(self, directory: Path, most_bytes: int = 0) -> None:
        self._directory = directory.absolute()
        self._most_bytes = most_bytes
        self._locks: dict[str, asyncio.Lock] = {}
        self._handed_out: dict[str, float] = {}
        self.in_use: Callable[[], Collection[Path]] = tuple

    def folder(self, name: str) -> Path | None:
        """The environment behind a name that ``prepare`` gave; None when it is not there (any more)."""
        folder = self._directory / name.partition("@")[2]
        if "@" not in name or not (folder / _MADE).is_file():
            return None
        self._handed_out.pop(folder.name, None)  # from now on it is in use, or was
        _touch(folder)
        return folder

    async def prepare(self, name: str, base: Runtime, requirements: str) -> str:
        """See ``Engine.prepare``. ``name`` and ``base`` are a runtime that needs no environment made for it."""
        wanted = checked(requirements)
        if not wanted.lines:
            return name
        facts = await self._facts(base)
        identity = json.dumps([str(base.python), facts.version, facts.installed, asdict(wanted)])
        digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
        async with self._locks.setdefault(digest, asyncio.Lock()):
            # Nobody runs in it yet; whoever asked for it will, very soon.
            self._handed_out[digest] = time.monotonic()
            folder = self._directory / digest
            if (folder / _MADE).is_file():
                _touch(folder)
            else:
                try:
                    await self._make(folder, base, facts, wanted)
                except BaseException:
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                    raise
                await self._make_room()
        return f"{name}@{digest}"

    async def _make_room(self) -> None:
        """Remove what nobody uses until the rest is small enough."""
        if not self._most_bytes:
            return
        for folder in await asyncio.to_thread(_too_many, self._directory, self._most_bytes, self._kept()):
            if folder.name in self._kept():
                continue  # somebody wants it since
            log.info("environment is removed", extra={"folder": folder.name})
            # At once, so that nobody takes what is half gone.
            (folder / _MADE).unlink(missing_ok=True)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _kept(self) -> set[str]:
        """The environments that are used, made, or about to be used."""
        now = time.monotonic()
        self._handed_out = {digest: at for digest, at in self._handed_out.items() if now - at < _SOON_S}
        making = {digest for digest, lock in self._locks.items() if lock.locked()}
        return {folder.name for folder in self.in_use()} | making | set(self._handed_out)

    async def _facts(self, base: Runtime) -> _Base:
        try:
            output = await _run([str(base.python), "-I", "-c", _FACTS])
        except _ProgramFailedError as error:
            raise RuntimeUnavailableError(f"the Python {base.python} cannot be used: {error}") from error
        return _Base(**json.loads(output.splitlines()[-1]))

    async def _make(self, folder: Path, base: Runtime, facts: _Base, wanted: Wanted) -> None:
        uv = _uv()
        await asyncio.to_thread(_begin, folder, wanted)
        listed = str(folder / "requirements.txt")
        log.info("environment is made", extra={"folder": folder.name, "requirements": list(wanted.lines)})
        python = ["--python", str(base.python)]
        try:
            look = ["--dry-run", "--no-build", "--break-system-packages"]  # nothing is changed there
            look += [_FLAGS[flag] for flag in wanted.flags]
            if wanted.constraints:
                look += ["--constraint", str(folder / "constraints.txt")]
            plan = await _run([uv, "pip", "install", *look, *python, "-r", listed])
            missing = _pinned(_ADDED.findall(plan), wanted)
            await _run([uv, "venv", "--quiet", "--allow-existing", *python, str(folder)])
            await asyncio.to_thread(_see_base, folder, facts)
            if missing:
                flags = ["--quiet", "--no-deps", "--no-build"]
                own = ["--python", str(folder / "bin" / "python")]
                pinned = folder / "pinned.txt"
                await asyncio.to_thread(pinned.write_text, "".join(f"{line}\n" for line in missing))
                await _run([uv, "pip", "install", *flags, *own, "-r", str(pinned)])
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


def checked(text: str) -> Wanted:
    """The requirements of a text, which ``worker.script_requirements`` has read from the user's files, and nothing more.

    RuntimeUnavailableError names a line that is not a plain requirement: options, paths and addresses would have the server read its own
    files, or call anybody.
    """
    lines: list[str] = []
    constraints: list[str] = []
    flags: list[str] = []
    to = lines
    for line in text.splitlines():
        wanted = " ".join(line.split())
        if not wanted:
            continue
        if wanted == CONSTRAINTS_LINE:
            to = constraints
        elif wanted in _FLAGS:
            flags.append(wanted)
        elif _LINE.fullmatch(wanted) is None:
            raise RuntimeUnavailableError(
                f"InstallRequirementsError: the line {wanted[:200]!r} of requirements.txt is not supported: write names of packages "
                "with versions (NAME==VERSION)"
            )
        else:
            to.append(wanted)
    if any(_HASH.search(line) for line in lines) and "--require-hashes" not in flags:
        flags.append("--require-hashes")  # as pip does
    return Wanted(tuple(lines), tuple(constraints), tuple(flags))


def _pinned(added: Sequence[tuple[str, str]], wanted: Wanted) -> list[str]:
    """What is to be installed, with the hashes that the user gave for it."""
    hashes: dict[str, str] = {}
    for line in wanted.lines:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        hashes[_normal(name)] = "".join(_HASH.findall(line))
    return [f"{name}=={version}{hashes.get(_normal(name), '')}" for name, version in added]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        raise RuntimeUnavailableError(
            "InstallRequirementsError: requirements.txt cannot be installed, as there is no uv. Install it where stagedoor runs: "
            "pip install uv"
        )
    return uv


def _begin(folder: Path, wanted: Wanted) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in wanted.lines))
    (folder / "constraints.txt").write_text("".join(f"{line}\n" for line in wanted.constraints))


def _touch(folder: Path) -> None:
    """It was used now; seen by who looks for the least recently used one."""
    with contextlib.suppress(OSError):
        now = time.time_ns()  # finer than what the kernel would note by itself
        os.utime(folder / _MADE, ns=(now, now))


def _too_many(directory: Path, most_bytes: int, kept: Collection[str]) -> list[Path]:
    """The environments to remove, the least recently used first; and what a crash left half made. Blocks."""
    gone: list[Path] = []
    found: list[tuple[float, int, Path]] = []
    for folder in directory.iterdir():
        try:
            stamp = folder / _MADE
            found.append((stamp.stat().st_mtime, int(stamp.read_text() or 0), folder))
        except (OSError, ValueError):
            if folder.name not in kept:
                gone.append(folder)
    size_bytes = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if size_bytes <= most_bytes:
            break
        if folder.name not in kept:
            gone.append(folder)
            size_bytes -= size
    return gone


def _see_base(folder: Path, facts: _Base) -> None:
    """Have the environment find the runtime's packages, behind its own."""
    packages = next(folder.glob("lib/python*/site-packages"))
    added = "; ".join(f"site.addsitedir({path!r})" for path in facts.paths)
    (packages / "_runtime.pth").write_text(f"import site; {added}\n")


def _finish(folder: Path) -> None:
    """Readable for workloads, which may be other users; they get there only where they are shown it. Notes its size."""
    size_bytes = 0
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            status = path.stat()
            more = 0o055 if stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR else 0o044
            path.chmod(stat.S_IMODE(status.st_mode) | more)
            size_bytes += status.st_size
    (folder / _MADE).write_text(str(size_bytes))


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
