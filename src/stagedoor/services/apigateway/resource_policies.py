"""The resource policy of an API: who may call its methods. Stored with the API, in force with the next deployment."""

import json
from typing import Any, cast

from stagedoor.authz import policy_document
from stagedoor.authz.policy_document import PolicyError
from stagedoor.services.apigateway import stored
from stagedoor.services.call import Call

_SHORT = "execute-api:/"
_MAX_BYTES = 8192


def checked(call: Call, api_id: str, text: str) -> str:
    """The policy as it is stored: resources written ``execute-api:/stage/METHOD/path`` become ARNs of this API.

    BadRequestException when it is none, or speaks of other things than ``execute-api``.
    """
    if len(text.encode()) > _MAX_BYTES:
        raise _invalid(f"it is larger than {_MAX_BYTES} bytes")
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("it is not JSON") from None
    arn = f"arn:aws:execute-api:{call.region}:{call.account_id}:{api_id}/"
    for statement in _statements(document):
        for member in ("Resource", "NotResource"):
            if member in statement:
                statement[member] = _expanded(statement[member], arn)
        for action in _texts(statement.get("Action", statement.get("NotAction"))):
            if action != "*" and not action.lower().startswith("execute-api:"):
                raise _invalid(f"the action {action} is none of execute-api")
    expanded = json.dumps(document, separators=(",", ":"))
    try:
        policy_document.validate(expanded, "resource")
    except PolicyError as error:
        raise _invalid(str(error)) from error
    return expanded


def shown(policy: str) -> str:
    """The policy as GetRestApi answers it: with its quotes and backslashes escaped once more, as AWS has it."""
    return json.dumps(policy)[1:-1]


def _statements(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return []
    found = cast("dict[str, Any]", document).get("Statement")
    items = cast("list[Any]", found) if isinstance(found, list) else [found]
    return [cast("dict[str, Any]", each) for each in items if isinstance(each, dict)]


def _texts(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [each for each in items if isinstance(each, str)]


def _expanded(value: Any, arn: str) -> Any:
    if isinstance(value, list):
        return [_expanded(each, arn) for each in cast("list[Any]", value)]
    if isinstance(value, str) and value.startswith(_SHORT):
        return arn + value.removeprefix(_SHORT)
    return value


def _invalid(why: str) -> Exception:
    return stored.bad_request(
        f"Invalid policy document. Please check the policy syntax and ensure that Principals are valid: {why}"
    )
