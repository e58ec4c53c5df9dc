"""Tags of SageMaker resources: one record per resource that has any, under the resource's part of the ARN.

Place in the flow: Create operations check and store their Tags here in the transaction that makes the resource;
AddTags, ListTags and DeleteTags work on the same records; whoever removes a resource forgets its tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stagedoor.domain.arns import Arn
from stagedoor.services.sagemaker.names import validation
from stagedoor.store.records import Key, Reader, Transaction

KIND = "sagemaker.tags"
_TAGS_AT_MOST = 50

Tag = Mapping[str, str]


def _key(arn_text: str) -> Key:
    arn = Arn.parse(arn_text)
    return Key(KIND, arn.account_id, arn.region, arn.resource)


def tags_of(reader: Reader, arn: str) -> list[dict[str, str]]:
    """The tags of a resource, in order of their keys' first appearance."""
    record = reader.get(_key(arn))
    return list(record.document["Tags"]) if record else []


def add(transaction: Transaction, arn: str, tags: Sequence[Tag] | None) -> list[dict[str, str]]:
    """Add or overwrite tags of a resource; all its tags. ValidationException for keys or numbers that AWS refuses."""
    if not tags:
        return tags_of(transaction, arn)
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise validation("Duplicate tag keys found.")
    for key in keys:
        if key.lower().startswith("aws:"):
            raise validation(f"The tag key {key} begins with aws:, which is reserved for AWS.")
    merged = {tag["Key"]: tag["Value"] for tag in tags_of(transaction, arn)}
    merged |= {tag["Key"]: tag["Value"] for tag in tags}
    if len(merged) > _TAGS_AT_MOST:
        raise validation(f"A resource can have at most {_TAGS_AT_MOST} tags; {arn} would have {len(merged)}.")
    result = [{"Key": key, "Value": value} for key, value in merged.items()]
    transaction.put(_key(arn), {"Tags": result})
    return result


def remove(transaction: Transaction, arn: str, keys: Iterable[str]) -> None:
    """Remove tags; keys that are not there are no error."""
    gone = set(keys)
    left: list[dict[str, Any]] = [tag for tag in tags_of(transaction, arn) if tag["Key"] not in gone]
    if left:
        transaction.put(_key(arn), {"Tags": left})
    else:
        forget(transaction, arn)


def forget(transaction: Transaction, arn: str) -> None:
    """The resource is gone, and so are its tags."""
    transaction.delete(_key(arn))
