"""Log events: put, get (one stream, in both directions), filter (many streams, by pattern)."""

import re
from collections.abc import Sequence
from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.logs.addressing import (
    existing_group,
    existing_stream,
    invalid_parameter,
    position,
    refuse,
    requested_group,
    token,
)
from stagedoor.services.logs.filter_patterns import filter_pattern
from stagedoor.store.log_events import (
    BEGINNING,
    DAY_MS,
    END,
    EVENT_OVERHEAD_BYTES,
    Boundary,
    LogEvent,
    LogGroup,
    LogStream,
)

_BATCH_BYTES = 1_048_576
_EVENT_BYTES = 1_048_576
_TOO_NEW_MS = 2 * 3_600_000
_TOO_OLD_MS = 14 * DAY_MS
_SCANNED_PAGES = 20
"""FilterLogEvents looks at so many pages of the store (of 1 MB or 10,000 events) before it answers with a nextToken."""


def put_log_events(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Store a batch in chronological order; events too old, expired or too new are left out and reported."""
    refuse(request, ("entity",))
    group = existing_group(call, request["logGroupName"])
    existing_stream(call, group, request["logStreamName"])
    events: list[tuple[int, str]] = [(event["timestamp"], event["message"]) for event in request["logEvents"]]
    _check_batch(events)
    accepted, rejected = _within_limits(events, int(call.now * 1000), group.retention_days)
    call.house.log_events.put(
        call.account_id,
        call.region,
        group.name,
        request["logStreamName"],
        accepted,
        max_event_bytes=_EVENT_BYTES,
    )
    answer: dict[str, Any] = {"nextSequenceToken": f"{int(call.now * 1000):056d}"}
    if rejected:
        answer["rejectedLogEventsInfo"] = rejected
    return answer


def _check_batch(events: Sequence[tuple[int, str]]) -> None:
    total_bytes = 0
    for index, (timestamp_ms, message) in enumerate(events):
        size_bytes = len(message.encode("utf-8", "surrogatepass")) + EVENT_OVERHEAD_BYTES
        if size_bytes > _EVENT_BYTES:
            raise invalid_parameter(
                f"Log event too large: {size_bytes} bytes exceeds limit of {_EVENT_BYTES}"
            )
        total_bytes += size_bytes
        if index and timestamp_ms < events[index - 1][0]:
            raise invalid_parameter(
                "Log events in a single PutLogEvents request must be in chronological order."
            )
    if total_bytes > _BATCH_BYTES:
        raise invalid_parameter(f"Upload too large: {total_bytes} bytes exceeds limit of {_BATCH_BYTES}")


def _within_limits(
    events: Sequence[tuple[int, str]], now_ms: int, retention_days: int | None
) -> tuple[Sequence[tuple[int, str]], dict[str, int]]:
    """The events that are accepted and the ``rejectedLogEventsInfo`` of the others: ends are exclusive indexes."""
    times = [timestamp_ms for timestamp_ms, _ in events]
    rejected: dict[str, int] = {}
    too_old = sum(1 for time_ms in times if time_ms < now_ms - _TOO_OLD_MS)
    expired = 0
    if retention_days is not None:
        expired = sum(1 for time_ms in times if time_ms < now_ms - retention_days * DAY_MS)
    too_new_start = sum(1 for time_ms in times if time_ms <= now_ms + _TOO_NEW_MS)
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    if too_new_start < len(times):
        rejected["tooNewLogEventStartIndex"] = too_new_start
    accepted = events[max(too_old, expired) : too_new_start]
    if accepted and accepted[-1][0] - accepted[0][0] > DAY_MS:
        raise invalid_parameter(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )
    return accepted, rejected


_STREAM_TOKEN = re.compile(r"([fb])/(\d{20})(\d{36})/s")


def _stream_token(direction: str, boundary: Boundary) -> str:
    return f"{direction}/{max(boundary.timestamp_ms, 0):020d}{boundary.sequence:036d}/s"


def get_log_events(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One page of a stream, always oldest first. At an end, the token to go on is the one that was passed in."""
    direction, boundary = "f" if request.get("startFromHead", False) else "b", None
    if "nextToken" in request:
        matched = _STREAM_TOKEN.fullmatch(request["nextToken"])
        if matched is None:
            raise invalid_parameter("The specified nextToken is invalid.")
        direction, boundary = matched[1], Boundary(int(matched[2]), int(matched[3]))
        if max(boundary) >= 2**63:
            raise invalid_parameter("The specified nextToken is invalid.")
    group = requested_group(call, request)
    stream = existing_stream(call, group, request["logStreamName"])
    start_ms, end_ms = _range(request)
    forward = direction == "f"
    events = call.house.log_events.read(
        group,
        streams=[stream],
        start_ms=start_ms,
        end_ms=end_ms,
        after=boundary if forward and boundary else BEGINNING,
        before=boundary if not forward and boundary else END,
        newest_first=not forward,
        limit=request.get("limit", 10_000),
    )
    if not forward:
        events.reverse()
    if boundary is None:
        # Nothing there yet: both ways go on from the start, so that a reader who waits sees the first event.
        boundary = BEGINNING
    first, last = (events[0].before, events[-1].after) if events else (boundary, boundary)
    return {
        "events": [
            {"timestamp": event.timestamp_ms, "message": event.message, "ingestionTime": event.ingestion_ms}
            for event in events
        ],
        "nextForwardToken": _stream_token("f", last),
        "nextBackwardToken": _stream_token("b", first),
    }


def _range(request: dict[str, Any]) -> tuple[int | None, int | None]:
    start_ms: int | None = request.get("startTime")
    end_ms: int | None = request.get("endTime")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise invalid_parameter("The start time must not be later than the end time.")
    latest_ms = END.timestamp_ms - 1
    return None if start_ms is None else min(start_ms, latest_ms), None if end_ms is None else min(
        end_ms, latest_ms
    )


def _chosen_streams(call: Call, group: LogGroup, request: dict[str, Any]) -> list[LogStream] | None:
    names: list[str] | None = request.get("logStreamNames")
    prefix: str | None = request.get("logStreamNamePrefix")
    if names and prefix:
        raise invalid_parameter("logStreamNamePrefix and logStreamNames cannot be given together.")
    if names:
        return [existing_stream(call, group, name) for name in dict.fromkeys(names)]
    return call.house.log_events.streams(group.id, prefix=prefix) if prefix else None


def filter_log_events(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Events of a group, or of some of its streams, that match a pattern. No nextToken means that this was all.

    A page may be empty and still have a nextToken: a bounded part of the log is looked at in one call.
    """
    matches = filter_pattern(request.get("filterPattern", ""))
    newest_first = not request.get("startFromHead", True)
    after, before = BEGINNING, END
    if "nextToken" in request:
        timestamp_ms, sequence, newest = position(request["nextToken"], int, int, int)
        newest_first = bool(newest)
        if newest_first:
            before = Boundary(timestamp_ms, sequence)
        else:
            after = Boundary(timestamp_ms, sequence)
    group = requested_group(call, request)
    streams = _chosen_streams(call, group, request)
    start_ms, end_ms = _range(request)
    limit: int = request.get("limit", 10_000)
    found: list[LogEvent] = []
    size_bytes, more = 0, True
    for _ in range(_SCANNED_PAGES):
        page = call.house.log_events.read(
            group,
            streams=streams,
            start_ms=start_ms,
            end_ms=None if end_ms is None else end_ms + 1,
            after=after,
            before=before,
            newest_first=newest_first,
        )
        more = bool(page)
        for event in page:
            if matches(event.message):
                size_bytes += len(event.message) + EVENT_OVERHEAD_BYTES
                if len(found) == limit or (found and size_bytes > _BATCH_BYTES):
                    break
                found.append(event)
            if newest_first:
                before = event.before
            else:
                after = event.after
        else:
            if more:
                continue
        break
    answer: dict[str, Any] = {"events": [_filtered(event) for event in found], "searchedLogStreams": []}
    if more:
        boundary = before if newest_first else after
        answer["nextToken"] = token(boundary.timestamp_ms, boundary.sequence, int(newest_first))
    return answer


def _filtered(event: LogEvent) -> dict[str, Any]:
    return {
        "logStreamName": event.stream,
        "timestamp": event.timestamp_ms,
        "message": event.message,
        "ingestionTime": event.ingestion_ms,
        "eventId": f"{event.timestamp_ms:020d}{event.sequence:036d}",
    }
