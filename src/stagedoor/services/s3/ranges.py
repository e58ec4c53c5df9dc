"""The Range header: which bytes of an object are asked for."""

import re
from typing import Final, NamedTuple

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3 import errors

_RANGE: Final = re.compile(r"bytes=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.ASCII)
_COPY_RANGE: Final = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)


class Range(NamedTuple):
    """Bytes ``start`` to ``end``, both included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1

    def content_range(self, size_bytes: int) -> str:
        """The Content-Range header's value."""
        return f"bytes {self.start}-{self.end}/{size_bytes}"


def requested(header: str | None, size_bytes: int) -> Range | None:
    """The range that ``header`` asks for; None for the whole object. InvalidRange (416) when it lies outside.

    As S3 does, a header that is not one range of bytes is taken as if it were not there.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or header is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size_bytes)
        found = Range(size_bytes - length, size_bytes - 1)
    else:
        if last and int(last) < int(first):
            return None
        found = Range(int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1)
    if found.start >= size_bytes or found.length <= 0:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            status=416,
            members={"RangeRequested": header, "ActualObjectSize": str(size_bytes)},
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    return found


def copied(header: str | None, size_bytes: int) -> Range | None:
    """The range of ``x-amz-copy-source-range``; None for the whole. InvalidArgument."""
    if header is None:
        return None
    match = _COPY_RANGE.fullmatch(header)
    if match is None or int(match[1]) > int(match[2]):
        raise errors.invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            header,
        )
    found = Range(int(match[1]), int(match[2]))
    if found.end >= size_bytes:
        raise errors.invalid_argument(
            f"Range specified is not valid for source object of size: {size_bytes}",
            "x-amz-copy-source-range",
            header,
        )
    return found
