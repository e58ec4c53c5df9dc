"""Completing a multipart upload: do the listed parts make an object, and which one? Pure.

Place in the flow: ``multipart.complete_multipart_upload`` hands ``Completion.plan`` to ``store.upload_rows``, which calls
it inside the write transaction with the parts that are there.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from stagedoor.domain.errors import AwsError
from stagedoor.http.message import Request
from stagedoor.services.s3 import errors, integrity
from stagedoor.services.s3.members import document, documents, text
from stagedoor.store.checksums import ALGORITHMS
from stagedoor.store.object_listing import ObjectRow
from stagedoor.store.object_rows import CompletedPart, NewObject
from stagedoor.store.upload_rows import Part, Upload

PART_MIN_BYTES: Final = 5 * 1024**2
OBJECT_MAX_BYTES: Final = 50 * 1024**4
_OWN: Final = ("checksum", "initiator")
_UPLOAD: Final = "uploadId"
"""The attribute of an object that says which upload made it."""


def location(bucket: str, key: str, request: Request | None) -> str:
    """The URL of the object, as the client addresses this server."""
    path = f"/{bucket}/{quote(key)}"
    if request is None or "host" not in request.header:
        return path
    return f"{request.scheme}://{request.header['host']}{path}"


def made_by(row: ObjectRow, request: Mapping[str, Any]) -> bool:
    """Whether this very request made the object before: a client that lost the answer sends it again, and AWS answers again."""
    if row.attributes.get(_UPLOAD) != request["UploadId"]:
        return False
    listed = documents(document(request, "MultipartUpload"), "Parts")
    try:
        return row.etag == _etag([text(entry, "ETag").strip('"') for entry in listed])
    except ValueError:
        return False


def _etag(parts: Sequence[str]) -> str:
    """The ETag of an object of parts with these; ValueError for what is none."""
    digest = hashlib.md5(b"".join(bytes.fromhex(etag) for etag in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


class Completion:
    """One CompleteMultipartUpload request."""

    def __init__(self, upload: Upload, request: Mapping[str, Any], now: float) -> None:
        self._upload = upload
        self._request = request
        self._now = now
        self._checksum: Mapping[str, Any] = upload.attributes["checksum"]

    def plan(self, present: Mapping[int, Part]) -> tuple[Sequence[int], NewObject]:
        """Which parts make the object, and the object. InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest, …"""
        listed = documents(document(self._request, "MultipartUpload"), "Parts")
        if not listed:
            raise AwsError("InvalidRequest", "You must specify at least one part", status=400)
        numbers: list[int] = [entry["PartNumber"] for entry in listed]
        if any(first >= second for first, second in itertools.pairwise(numbers)):
            raise AwsError(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
                status=400,
                members={"UploadId": self._upload.upload_id},
            )
        parts = [self._matching(entry, present) for entry in listed]
        for part in parts[:-1]:
            if part.size_bytes < PART_MIN_BYTES:
                raise AwsError(
                    "EntityTooSmall",
                    "Your proposed upload is smaller than the minimum allowed size",
                    status=400,
                    members={
                        "ETag": part.etag,
                        "MinSizeAllowed": str(PART_MIN_BYTES),
                        "PartNumber": str(part.number),
                        "ProposedSize": str(part.size_bytes),
                    },
                )
        return numbers, self._object(parts)

    def _matching(self, entry: Mapping[str, Any], present: Mapping[int, Part]) -> Part:
        number = entry["PartNumber"]
        part = present.get(number)
        etag = text(entry, "ETag").strip('"')
        claimed = integrity.given_checksums(entry)
        if part is None or part.etag != etag or any(part.checksums.get(n) != v for n, v in claimed.items()):
            raise AwsError(
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag.",
                status=400,
                members={"UploadId": self._upload.upload_id, "PartNumber": str(number), "ETag": etag},
            )
        needed = self._checksum["algorithm"]
        if self._checksum["stated"] and self._checksum["type"] == "COMPOSITE" and needed not in claimed:
            raise errors.invalid_request(
                f"The upload was created using a {needed.lower()} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {number} in the request."
            )
        return part

    def _object(self, parts: Sequence[Part]) -> NewObject:
        size_bytes = sum(part.size_bytes for part in parts)
        announced = self._request.get("MpuObjectSize")
        if announced is not None and int(announced) != size_bytes:
            raise errors.invalid_request(
                f"The provided 'x-amz-mp-object-size' header value {announced} does not match what was computed: "
                f"{size_bytes}"
            )
        if size_bytes > OBJECT_MAX_BYTES:
            raise AwsError(
                "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", status=400
            )
        attributes = {name: value for name, value in self._upload.attributes.items() if name not in _OWN}
        attributes[_UPLOAD] = self._upload.upload_id
        name: str = self._checksum["algorithm"]
        attributes["Checksum"] = {
            "algorithm": name,
            "type": self._checksum["type"],
            "value": self._object_checksum(name, parts),
        }
        # Values of parts are shown only where the whole value is made of them.
        shown = self._checksum["stated"]
        return NewObject(
            size_bytes=size_bytes,
            etag=_etag([part.etag for part in parts]),
            last_modified=self._now,
            segments=(),
            attributes=attributes,
            storage_class=self._upload.storage_class,
            parts=[
                CompletedPart(part.number, part.size_bytes, part.checksums[name] if shown else "")
                for part in parts
            ],
        )

    def _object_checksum(self, name: str, parts: Sequence[Part]) -> str:
        algorithm = ALGORITHMS[name]
        kind = self._checksum["type"]
        wanted_kind = self._request.get("ChecksumType")
        if wanted_kind is not None and wanted_kind != kind:
            raise errors.invalid_request(
                f"The upload was created using the {kind} checksum mode. The complete request must use the same "
                "checksum mode."
            )
        if kind == "FULL_OBJECT":
            value = algorithm.joined((part.checksums[name], part.size_bytes) for part in parts)
        else:
            value = algorithm.composed(part.checksums[name] for part in parts)
        claimed = integrity.given_checksums(self._request)
        for claimed_name, claim in claimed.items():
            if claimed_name != name:
                raise errors.invalid_request(
                    f"Checksum Type mismatch occurred, expected checksum Type: {name.lower()}, actual checksum Type: "
                    f"{claimed_name.lower()}"
                )
            if claim != value and f"{claim}-{len(parts)}" != value:
                raise AwsError(
                    "BadDigest",
                    f"The {name} you specified did not match the calculated checksum.",
                    status=400,
                )
        return value
