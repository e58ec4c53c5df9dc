"""How requests name log groups and streams, and what is said when they are not there; used by every logs operation."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.store.log_events import LogGroup, LogStream


def invalid_parameter(message: str) -> AwsError:
    """The service's answer to whatever is wrong with a value."""
    return AwsError("InvalidParameterException", message)


def refuse(request: Mapping[str, Any], members: Iterable[str]) -> None:
    """InvalidParameterException naming the first of ``members`` that the request sets to something."""
    for member in members:
        if request.get(member) not in (None, False, [], {}):
            raise invalid_parameter(f"stagedoor does not support {member} for this operation.")


def group_arn(call: Call, name: str) -> str:
    """``arn:aws:logs:REGION:ACCOUNT:log-group:NAME``, without the ``:*`` that stands for its streams."""
    return call.arn("logs", f"log-group:{name}")


def name_in_arn(call: Call, arn_text: str) -> str:
    """The group's name in an ARN (with or without ``:*``) of this account and region."""
    try:
        arn = Arn.parse(arn_text)
    except ValueError:
        raise invalid_parameter(f"The ARN is not valid: {arn_text}") from None
    kind, _, name = arn.resource.partition(":")
    name = name.removesuffix(":*")
    if arn.service != "logs" or kind != "log-group" or not name or ":" in name:
        raise invalid_parameter(f"The ARN does not name a log group: {arn_text}")
    if (arn.account_id, arn.region) != (call.account_id, call.region):
        raise invalid_parameter(f"The log group {arn_text} is in another account or region than the request.")
    return name


def existing_group(call: Call, name: str) -> LogGroup:
    """The group of that name; ResourceNotFoundException when there is none."""
    group = call.house.log_events.group(call.account_id, call.region, name)
    if group is None:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def requested_group(call: Call, request: Mapping[str, Any]) -> LogGroup:
    """The group that ``logGroupName`` or ``logGroupIdentifier`` (a name or an ARN) means; exactly one of them."""
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if name is not None and identifier is not None:
        raise invalid_parameter("LogGroup name and LogGroup identifier are mutually exclusive")
    if name is None and identifier is None:
        raise invalid_parameter("Either logGroupName or logGroupIdentifier must be given.")
    if identifier is not None:
        name = name_in_arn(call, identifier) if identifier.startswith("arn:") else identifier
    return existing_group(call, str(name))


def existing_stream(call: Call, group: LogGroup, name: str) -> LogStream:
    """The group's stream of that name; ResourceNotFoundException when there is none."""
    stream = call.house.log_events.stream(group.id, name)
    if stream is None:
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    return stream


def token(*position: int | str) -> str:
    """An opaque nextToken that remembers where a listing goes on."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode()


def position(text: str, *types: type) -> list[Any]:
    """What ``token`` was given; InvalidParameterException for anything that is not of those types."""
    try:
        values = orjson.loads(base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list):
        raise _invalid_token()
    found: list[Any] = list(values)  # pyright: ignore[reportUnknownArgumentType]
    beyond = any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in found)
    if beyond or [type(value) for value in found] != list(types):
        raise _invalid_token()
    return found


def _invalid_token() -> AwsError:
    return invalid_parameter("The specified nextToken is invalid.")
