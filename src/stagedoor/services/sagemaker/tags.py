"""AddTags, ListTags and DeleteTags, for every SageMaker resource that this release has."""

import base64
import binascii
from typing import Any

from stagedoor.domain.arns import Arn
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import tag_sets
from stagedoor.services.sagemaker.names import TYPES, validation
from stagedoor.store.records import Reader

_PAGE_LENGTH = 50


def _checked_arn(call: Call, reader: Reader, text: str) -> str:
    """The ARN of an existing resource of this account and region; ValidationException otherwise."""
    try:
        arn = Arn.parse(text)
    except ValueError:
        raise validation(f"Invalid ARN: {text}") from None
    if arn.service != "sagemaker" or (arn.account_id, arn.region) != (call.account_id, call.region):
        raise validation(f"The ARN {text} does not name a SageMaker resource of this account and region.")
    resource = next((each for each in TYPES if each.arn_type == arn.resource_type), None)
    if resource is None:
        raise validation(
            f"Tags on {arn.resource_type} resources are not supported by this release of stagedoor."
        )
    name = arn.resource_id.lower()
    if reader.get(call.key(resource.kind, name)) is None:
        raise validation(f'Could not find {resource.noun} "{text}".')
    return call.arn("sagemaker", f"{resource.arn_type}/{name}")


def add_tags(call: Call, request: dict[str, Any]) -> Answer:
    """AddTags: adds or overwrites; answers all tags of the resource."""
    with call.house.records.transaction() as transaction:
        arn = _checked_arn(call, transaction, request["ResourceArn"])
        return {"Tags": tag_sets.add(transaction, arn, request["Tags"])}


def delete_tags(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteTags: keys that are not there are no error."""
    with call.house.records.transaction() as transaction:
        arn = _checked_arn(call, transaction, request["ResourceArn"])
        tag_sets.remove(transaction, arn, request["TagKeys"])
    return {}


def list_tags(call: Call, request: dict[str, Any]) -> Answer:
    """ListTags, by pages of 50 at least."""
    records = call.house.records
    tags = tag_sets.tags_of(records, _checked_arn(call, records, request["ResourceArn"]))
    start = _read_token(request.get("NextToken"))
    end = start + request.get("MaxResults", _PAGE_LENGTH)
    result: dict[str, Any] = {"Tags": tags[start:end]}
    if len(tags) > end:
        result["NextToken"] = base64.b64encode(f"tags:{end}".encode()).decode()
    return result


def _read_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        name, _, position = base64.b64decode(token, validate=True).decode("ascii").partition(":")
        if name == "tags" and position.isdigit():
            return int(position)
    except (ValueError, binascii.Error):
        pass
    raise validation("Invalid NextToken: use the token of the previous answer.")
