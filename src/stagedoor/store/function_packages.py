"""The zip files of functions, each kept once under its SHA-256.

Place in the flow: ``services.lambda_`` stores a package before it commits the record that names it; ``reconcile.functions``
hands the file to workers, which extract it in their own processes, and removes files that no record names. Nothing is
unpacked here: ``inspect`` reads the central directory alone.
"""

import base64
import hashlib
import os
import secrets
import stat
import struct
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

MAX_UNZIPPED_BYTES = 262_144_000
_MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
_END_BYTES = 22
_MAX_COMMENT_BYTES = 65_535
_KEPT_AFTER_PUT_S = 3600.0
_COPY_BYTES = 1024 * 1024


class PackageError(Exception):
    """The file is no package; the text is fit for a client."""


class Package(NamedTuple):
    """A stored package; ``code_sha256`` is base64, as Lambda answers it."""

    code_sha256: str
    size_bytes: int


_UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."


def inspect(file: IO[bytes]) -> None:
    """Look at a zip's list of entries without extracting anything; PackageError when it may not be extracted."""
    try:
        if _directory_bytes(file) > _MAX_DIRECTORY_BYTES:
            raise PackageError(
                f"{_UNREADABLE} Its list of entries is longer than {_MAX_DIRECTORY_BYTES} bytes."
            )
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (
        zipfile.BadZipFile,
        RuntimeError,
        ValueError,
        OverflowError,
        struct.error,
        EOFError,
        OSError,
    ) as error:
        raise PackageError(_UNREADABLE) from error
    if not entries:
        raise PackageError("Uploaded file must be a non-empty zip")
    seen: set[str] = set()
    for entry in entries:
        reason = _objection(entry)
        if reason is None and entry.filename in seen:
            reason = "occurs twice"
        if reason is not None:
            raise PackageError(f"{_UNREADABLE} The entry {entry.filename!r} {reason}.")
        seen.add(entry.filename)
    if sum(entry.file_size for entry in entries) > MAX_UNZIPPED_BYTES:
        raise PackageError(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")


def _directory_bytes(file: IO[bytes]) -> int:
    """How long the central directory says it is: a million entries would cost the server a gigabyte to read."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, size_bytes - _END_BYTES - _MAX_COMMENT_BYTES - 76))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < _END_BYTES:
        raise PackageError(_UNREADABLE)
    found = int.from_bytes(tail[end + 12 : end + 16], "little")
    # Zip64: a record of 56 bytes and its locator of 20 stand before the end, and their numbers count.
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07":
        found = int.from_bytes(tail[end - 76 + 40 : end - 76 + 48], "little")
    return found


def _objection(entry: zipfile.ZipInfo) -> str | None:
    name = entry.orig_filename
    if "\0" in name or "\\" in name:
        return "has a character that no path in a package may have"
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        return "points outside of the package"
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is neither stored nor deflated"
    return None


class FunctionPackages:
    """A directory of packages. Blocking; safe for several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, code_sha256: str) -> Path:
        """Where the package with that (base64) digest is."""
        return self._directory / f"{base64.b64decode(code_sha256).hex()}.zip"

    def put(self, source: IO[bytes]) -> Package:
        """Check a zip and keep it, on the disk when this returns. PackageError; OSError when the disk is full."""
        inspect(source)
        source.seek(0)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._directory / f"{secrets.token_hex(16)}.new"
        digest, size_bytes = hashlib.sha256(), 0
        try:
            with temporary.open("xb") as file:
                while data := source.read(_COPY_BYTES):
                    digest.update(data)
                    size_bytes += len(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            code_sha256 = base64.b64encode(digest.digest()).decode()
            temporary.rename(self.path(code_sha256))
        finally:
            temporary.unlink(missing_ok=True)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return Package(code_sha256, size_bytes)

    def sweep(self, used: Iterable[str]) -> int:
        """Remove packages that no record names (``used``: digests) and nobody just stored; the number of them."""
        if not self._directory.is_dir():
            return 0
        kept = {self.path(code_sha256).name for code_sha256 in used}
        oldest = time.time() - _KEPT_AFTER_PUT_S
        swept = 0
        for path in self._directory.iterdir():
            if path.name not in kept and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
                swept += 1
        return swept
