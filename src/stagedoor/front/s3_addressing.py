"""Virtual-host addressing of S3 to path style: ``bucket.s3.host/key`` becomes ``/bucket/key``. Pure.

Place in the flow: ``front.listener``, for requests that are S3's, before routing. The signature is checked over what the
client sent, so only the path that is routed changes.
"""

import ipaddress
import re
from typing import Final

# `s3`, or the old `s3-eu-west-1`, as one label of the host; the dual-stack and FIPS forms begin the same way.
_S3_LABEL: Final = re.compile(r"s3(-[a-z0-9-]+)?")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def bucket_in_host(host: str) -> str | None:
    """The bucket a Host header names (``<bucket>.s3.<anything>``, ``<bucket>.localhost``); None where it names none."""
    name = _host_name(host)
    labels = name.split(".")
    if any(label == "execute-api" or label.startswith("s3-website") for label in labels[1:]):
        return None
    if name.endswith(".localhost") and not any(_S3_LABEL.fullmatch(label) for label in labels[1:]):
        bucket = name.removesuffix(".localhost")
        # `s3.localhost` and its like are names of the server itself.
        is_server = _S3_LABEL.fullmatch(bucket) is not None
        return bucket if not is_server and _BUCKET.fullmatch(bucket) else None
    # The last such label: names of buckets may have dots, and labels like this, in them.
    for index in range(len(labels) - 1, 0, -1):
        if _S3_LABEL.fullmatch(labels[index]):
            bucket = ".".join(labels[:index])
            return bucket if _BUCKET.fullmatch(bucket) else None
    return None


def _host_name(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return ""
    name = name.partition(":")[0].removesuffix(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    return ""


def path_style(host: str, path: str) -> str:
    """The request's path with the bucket in front, when its Host names one; else the path as it is.

    Both stay percent-encoded. ``host`` is the Host header with or without a port.
    """
    bucket = bucket_in_host(host)
    return path if bucket is None else f"/{bucket}{path}"
