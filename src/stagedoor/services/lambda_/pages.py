"""Pages of lists: ``MaxItems`` and ``Marker`` in, ``NextMarker`` out; used by every list operation."""

import base64
from collections.abc import Mapping
from typing import Any

from stagedoor.services.lambda_.naming import invalid
from stagedoor.store.records import Document

_MAX_ITEMS = 50


def page(member: str, found: list[Document], request: Mapping[str, Any]) -> dict[str, Any]:
    """One page of ``found`` under ``member``. A marker names the last ARN before the page, so that changes in between
    repeat and lose nothing.
    """
    start = 0
    if last := marker(request):
        behind = [index for index, item in enumerate(found) if _name(item) == last]
        start = (
            behind[0] + 1
            if behind
            else next((i for i, item in enumerate(found) if _name(item) > last), len(found))
        )
    size = page_size(request)
    shown = found[start : start + size]
    answer: dict[str, Any] = {member: shown}
    if shown and start + size < len(found):
        answer["NextMarker"] = base64.urlsafe_b64encode(_name(shown[-1]).encode()).decode()
    return answer


def page_size(request: Mapping[str, Any]) -> int:
    """The most items on a page."""
    return min(request.get("MaxItems", _MAX_ITEMS), _MAX_ITEMS)


def marker(request: Mapping[str, Any]) -> str:
    """The ARN behind which the page begins; empty for the first one."""
    given = request.get("Marker")
    return _read(given) if given else ""


def _name(item: Document) -> str:
    return item.get("AliasArn") or item["FunctionArn"]


def _read(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:  # not ASCII, not base64, not UTF-8
        raise invalid(f"The marker {marker!r} is none that was answered as NextMarker.") from None
