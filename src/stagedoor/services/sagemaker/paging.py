"""List operations: filters, sorting, pages. All of SageMaker's lists have the same parameters.

Place in the flow: an operation gives its summaries here and gets the answer. A NextToken remembers the last item of its
page and the question it belongs to, so a list that changes between two pages never repeats or skips what stayed.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from stagedoor.services.sagemaker.names import validation

_PAGE_LENGTH = 10
_QUESTION = (
    "NameContains",
    "StatusEquals",
    "CreationTimeAfter",
    "CreationTimeBefore",
    "LastModifiedTimeAfter",
    "LastModifiedTimeBefore",
    "SortBy",
    "SortOrder",
)

Summary = dict[str, Any]


def answer(
    request: Mapping[str, Any],
    summaries: Iterable[Summary],
    *,
    member: str,
    name_member: str,
    status_member: str = "",
    order: str = "Descending",
    order_member: str = "",
    sort_by: Mapping[str, Callable[[Summary], Any]] | None = None,
) -> dict[str, Any]:
    """The answer of a List operation: one page of ``summaries`` under ``member``, and a NextToken when there is more.

    ``order`` is the operation's default SortOrder; the default SortBy is CreationTime everywhere. ``SortBy`` ``Name`` and
    ``Status`` mean ``name_member`` and ``status_member``. ``order_member`` takes the place of ``name_member`` for sorting where
    names alone are not unique; it is not part of the answer.
    ``sort_by`` has what further values of SortBy mean.
    """
    chosen: list[Summary] = [
        summary for summary in summaries if _matches(summary, request, name_member, status_member)
    ]
    unique_member = order_member or name_member
    sort_member = {"Name": unique_member, "Status": status_member}.get(
        request.get("SortBy", ""), "CreationTime"
    )

    sorting = (sort_by or {}).get(request.get("SortBy", ""))

    def place(summary: Summary) -> tuple[Any, str]:
        return (summary[sort_member] if sorting is None else sorting(summary), summary[unique_member])

    descending = request.get("SortOrder", order) == "Descending"
    chosen.sort(key=place, reverse=descending)
    question = _question(request, member)
    if (token := request.get("NextToken")) is not None:
        last = _read_token(token, question)

        def after(item: tuple[Any, str]) -> bool:
            return item < last if descending else item > last

        try:
            chosen = [summary for summary in chosen if after(place(summary))]
        except TypeError:
            raise _bad_token() from None
    limit = int(request.get("MaxResults", _PAGE_LENGTH))
    shown = [{name: value for name, value in one.items() if name != order_member} for one in chosen[:limit]]
    result: dict[str, Any] = {member: shown}
    if len(chosen) > limit:
        last_shown: Summary = chosen[limit - 1]
        result["NextToken"] = write_token([*place(last_shown)], question)
    return result


def _matches(summary: Summary, request: Mapping[str, Any], name_member: str, status_member: str) -> bool:
    if (part := request.get("NameContains")) is not None and part.lower() not in summary[name_member].lower():
        return False
    if (status := request.get("StatusEquals")) is not None and summary[status_member] != status:
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        after, before = seconds(request.get(f"{member}After")), seconds(request.get(f"{member}Before"))
        if after is not None and summary[member] <= after:
            return False
        if before is not None and summary[member] >= before:
            return False
    return True


def seconds(value: Any) -> float | None:
    """A timestamp of a request, however the parser gives it, as epoch seconds."""
    if value is None or isinstance(value, (int, float)):
        return value
    return float(value.timestamp())


def _question(request: Mapping[str, Any], operation: str) -> str:
    asked = [operation, *(str(request.get(name, "")) for name in _QUESTION)]
    return hashlib.sha256("\0".join(asked).encode()).hexdigest()[:16]


def write_token(last: list[Any], question: str) -> str:
    """An opaque token for the page behind ``last``; AWS's tokens are base64, too."""
    return base64.b64encode(orjson.dumps([question, *last])).decode()


def _read_token(token: str, question: str) -> tuple[Any, str]:
    if not re.fullmatch(r"[A-Za-z0-9+/=]+", token):
        raise _bad_token()
    try:
        asked, value, name = orjson.loads(base64.b64decode(token, validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise _bad_token() from None
    if asked != question or not isinstance(name, str):
        raise _bad_token()
    return value, name


def _bad_token() -> Exception:
    return validation(
        "Invalid NextToken: use the token of the previous answer, with the same filters and sorting."
    )
