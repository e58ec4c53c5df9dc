"""Extraction of what users bring: model archives (tar, gzipped or not) and function packages (zip).

Place in the flow: called inside worker processes only, never in the server. An archive that could write outside its folder,
make anything but plain files and folders, or fill the disk is refused as a whole; what was extracted until then lies in the
worker's own scratch directory and goes with it. Links are followed at writing time by nobody: each file is made new.
"""

import bz2
import errno
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

MAX_ENTRIES = 100_000
MAX_RATIO = 100
"""How many times its own size an archive may be when extracted: models and code pack to a tenth, bombs to a thousandth."""
FREE_BYTES = 256 * 1024 * 1024
"""What any archive may be when extracted, however small it is itself."""

# What the libraries raise where a number in an archive makes no sense to them.
_CONFUSED = (ValueError, OverflowError, RuntimeError, struct.error)
_HEADERS_BYTES = 2048 * MAX_ENTRIES
_LONGEST_READ_BYTES = 16 * 1024 * 1024
_MAX_NAME_BYTES = 4096
_CHUNK_BYTES = 1024 * 1024


class ArchiveError(Exception):
    """The archive is damaged, dangerous or too large; the text says which entry and why."""


class _Budget:
    """What may still be written."""

    def __init__(self, archive: Path, max_bytes: int) -> None:
        self.max_bytes = min(max_bytes, FREE_BYTES + MAX_RATIO * archive.stat().st_size)
        max_bytes = self.max_bytes
        self.left_bytes = max_bytes
        self.left_entries = MAX_ENTRIES

    def take_entry(self) -> None:
        self.left_entries -= 1
        if self.left_entries < 0:
            raise ArchiveError(f"the archive has more than {MAX_ENTRIES} entries")

    def take(self, size_bytes: int) -> None:
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            raise ArchiveError(f"the archive is larger than {self.max_bytes} bytes when extracted")


def extract_tar(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """Extract a tar (plain, gzip, bzip2 or xz) into the existing ``folder``. ArchiveError when it must not be."""
    budget = _Budget(archive, max_bytes)
    try:
        with _unpacked(archive) as stream, _tar(stream, budget) as source:
            links: list[tarfile.TarInfo] = []
            for entry in source:
                budget.take_entry()
                _extract_tar_entry(source, entry, folder, budget, links)
            for entry in links:
                _copy_link(entry, folder, budget)
            _read_to_the_end(source, budget)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, *_CONFUSED) as error:
        raise ArchiveError(f"the archive is damaged or not a tar.gz: {error}") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):
            raise  # the disk's
        raise ArchiveError(f"the archive is damaged: {error}") from error  # bz2's way to say so


def _unpacked(archive: Path) -> IO[bytes]:
    """The tar itself, out of what it is packed in."""
    with archive.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(archive, "rb"))
    if magic.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(archive, "rb"))
    if magic == b"\xfd7zXZ\0":
        return cast(IO[bytes], lzma.open(archive, "rb"))
    return archive.open("rb")


class _Bounded:
    """A tar's stream, of which a header cannot make the reader take gigabytes into memory, or unpack for hours."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ_BYTES:
            raise ArchiveError(f"the archive has a header of {size} bytes")
        self._check(self.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._budget.max_bytes + _HEADERS_BYTES:
            raise ArchiveError(f"the archive is larger than {self._budget.max_bytes} bytes when extracted")


def _tar(stream: IO[bytes], budget: _Budget) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast(IO[bytes], _Bounded(stream, budget)), mode="r:")


def _read_to_the_end(source: tarfile.TarFile, budget: _Budget) -> None:
    """Only at the end of the stream does gzip compare its checksum, and a tar's reader stops before it."""
    stream = source.fileobj
    assert stream is not None
    while chunk := stream.read(_CHUNK_BYTES):
        budget.take(len(chunk))


