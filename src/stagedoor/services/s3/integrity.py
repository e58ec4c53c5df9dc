"""Content-MD5 and checksums as clients announce them, against the bytes that came.

Place in the flow: between an uploading operation's request and ``receiving``. ``announced`` reads headers before the
body, ``Announced.verify`` compares after it (a trailing checksum is known only then).
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3 import errors
from stagedoor.store.checksums import ALGORITHMS, Algorithm, Digest, encoded, md5

# Members of the model for algorithms that are not built.
_UNBUILT: Final = ("SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128")
_TRAILER_PREFIX: Final = "x-amz-checksum-"


@dataclass(frozen=True, slots=True)
class Announced:
    """What a client says about its bytes. ``value`` is None while it comes in a trailer."""

    md5: bytes | None
    algorithm: Algorithm | None
    value: str | None

    def verify(self, digest: bytes, checksum: str, trailers: Mapping[str, str]) -> None:
        """BadDigest unless the bytes' MD5 and checksum are the announced ones."""
        if self.md5 is not None and self.md5 != digest:
            raise AwsError(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
                status=400,
                members={
                    "ExpectedDigest": base64.b64encode(self.md5).decode(),
                    "CalculatedDigest": base64.b64encode(digest).decode(),
                },
            )
        if self.algorithm is None:
            return
        value = self.value
        if value is None:
            value = trailers.get(_TRAILER_PREFIX + self.algorithm.name.lower())
            if value is None:
                raise AwsError(
                    "MalformedTrailerError",
                    "The request contained trailing data that was not well-formed or did not conform to our published "
                    f"schema: {_TRAILER_PREFIX}{self.algorithm.name.lower()} was announced and did not come.",
                    status=400,
                )
            _check_value(self.algorithm, value.strip())
        if value.strip() != checksum:
            raise AwsError(
                "BadDigest",
                f"The {self.algorithm.name} you specified did not match the calculated checksum.",
                status=400,
            )


def _check_value(algorithm: Algorithm, value: str) -> None:
    if not algorithm.valid(value):
        raise errors.invalid_request(
            f"Value for {_TRAILER_PREFIX}{algorithm.name.lower()} header is invalid."
        )


def given_checksums(request: Mapping[str, Any]) -> dict[str, str]:
    """The checksum members of a request, by algorithm. NotImplemented for algorithms that are not built."""
    for name in _UNBUILT:
        if request.get(f"Checksum{name}") is not None:
            raise errors.header_not_implemented(_TRAILER_PREFIX + name.lower())
    return {
        name: request[algorithm.member]
        for name, algorithm in ALGORITHMS.items()
        if request.get(algorithm.member) is not None
    }


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of that name; NotImplemented for one that S3 has and nobody built here."""
    algorithm = ALGORITHMS.get(name)
    if algorithm is None:
        raise errors.header_not_implemented(f"x-amz-checksum-algorithm: {name}")
    return algorithm


def announced(request: Mapping[str, Any], header: Mapping[str, str]) -> Announced:
    """Read Content-MD5, ``x-amz-checksum-*`` and ``x-amz-trailer``. InvalidDigest, InvalidRequest."""
    expected_md5 = _content_md5(request.get("ContentMD5"))
    values = given_checksums(request)
    named = [
        name.strip().lower().removeprefix(_TRAILER_PREFIX).upper()
        for name in header.get("x-amz-trailer", "").split(",")
        if name.strip().lower().startswith(_TRAILER_PREFIX)
    ]
    if len(values) + len(named) > 1:
        raise errors.invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    wanted: str | None = request.get("ChecksumAlgorithm")
    if not values and not named:
        if wanted is not None and header.get("x-amz-sdk-checksum-algorithm") is not None:
            raise errors.invalid_request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer "
                "headers were found."
            )
        return Announced(expected_md5, None, None)
    name = next(iter(values), None) or named[0]
    if wanted is not None and wanted != name:
        raise errors.invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    algorithm = algorithm_named(name)
    if name in values:
        _check_value(algorithm, values[name])
    return Announced(expected_md5, algorithm, values.get(name))


def _content_md5(value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise AwsError(
            "InvalidDigest",
            "The Content-MD5 you specified is not valid.",
            status=400,
            members={"Content-MD5": value},
        )
    return digest


def check_document(operation: str, header: Mapping[str, str], body: bytes) -> None:
    """For operations whose body is a document: its Content-MD5 and checksum headers must fit. BadDigest and others."""
    if operation == "CompleteMultipartUpload":
        # Its checksum headers speak of the object.
        header = {"content-md5": header["content-md5"]} if "content-md5" in header else {}
    request: dict[str, Any] = {"ContentMD5": header.get("content-md5")}
    for name in (*ALGORITHMS, *_UNBUILT):
        request[f"Checksum{name}"] = header.get(_TRAILER_PREFIX + name.lower())
    claim = announced(request, {})
    digest: Digest = md5()
    digest.update(body)
    checksum = ""
    if claim.algorithm is not None:
        calculated = claim.algorithm.start()
        calculated.update(body)
        checksum = encoded(calculated)
    claim.verify(digest.digest(), checksum, {})


def checksum_members(checksums: Mapping[str, str]) -> dict[str, str]:
    """Values by algorithm as the members of an answer."""
    return {ALGORITHMS[name].member: value for name, value in checksums.items()}


def refuse(request: Mapping[str, Any], headers: Mapping[str, str], *, but: Sequence[str] = ()) -> None:
    """NotImplemented, naming the header, for the first member of ``headers`` (member -> header) that was sent."""
    for member, header in headers.items():
        if member not in but and request.get(member) not in (None, False):
            raise errors.header_not_implemented(header)
