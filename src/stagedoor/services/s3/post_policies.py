"""The policy of a browser upload: which form its signer allows, until when. Pure.

Source: "POST policy" in S3's reference. Every field of a form must be allowed by a condition; what is not is refused by name.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from stagedoor.domain.errors import AwsError

# What no condition speaks of: the policy, what is signed with it, the file.
_FREE: Final = frozenset({"policy", "x-amz-signature", "signature", "awsaccesskeyid", "file"})
_FREE_PREFIX: Final = "x-ignore-"


class SizeRange(NamedTuple):
    """How many bytes a file may have."""

    least: int
    most: int


def check(encoded: str, fields: Mapping[str, str], bucket: str, now: float) -> SizeRange | None:
    """What the policy says about the file's size, when it allows these fields (lower-case names) at ``now``.

    AwsError AccessDenied names what it does not allow; InvalidPolicyDocument what is no policy.
    """
    policy = _decoded(encoded)
    if _epoch_s(policy.get("expiration")) <= now:
        raise _refused("Policy expired.")
    conditions: Any = policy.get("conditions")
    if not isinstance(conditions, list):
        raise _invalid("Invalid Policy: conditions must be a list.")
    given = {**fields, "bucket": bucket}
    covered: set[str] = set()
    size: SizeRange | None = None
    for condition in cast("list[Any]", conditions):
        for operator, name, value in _read(condition):
            if operator == "content-length-range":
                size = SizeRange(int(name), int(value))
                continue
            field = name.lower()
            covered.add(field)
            found = given.get(field, "")
            if not (found.startswith(value) if operator == "starts-with" else found == value):
                shown = json.dumps([operator, f"${name}", value])
                raise _refused(f"Policy Condition failed: {shown}")
    extra = sorted(
        name for name in fields if name not in covered | _FREE and not name.startswith(_FREE_PREFIX)
    )
    if extra:
        raise _refused(f"Extra input fields: {', '.join(extra)}")
    return size


def _read(condition: Any) -> list[tuple[str, str, str]]:
    """Operator, name, value; for a range of sizes operator, least, most."""
    if isinstance(condition, dict):
        pairs = cast("dict[str, Any]", condition)
        return [("eq", str(name).removeprefix("$"), str(value)) for name, value in pairs.items()]
    items = cast("list[Any]", condition) if isinstance(condition, list) else []
    if len(items) == 3 and isinstance(items[0], str):
        operator, name, value = items[0].lower(), items[1], items[2]
        if operator == "content-length-range" and _is_size(name) and _is_size(value):
            return [(operator, str(int(name)), str(int(value)))]
        if operator in ("eq", "starts-with") and isinstance(name, str) and isinstance(value, str):
            return [(operator, name.removeprefix("$"), value)]
    raise _invalid(f"Invalid Policy: Invalid Conditions: {json.dumps(condition)[:200]}")


def _is_size(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) < 16
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15


def _decoded(encoded: str) -> dict[str, Any]:
    try:
        policy: Any = json.loads(base64.b64decode("".join(encoded.split()), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid Policy: Invalid JSON.") from None
    if not isinstance(policy, dict):
        raise _invalid("Invalid Policy: Invalid JSON.")
    return cast("dict[str, Any]", policy)


def _epoch_s(expiration: Any) -> float:
    try:
        moment = datetime.fromisoformat(str(expiration))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _invalid(f"Invalid Policy: Invalid 'expiration' value: '{str(expiration)[:60]}'") from None


def _refused(why: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {why}", status=403)


def _invalid(why: str) -> AwsError:
    return AwsError("InvalidPolicyDocument", why, status=400)
