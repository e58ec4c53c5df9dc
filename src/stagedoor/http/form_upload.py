"""A browser's form with one file, read as it arrives: the fields before the file, then the file's bytes as a stream.

Place in the flow: ``front.post_object`` reads the fields, judges them, and hands the file on as a body. What comes after the
file is not looked at, as S3 does it. Memory: the fields, and as much of the file as one read of the socket brings.
"""

import re
from collections.abc import AsyncIterator
from typing import Final

from stagedoor.http.message import Body

FIELDS_MAX_BYTES: Final = 20 * 1024
_HEAD_MAX_BYTES: Final = 8 * 1024
_BOUNDARY: Final = re.compile(
    r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE
)
_NAME: Final = re.compile(r';\s*name="([^"]*)"', re.IGNORECASE)
_FILE_NAME: Final = re.compile(r';\s*filename="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


class FormError(Exception):
    """The body is no form of this kind; ``too_large``: its fields are beyond the limit."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


def boundary_of(content_type: str) -> bytes | None:
    """What separates the parts of a form; None for anything that is no ``multipart/form-data``."""
    found = _BOUNDARY.match(content_type.strip())
    return (found[1] or found[2]).encode("latin-1", "replace") if found else None


class FormUpload:
    """One form. Call ``read_fields`` once, then iterate over the file's bytes."""

    content_length: int | None = None

    def __init__(self, body: Body, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.file_name = ""
        self._pieces = aiter(body)
        self._delimiter = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")
        self._ended = False

    async def read_fields(self) -> None:
        """Fill ``fields`` (by lower-case name, the first of a name counts) up to the file. FormError."""
        fields_bytes = 0
        await self._until(self._delimiter, FIELDS_MAX_BYTES)
        while True:
            if bytes(await self._exactly(2)) == b"--":
                raise FormError("the form has no file")
            # The line end behind the delimiter has been taken, and is part of what ends the head.
            head = (await self._until(b"\r\n\r\n", _HEAD_MAX_BYTES)).decode("utf-8", "replace")
            name = self._named(head)
            if name == "file":
                found = _FILE_NAME.search(head)
                self.file_name = re.split(r"[/\\]", found[1])[-1] if found else ""
                return
            value = await self._until(self._delimiter, FIELDS_MAX_BYTES)
            fields_bytes += len(head) + len(value)
            if fields_bytes > FIELDS_MAX_BYTES:
                raise FormError("the fields are too large", too_large=True)
            self.fields.setdefault(name, value.decode("utf-8", "replace"))

    @staticmethod
    def _named(head: str) -> str:
        for line in head.split("\r\n"):
            if line.lower().startswith("content-disposition:"):
                found = _NAME.search(line)
                if found:
                    return found[1].lower()
        raise FormError("a part of the form has no name")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The file's bytes. FormError in the place of the end when the form breaks off."""
        while True:
            at = self._held.find(self._delimiter)
            if at >= 0:
                yield bytes(self._held[:at])
                return
            safe = len(self._held) - len(self._delimiter) + 1
            if safe > 0:
                yield bytes(self._held[:safe])
                del self._held[:safe]
            await self._more()

    async def read(self, limit_bytes: int) -> bytes:
        """The whole file; FormError beyond ``limit_bytes``."""
        found = bytearray()
        async for piece in self:
            found += piece
            if len(found) > limit_bytes:
                raise FormError("the file is too large", too_large=True)
        return bytes(found)

    async def _until(self, end: bytes, limit_bytes: int) -> bytes:
        while (at := self._held.find(end)) < 0:
            if len(self._held) > limit_bytes:
                raise FormError("the fields are too large", too_large=True)
            await self._more()
        if at > limit_bytes:
            raise FormError("the fields are too large", too_large=True)
        found = bytes(self._held[:at])
        del self._held[: at + len(end)]
        return found

    async def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        found = bytes(self._held[:count])
        if found == b"--":
            del self._held[:count]
        return found

    async def _more(self) -> None:
        try:
            self._held += await anext(self._pieces)
        except StopAsyncIteration:
            raise FormError("the form breaks off") from None
