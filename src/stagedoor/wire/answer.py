"""What ``answers`` and ``errors`` hand to the connection."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``body`` is ``bytes``, or the streaming object the operation gave, untouched."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | object = b""


def request_id_headers(header: str, request_id: str) -> list[tuple[str, str]]:
    """The request's id as the service names it; S3 adds a second, longer one."""
    if header == "x-amz-request-id":
        return [(header, request_id), ("x-amz-id-2", host_id(request_id))]
    return [(header, request_id)]


def host_id(request_id: str) -> str:
    """S3's extended request id: opaque to clients, here derived from the request id."""
    return b64encode(hashlib.sha384(request_id.encode("utf-8")).digest()).decode("ascii")
