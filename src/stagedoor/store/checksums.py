"""Digests of object bytes: the MD5 of an ETag and the checksum algorithms of S3, updated as bytes arrive.

Place in the flow: ``store.contents`` feeds them while it writes; ``services.s3`` compares and answers them. CRCs and
the CRC of joined parts come from awscrt (C, hardware instructions); values travel base64-encoded, big-endian.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol


def _crt() -> Any:
    """Awscrt's module, when it is first needed: the server starts without it."""
    from awscrt import checksums

    return checksums


class Digest(Protocol):
    """What bytes are fed to while they are written."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


def load() -> None:
    """Load what the first checksum would wait for."""
    _crt()


class _Crc:
    def __init__(self, name: str, size: int) -> None:
        self._function: Callable[[bytes, int], int] = getattr(_crt(), name)
        self._size = size
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One checksum algorithm of S3. ``full_object``: part values can be joined; ``composite``: hash of part hashes.

    S3 documents which of the two a multipart upload may use: CRC64NVME only the first, SHA1 and SHA256 only the
    second, CRC32 and CRC32C either.
    """

    name: str
    size: int
    full_object: bool
    composite: bool
    start: Callable[[], Digest]
    combine: Callable[[int, int, int], int] | None = None

    @property
    def member(self) -> str:
        """The name of its member in requests and answers: ``ChecksumCRC32``."""
        return f"Checksum{self.name}"

    def valid(self, value: str) -> bool:
        """Whether ``value`` is base64 of the right length."""
        try:
            return len(base64.b64decode(value, validate=True)) == self.size
        except ValueError:
            return False

    def joined(self, parts: Iterable[tuple[str, int]]) -> str:
        """The full-object value from each part's value and size in bytes, in order."""
        assert self.combine is not None
        total = 0
        for value, size_bytes in parts:
            crc = int.from_bytes(base64.b64decode(value), "big")
            total = self.combine(total, crc, size_bytes)
        return base64.b64encode(total.to_bytes(self.size, "big")).decode()

    def composed(self, values: Iterable[str]) -> str:
        """The composite value ``<checksum of the parts' checksums>-<count>``."""
        digest, count = self.start(), 0
        for value in values:
            digest.update(base64.b64decode(value))
            count += 1
        return f"{encoded(digest)}-{count}"


def _crc(name: str, size: int) -> Algorithm:
    function = name.lower()

    def combine(first: int, second: int, second_bytes: int) -> int:
        return getattr(_crt(), f"combine_{function}")(first, second, second_bytes)

    return Algorithm(name, size, True, name != "CRC64NVME", lambda: _Crc(function, size), combine)


ALGORITHMS: Final[dict[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        _crc("CRC32", 4),
        _crc("CRC32C", 4),
        _crc("CRC64NVME", 8),
        Algorithm("SHA1", 20, False, True, lambda: hashlib.sha1(usedforsecurity=False)),
        Algorithm("SHA256", 32, False, True, hashlib.sha256),
    )
}

# What S3 computes itself when a client sends no checksum.
DEFAULT: Final = ALGORITHMS["CRC64NVME"]


def md5() -> Digest:
    """The digest behind an ETag."""
    return hashlib.md5(usedforsecurity=False)


def encoded(digest: Digest) -> str:
    """A digest's value as S3 sends it: base64."""
    return base64.b64encode(digest.digest()).decode()


def block_checksum(data: bytes, value: int = 0) -> int:
    """The checksum that guards stored bytes against a decaying disk: CRC32C, going on from ``value``."""
    return _crt().crc32c(data, value)
