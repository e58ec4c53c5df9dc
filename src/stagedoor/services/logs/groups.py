"""Log groups: create, describe, delete, retention and tags."""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.logs.addressing import (
    existing_group,
    group_arn,
    invalid_parameter,
    name_in_arn,
    position,
    refuse,
    token,
)
from stagedoor.store.log_events import LogGroup

_RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
_MAX_TAGS = 50


def create_log_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a group whose events never expire."""
    refuse(request, ("kmsKeyId", "deletionProtectionEnabled"))
    if request.get("logGroupClass", "STANDARD") != "STANDARD":
        raise invalid_parameter(f"stagedoor has no logGroupClass {request['logGroupClass']}, only STANDARD.")
    name: str = request["logGroupName"]
    if name.startswith("aws/"):
        raise invalid_parameter("Log groups starting with AWS/ are reserved for AWS.")
    if not call.house.log_events.create_group(call.account_id, call.region, name, request.get("tags")):
        raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
    return {}


def describe_log_groups(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Groups by name; ``nextToken`` goes on behind the last one."""
    refuse(request, ("accountIdentifiers", "includeLinkedAccounts"))
    prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    if prefix and pattern:
        raise invalid_parameter(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
        )
    identifiers: list[str] | None = request.get("logGroupIdentifiers")
    if identifiers is not None:
        if set(request) - {"logGroupIdentifiers", "includeLinkedAccounts"}:
            raise invalid_parameter("logGroupIdentifiers cannot be combined with other filters.")
        names = {name_in_arn(call, text) if text.startswith("arn:") else text for text in identifiers}
        found = [call.house.log_events.group(call.account_id, call.region, name) for name in sorted(names)]
        return {"logGroups": [_description(call, group) for group in found if group is not None]}
    if request.get("logGroupClass", "STANDARD") != "STANDARD":
        return {"logGroups": []}
    limit: int = request.get("limit", 50)
    after: str = position(request["nextToken"], str)[0] if "nextToken" in request else ""
    groups = call.house.log_events.groups(
        call.account_id, call.region, prefix=prefix, containing=pattern, after=after, limit=limit + 1
    )
    answer: dict[str, Any] = {"logGroups": [_description(call, group) for group in groups[:limit]]}
    if len(groups) > limit:
        answer["nextToken"] = token(groups[limit - 1].name)
    return answer


def _description(call: Call, group: LogGroup) -> dict[str, Any]:
    arn = group_arn(call, group.name)
    described: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.creation_ms,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "storedBytes": group.stored_bytes,
        "logGroupClass": "STANDARD",
        "logGroupArn": arn,
        "deletionProtectionEnabled": False,
    }
    if group.retention_days is not None:
        described["retentionInDays"] = group.retention_days
    return described


def delete_log_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove a group with all its streams and events."""
    if not call.house.log_events.delete_group(call.account_id, call.region, request["logGroupName"]):
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return {}


def put_retention_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Keep the group's events for ``retentionInDays``; older ones are not answered from now on."""
    group = existing_group(call, request["logGroupName"])
    if request["retentionInDays"] not in _RETENTION_DAYS:
        allowed = ", ".join(str(days) for days in _RETENTION_DAYS)
        raise invalid_parameter(
            f"retentionInDays {request['retentionInDays']} is not one of the possible values: {allowed}."
        )
    call.house.log_events.set_retention(group.id, request["retentionInDays"])
    return {}


def delete_retention_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Keep the group's events for ever."""
    call.house.log_events.set_retention(existing_group(call, request["logGroupName"]).id, None)
    return {}


def _add_tags(call: Call, group: LogGroup, tags: Mapping[str, str]) -> None:
    merged = {**group.tags, **tags}
    if len(merged) > _MAX_TAGS:
        raise invalid_parameter(
            f"A log group can have {_MAX_TAGS} tags at most; this would make {len(merged)}."
        )
    call.house.log_events.set_tags(group.id, merged)


def _drop_tags(call: Call, group: LogGroup, keys: list[str]) -> None:
    call.house.log_events.set_tags(
        group.id, {key: value for key, value in group.tags.items() if key not in keys}
    )


def tag_log_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace tags (the older operation, by name)."""
    _add_tags(call, existing_group(call, request["logGroupName"]), request["tags"])
    return {}


def untag_log_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Drop tags (the older operation, by name)."""
    _drop_tags(call, existing_group(call, request["logGroupName"]), request["tags"])
    return {}


def list_tags_log_group(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All tags (the older operation, by name)."""
    return {"tags": dict(existing_group(call, request["logGroupName"]).tags)}


def tag_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace tags of the group with that ARN."""
    _add_tags(call, existing_group(call, name_in_arn(call, request["resourceArn"])), request["tags"])
    return {}


def untag_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Drop tags of the group with that ARN."""
    _drop_tags(call, existing_group(call, name_in_arn(call, request["resourceArn"])), request["tagKeys"])
    return {}


def list_tags_for_resource(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All tags of the group with that ARN."""
    return {"tags": dict(existing_group(call, name_in_arn(call, request["resourceArn"])).tags)}
