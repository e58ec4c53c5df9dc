"""What a requirements.txt of the user asks for: packages of an index, and what lies in the source itself.

Place in the flow: ``script_packages`` has the first installed by the server, into an environment, and installs the second, in the confined
process. The file is read as pip reads it, but for what would have the server call anybody: that is refused by name.
"""

import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stagedoor.worker.job import JobFailed
from stagedoor.worker.specs import CONSTRAINTS_LINE, MAX_REQUIREMENTS_BYTES

REQUIREMENTS = "requirements.txt"
_DEEPEST = 16
_LOCAL = re.compile(r"(?P<path>[^\[\]]*?)(?:\[(?P<extras>[^\[\]]*)\])?")
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SHORT = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-f": "--find-links",
    "-i": "--index-url",
}
_WITHOUT_EFFECT = ("--prefer-binary", "--only-binary", "--use-pep517", "--no-build-isolation")
_FLAGS = ("--pre", "--require-hashes")

Source = Callable[[str], str | None]
"""The text of a file of the source by its relative path; None when there is none."""


class RequirementsError(JobFailed):
    """The file asks for what is not to be had; the text names it."""

    def __init__(self, text: str) -> None:
        super().__init__(f"ClientError: InstallRequirementsError: {text}")


@dataclass(frozen=True, slots=True)
class Local:
    """A package in the source: a folder with a ``setup.py`` or ``pyproject.toml``, a wheel, or a source distribution."""

    path: str
    extras: tuple[str, ...] = ()


@dataclass(slots=True)
class Requirements:
    """``lines``, ``constraints`` and ``flags`` are for an index, the rest is in the source; paths are relative to it."""

    lines: list[str] = field(default_factory=list[str])
    constraints: list[str] = field(default_factory=list[str])
    flags: list[str] = field(default_factory=list[str])
    local: list[Local] = field(default_factory=list[Local])
    find_links: list[str] = field(default_factory=list[str])
    no_index: bool = False

    def add(self, other: "Requirements") -> None:
        """Ask for what another file asks for, too."""
        for name in ("lines", "constraints", "flags", "local", "find_links"):
            mine: list[object] = getattr(self, name)
            mine += [each for each in getattr(other, name) if each not in mine]
        self.no_index = self.no_index or other.no_index

    def text(self, lines: list[str]) -> str:
        """What the server is asked to install: these ``lines``, with the file's constraints and flags; empty for none."""
        if not lines:
            return ""
        constraints = [CONSTRAINTS_LINE, *self.constraints] if self.constraints else []
        return "".join(f"{line}\n" for line in (*self.flags, *lines, *constraints))


def read(source: Source, name: str = REQUIREMENTS) -> Requirements:
    """The requirements of a source; none when it has no such file. RequirementsError."""
    found = Requirements()
    text = source(name)
    if text is not None:
        _read(found, source, name, text, depth=0, constraining=False)
    return found


def in_folder(folder: Path) -> Source:
    """The files of a folder."""

    def text(name: str) -> str | None:
        try:
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                return _limited(file.read(MAX_REQUIREMENTS_BYTES + 1), name)
        except OSError:
            return None

    return text


def in_archive(archive: Path) -> Source:
    """The files of a source archive."""

    def text(name: str) -> str | None:
        try:
            with tarfile.open(archive) as source:
                for entry in source:
                    if entry.isreg() and os.path.normpath(entry.name) == name:
                        file = source.extractfile(entry)
                        data = b"" if file is None else file.read(MAX_REQUIREMENTS_BYTES + 1)
                        return _limited(data.decode("utf-8", "replace"), name)
        except (tarfile.TarError, EOFError, OSError):
            return None  # whoever opens it in earnest says what is wrong with it
        return None

    return text


def name_of(requirement: str) -> str:
    """The normal form of the name that a requirement, or a distribution's file, begins with."""
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _limited(text: str, name: str) -> str:
    if len(text) > MAX_REQUIREMENTS_BYTES:
        raise RequirementsError(f"{name} is larger than {MAX_REQUIREMENTS_BYTES} bytes")
    return text


def _read(
    found: Requirements, source: Source, name: str, text: str, *, depth: int, constraining: bool
) -> None:
    if depth > _DEEPEST:
        raise RequirementsError(f"{name} includes itself, or is included {depth} levels deep")
    for line in re.sub(r"\\\r?\n", " ", text.lstrip("\ufeff")).splitlines():
        wanted = " ".join(re.sub(r"(^|\s)#.*$", "", line).split())
        if not wanted:
            continue
        option, value = _option(wanted)
        if option in ("--requirement", "--constraint"):
            inner = _inside(name, value, wanted)
            there = source(inner)
            if there is None:
                raise RequirementsError(f"{name} says {wanted}, and the source has no {inner}")
            constrains = constraining or option == "--constraint"
            _read(found, source, inner, there, depth=depth + 1, constraining=constrains)
        elif constraining:
            if option:
                raise _unsupported(wanted, name, "constraints are names with versions")
            found.constraints.append(wanted)
        elif option:
            _note_option(found, name, option, value, wanted)
        else:
            _note(found, name, wanted, wanted)


def _option(wanted: str) -> tuple[str, str]:
    """The option's long name and its value; empty for a requirement."""
    if not wanted.startswith("-"):
        return "", ""
    if not wanted.startswith("--"):
        return _SHORT.get(wanted[:2], wanted[:2]), wanted[2:].lstrip(" =")
    word = re.split(r"[\s=]", wanted, maxsplit=1)
    return word[0], word[1] if len(word) > 1 else ""


def _note_option(found: Requirements, name: str, option: str, value: str, wanted: str) -> None:
    match option:
        case "--editable":
            _note(found, name, value, wanted, is_path=True)
        case "--find-links":
            found.find_links.append(_inside(name, value, wanted))
        case "--no-index":
            found.no_index = True
        case _ if option in _FLAGS:
            found.flags.append(option)
        case _ if option in _WITHOUT_EFFECT:
            pass  # wheels are all that is installed from an index, and what is built is built with what is there
        case _:
            raise _unsupported(
                wanted, name, "packages come from the index that uv is set up with where stagedoor runs"
            )


def _note(found: Requirements, name: str, text: str, wanted: str, *, is_path: bool = False) -> None:
    """A requirement by name, or a path in the source."""
    bare = text.partition(";")[0].strip()
    if "://" in bare or re.match(r"(git|hg|svn|bzr)\+", bare) or " @ " in bare:
        raise _unsupported(wanted, name, "addresses are not called; put the package into the source")
    local = _LOCAL.fullmatch(bare.split(" --", 1)[0])
    looks_local = (
        is_path or bare.startswith((".", "/")) or "/" in bare.split("[")[0] or bare.endswith(_ARCHIVES)
    )
    if not looks_local or local is None:
        found.lines.append(wanted)
        return
    extras = tuple(part.strip() for part in (local["extras"] or "").split(",") if part.strip())
    found.local.append(Local(_inside(name, local["path"] or ".", wanted), extras))


def _inside(name: str, value: str, wanted: str) -> str:
    """A path in the source, relative to it; ``value`` is relative to the file ``name``. RequirementsError for one outside."""
    value = value.strip("\"'").removeprefix("file:")
    path = os.path.normpath(PurePosixPath(name).parent / value)
    if "://" in value or path.startswith(("/", "../")) or path == "..":
        raise _unsupported(wanted, name, "it is not in the source")
    return path


def _unsupported(wanted: str, name: str, why: str) -> RequirementsError:
    return RequirementsError(f"the line {wanted[:200]!r} of {name} is not supported: {why}")
