"""List operations: filters, sorting, pages. All of SageMaker's lists have the same parameters.

Place in the flow: an operation gives its summaries here and gets the answer. A NextToken remembers the last item of its
page and the question it belongs to, so a list that changes between two pages never repeats or skips what stayed.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from stagedoor.services.call import Call
from stagedoor.services.sagemaker.names import validation
from stagedoor.store.records import Document

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


class ByCreation:
    """The summaries of a kind's records, in whatever order; and in that of their creation, without reading all of them."""

    def __init__(self, call: Call, kind: str, summarise: Callable[[Document], Summary]) -> None:
        self._call = call
        self._kind = kind
        self._summarise = summarise

    def __iter__(self) -> Iterator[Summary]:
        records = self._call.house.records.list(self._kind, self._call.account_id, self._call.region)
        return (self._summarise(record.document) for record in records)

    def ordered(self, *, descending: bool, start: float | None) -> Iterator[Summary]:
        """From those created at ``start`` on."""
        records = self._call.house.records.by_creation(
            self._kind, self._call.account_id, self._call.region, descending=descending, start=start
        )
        return (self._summarise(record.document) for record in records)


def members(*names: str) -> Callable[[Document], Summary]:
    """A summary that has these members of the document, where it has them."""
    return lambda document: {name: document[name] for name in names if name in document}


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
    unique_member = order_member or name_member
    sort_member = {"Name": unique_member, "Status": status_member}.get(
        request.get("SortBy", ""), "CreationTime"
    )

    sorting = (sort_by or {}).get(request.get("SortBy", ""))

    def place(summary: Summary) -> tuple[Any, str]:
        return (summary[sort_member] if sorting is None else sorting(summary), summary[unique_member])

    limit = int(request.get("MaxResults", _PAGE_LENGTH))
    descending = request.get("SortOrder", order) == "Descending"
    question = _question(request, member)
    token = request.get("NextToken")
    last = None if token is None else _read_token(token, question)

    def is_chosen(summary: Summary) -> bool:
        if not _matches(summary, request, name_member, status_member):
            return False
        return last is None or (place(summary) < last if descending else place(summary) > last)

    try:
        if isinstance(summaries, ByCreation) and sorting is None and sort_member == "CreationTime":
            chosen = _first(summaries, is_chosen, limit, descending, request, last)
        else:
            chosen = [summary for summary in summaries if is_chosen(summary)]
    except TypeError:
        if last is None:
            raise
        raise _bad_token() from None
    chosen.sort(key=place, reverse=descending)
    shown = [{name: value for name, value in one.items() if name != order_member} for one in chosen[:limit]]
    result: dict[str, Any] = {member: shown}
    if len(chosen) > limit:
        last_shown: Summary = chosen[limit - 1]
        result["NextToken"] = write_token([*place(last_shown)], question)
    return result


def _first(
    summaries: ByCreation,
    is_chosen: Callable[[Summary], bool],
    limit: int,
    descending: bool,
    request: Mapping[str, Any],
    last: tuple[Any, str] | None,
) -> list[Summary]:
    """Those that make a page, one more, and all that were created in the same moment as that one."""
    after, before = seconds(request.get("CreationTimeAfter")), seconds(request.get("CreationTimeBefore"))
    first, end = (before, after) if descending else (after, before)
    start = first if last is None else last[0]
    if not isinstance(start, int | float | None):
        raise TypeError("a page begins at a time")
    chosen: list[Summary] = []
    for summary in summaries.ordered(descending=descending, start=start):
        created = summary["CreationTime"]
        if len(chosen) > limit and created != chosen[-1]["CreationTime"]:
            break
        if end is not None and (created < end if descending else created > end):
            break
        if is_chosen(summary):
            chosen.append(summary)
    return chosen


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
