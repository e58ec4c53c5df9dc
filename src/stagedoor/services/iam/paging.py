"""IAM's pages: MaxItems, Marker, IsTruncated."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from stagedoor.domain.errors import AwsError

_DEFAULT_ITEMS: Final = 100
T = TypeVar("T")


def page(
    request: Mapping[str, Any], member: str, items: Sequence[T], name_of: Callable[[T], str]
) -> dict[str, Any]:
    """The answer with the page of ``items`` (ordered by ``name_of``) that ``request`` asks for, under ``member``.

    The marker names the last item given out, so that what is added or removed meanwhile moves nothing.
    """
    marker: str | None = request.get("Marker")
    if marker is not None:
        last = _decode(marker)
        items = [item for item in items if name_of(item) > last]
    limit = int(request.get("MaxItems") or _DEFAULT_ITEMS)
    shown = list(items[:limit])
    if len(items) <= limit:
        return {member: shown, "IsTruncated": False}
    return {member: shown, "IsTruncated": True, "Marker": _encode(name_of(shown[-1]))}


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(b"after:" + name.encode()).decode()


def _decode(marker: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(marker.encode("ascii")).decode()
    except (binascii.Error, ValueError):
        raw = ""
    if not raw.startswith("after:"):
        raise AwsError("ValidationError", "Invalid Marker.", status=400)
    return raw.removeprefix("after:")
