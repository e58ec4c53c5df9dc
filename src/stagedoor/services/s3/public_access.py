"""Public or not: what a bucket policy says to everybody, and what the public access block makes of it.

Place in the flow: ``bucket_policies`` refuses public policies where the block says so; ``front.authorise`` and
``public.websites`` ask ``policies_for`` which resource policies count for a caller.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

from stagedoor.authz.caller import Caller
from stagedoor.services.call import House
from stagedoor.services.s3 import members
from stagedoor.store.object_rows import Bucket
from stagedoor.store.records import Key

POLICY_KIND: Final = "s3.bucket_policy"

ALL_BLOCKED: Final[Mapping[str, bool]] = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}

# Conditions that narrow a statement for "*" to callers that somebody fixed, so that it is not public. S3 documents the
# list; values with wildcards do not count (addresses: those that are too wide).
_NARROWING: Final = frozenset(
    {
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:principalaccount",
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:sourceowner",
        "aws:sourceorgid",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    }
)
_OPERATORS: Final = frozenset(
    {"stringequals", "stringlike", "stringequalsignorecase", "arnequals", "arnlike"}
)


def policy_key(account_id: str, bucket: str) -> Key:
    """Where a bucket's policy is kept."""
    return Key(POLICY_KIND, account_id, "", bucket)


def policy_of(house: House, bucket: Bucket) -> str | None:
    """The bucket's policy document, or None."""
    record = house.records.get(policy_key(bucket.account_id, bucket.name))
    return None if record is None else str(record.document["Policy"])


def forget_policy(house: House, account_id: str, bucket: str) -> None:
    """Remove the policy of a bucket that is gone."""
    key = policy_key(account_id, bucket)
    if house.records.get(key) is not None:
        with house.records.transaction() as transaction:
            transaction.delete(key)


def blocks(bucket: Bucket, name: str) -> bool:
    """Whether a setting of the public access block (``BlockPublicPolicy``, …) is on."""
    return bool(members.document(bucket.settings, "PublicAccessBlockConfiguration").get(name))


def policies_for(house: House, bucket: Bucket, caller: Caller) -> tuple[str, ...]:
    """The resource policies that count for a caller.

    With RestrictPublicBuckets a public policy still counts for the bucket's own account and for AWS services, but for
    nobody else.
    """
    document = policy_of(house, bucket)
    if document is None:
        return ()
    trusted = caller.kind == "service" or caller.account_id == bucket.account_id
    if not trusted and blocks(bucket, "RestrictPublicBuckets") and is_public(document):
        return ()
    return (document,)


@lru_cache(maxsize=1024)
def is_public(document: str) -> bool:
    """Whether a policy allows something to everybody."""
    return any(_is_public_statement(statement) for statement in statements_of(document))


def statements_of(document: str) -> list[dict[str, Any]]:
    """The statements of a policy that was found valid."""
    parsed: dict[str, Any] = json.loads(document)
    found: Any = parsed.get("Statement", [])
    return [found] if isinstance(found, dict) else found


def _is_public_statement(statement: Mapping[str, Any]) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    # Everybody but some is everybody.
    if "NotPrincipal" not in statement and not _names_everybody(statement.get("Principal")):
        return False
    return not any(
        _narrows(operator, key, values)
        for operator, keys in members.document(statement, "Condition").items()
        for key, values in keys.items()
    )


def _names_everybody(principal: object) -> bool:
    if principal == "*":
        return True
    named = cast(dict[str, Any], principal) if isinstance(principal, dict) else {}
    return any("*" in _listed(named.get(kind)) for kind in ("AWS", "CanonicalUser"))


def _listed(values: object) -> list[str]:
    if isinstance(values, list):
        return [str(item) for item in cast(list[object], values)]
    return [] if values is None else [str(values)]


def _narrows(operator: str, key: str, values: object) -> bool:
    name, items = key.lower(), _listed(values)
    if name == "aws:sourceip":
        return operator.lower() == "ipaddress" and bool(items) and not any(_is_wide(item) for item in items)
    return (
        name in _NARROWING
        and operator.lower().removeprefix("foranyvalue:") in _OPERATORS
        and bool(items)
        and not any(wild in item for item in items for wild in ("*", "?", "${"))
    )


def _is_wide(network: str) -> bool:
    """Wider than /8 (IPv6: /32) is not a fixed set of addresses, as S3 counts."""
    _, slash, length = network.partition("/")
    if not slash:
        return False
    return not length.isdigit() or int(length) < (32 if ":" in network else 8)
