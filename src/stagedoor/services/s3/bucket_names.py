"""The rules for names of general purpose buckets."""

import re
from typing import Final

from stagedoor.domain.errors import AwsError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS: Final = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_valid(name: str) -> bool:
    """Whether a bucket may be called so."""
    return (
        _NAME.fullmatch(name) is not None
        and ".." not in name
        and not _ADDRESS.fullmatch(name)
        and not name.startswith(_PREFIXES)
        and not name.endswith(_SUFFIXES)
    )


def check(name: str) -> None:
    """InvalidBucketName unless a bucket may be called so."""
    if not is_valid(name):
        raise AwsError(
            "InvalidBucketName",
            "The specified bucket is not valid.",
            status=400,
            members={"BucketName": name},
        )
