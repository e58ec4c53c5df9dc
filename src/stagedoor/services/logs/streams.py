"""Log streams: create, describe, delete."""

from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.logs.addressing import (
    existing_group,
    existing_stream,
    group_arn,
    invalid_parameter,
    position,
    requested_group,
    token,
)
from stagedoor.store.log_events import LogGroup, LogStream


def create_log_stream(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make an empty stream in a group."""
    group = existing_group(call, request["logGroupName"])
    if not call.house.log_events.create_stream(group.id, request["logStreamName"]):
        raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")
    return {}


def describe_log_streams(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Streams of a group by name or by their last event; ``nextToken`` goes on behind the last one."""
    order_by, prefix = request.get("orderBy", "LogStreamName"), request.get("logStreamNamePrefix", "")
    if order_by == "LastEventTime" and prefix:
        raise invalid_parameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
    after: tuple[int, str] | None = None
    if "nextToken" in request:
        last_event_ms, name = position(request["nextToken"], int, str)
        after = (last_event_ms, name)
    group = requested_group(call, request)
    limit: int = request.get("limit", 50)
    streams = call.house.log_events.streams(
        group.id,
        prefix=prefix,
        order_by=order_by,
        descending=request.get("descending", False),
        after=after,
        limit=limit + 1,
    )
    answer: dict[str, Any] = {"logStreams": [_description(call, group, stream) for stream in streams[:limit]]}
    if len(streams) > limit:
        last = streams[limit - 1]
        answer["nextToken"] = token(last.last_event_ms or 0, last.name)
    return answer


def _description(call: Call, group: LogGroup, stream: LogStream) -> dict[str, Any]:
    described: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.creation_ms,
        "firstEventTimestamp": stream.first_event_ms,
        "lastEventTimestamp": stream.last_event_ms,
        "lastIngestionTime": stream.last_ingestion_ms,
        "uploadSequenceToken": f"{stream.id:056d}",
        "arn": f"{group_arn(call, group.name)}:log-stream:{stream.name}",
        "storedBytes": stream.stored_bytes,
    }
    return {member: value for member, value in described.items() if value is not None}


def delete_log_stream(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove a stream with its events."""
    group = existing_group(call, request["logGroupName"])
    existing_stream(call, group, request["logStreamName"])
    call.house.log_events.delete_stream(group.id, request["logStreamName"])
    return {}