def _extract_tar_entry(
    source: tarfile.TarFile,
    entry: tarfile.TarInfo,
    folder: Path,
    budget: _Budget,
    links: list[tarfile.TarInfo],
) -> None:
    if entry.mode & stat.S_ISUID or (entry.mode & stat.S_ISGID and not entry.isdir()):
        # Archives made in a folder that a group shares have setgid folders, which run nothing.
        raise ArchiveError(
            f"the archive holds {entry.name!r}, which is to run as its owner or group (setuid)"
        )
    if entry.isdir() and not entry.name:
        pass  # the folder itself, as the SageMaker SDKs pack it: `add(folder, arcname="/")`
    elif entry.isdir():
        _place(folder, entry.name).mkdir(mode=0o700, parents=True, exist_ok=True)
    elif entry.isreg():
        content = source.extractfile(entry)
        assert content is not None
        with content:
            _write(_place(folder, entry.name), content, executable=bool(entry.mode & 0o100), budget=budget)
    elif entry.issym() or entry.islnk():
        links.append(entry)
    else:
        raise ArchiveError(f"the archive holds {entry.name!r}, which is neither a file nor a folder")


def _copy_link(entry: tarfile.TarInfo, folder: Path, budget: _Budget) -> None:
    """A link inside the archive becomes a copy of the file it names, so that no link ever exists on disk."""
    base = PurePosixPath(entry.name).parent if entry.issym() else PurePosixPath()
    if entry.linkname.startswith("/"):
        raise ArchiveError(
            f"the archive holds {entry.name!r}, a link to the absolute path {entry.linkname!r}"
        )
    named = os.path.normpath(base / entry.linkname)
    target = _place(folder, named)
    if not target.is_file():
        raise ArchiveError(
            f"the archive holds {entry.name!r}, a link to {entry.linkname!r}, which is no file in it"
        )
    place = _place(folder, entry.name)
    if place == target:
        raise ArchiveError(f"the archive holds {entry.name!r}, a link to itself")
    with target.open("rb") as content:
        _write(place, content, executable=os.access(target, os.X_OK), budget=budget)


def extract_zip(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """Extract a zip into the existing ``folder``. ArchiveError when it must not be."""
    budget = _Budget(archive, max_bytes)
    try:
        with zipfile.ZipFile(archive) as source:
            for entry in _checked(source, budget):
                _extract_zip_entry(source, entry, folder, budget)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, *_CONFUSED) as error:
        raise ArchiveError(f"the package is damaged or not a zip: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise  # the disk's
        raise ArchiveError(f"the package is damaged: {error}") from error  # an entry before the beginning


def _checked(source: zipfile.ZipFile, budget: _Budget) -> Iterator[zipfile.ZipInfo]:
    seen: set[str] = set()
    for entry in source.infolist():
        budget.take_entry()
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"the package holds {entry.filename!r}, which is neither a file nor a folder")
        if entry.flag_bits & 0x1:
            raise ArchiveError(f"the package holds {entry.filename!r}, which is encrypted")
        if entry.filename in seen and not entry.is_dir():
            raise ArchiveError(f"the package holds {entry.filename!r} twice")
        seen.add(entry.filename)
        yield entry


def _extract_zip_entry(
    source: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, budget: _Budget
) -> None:
    place = _place(folder, entry.filename)
    if entry.is_dir():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    mode = entry.external_attr >> 16
    with source.open(entry) as content:
        _write(place, content, executable=bool(mode & 0o100), budget=budget)


def _place(folder: Path, name: str) -> Path:
    """Where an entry goes; ArchiveError when its name leads elsewhere."""
    if (
        not name
        or "\0" in name
        or "\n" in name
        or "\\" in name
        or len(name.encode(errors="replace")) > _MAX_NAME_BYTES
    ):
        raise ArchiveError(f"the archive holds an entry with the unusable name {name[:200]!r}")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"the archive holds {name!r}, which lies outside of it")
    return folder.joinpath(path)


def _write(place: Path, content: IO[bytes], *, executable: bool, budget: _Budget) -> None:
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a later entry of the same name wins, as in every tar
        with place.open("xb") as target:
            while chunk := content.read(_CHUNK_BYTES):
                budget.take(len(chunk))
                target.write(chunk)
        place.chmod(0o700 if executable else 0o600)
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise ArchiveError(f"the archive holds {place.name!r} both as a file and as a folder") from error
