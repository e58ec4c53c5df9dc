"""Tag sets of buckets and objects: what S3 accepts as one."""

import re
from collections.abc import Sequence
from typing import Any, Final

from stagedoor.domain.errors import AwsError
from stagedoor.services.s3.members import text

OBJECT_TAGS: Final = 10
BUCKET_TAGS: Final = 50
_TEXT: Final = re.compile(r"[\w\s+\-=._:/@]*")


def checked(tags: Sequence[dict[str, Any]], limit: int) -> list[dict[str, str]]:
    """The tag set, when it is one. BadRequest for too many, InvalidTag for the rest."""
    if len(tags) > limit:
        what = "Object tags" if limit == OBJECT_TAGS else "Bucket tag count"
        raise AwsError("BadRequest", f"{what} cannot be greater than {limit}", status=400)
    seen: set[str] = set()
    for tag in tags:
        key, value = text(tag, "Key"), text(tag, "Value")
        if not 1 <= len(key) <= 128 or not _TEXT.fullmatch(key):
            raise _invalid("The TagKey you have provided is invalid", key)
        if len(value) > 256 or not _TEXT.fullmatch(value):
            raise _invalid("The TagValue you have provided is invalid", key)
        if key.lower().startswith("aws:"):
            raise _invalid("System tags cannot be added/updated by requester", key)
        if key in seen:
            raise _invalid("Cannot provide multiple Tags with the same key", key)
        seen.add(key)
    return [{"Key": tag["Key"], "Value": text(tag, "Value")} for tag in tags]


def _invalid(message: str, key: str) -> AwsError:
    return AwsError("InvalidTag", message, status=400, members={"TagKey": key})
