"""The resource policy of a function, a version or an alias: who else may invoke it."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.lambda_ import stored
from stagedoor.services.lambda_.naming import LATEST, FunctionRef, invalid, requested_function
from stagedoor.store.records import Document, Reader

_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
_MAX_POLICY_BYTES = 20_480


def add_permission(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add a statement; the answer is its JSON text."""
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    if ref.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    statement = _statement(ref, request)
    with call.house.records.transaction() as transaction:
        document = _qualified(transaction, ref)
        policy = document["policies"].get(ref.qualifier, {"statements": [], "revision": ""})
        stored.check_revision(request.get("RevisionId"), policy["revision"], "GetPolicy")
        if any(found["Sid"] == statement["Sid"] for found in policy["statements"]):
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement.",
                status=409,
            )
        changed = {"statements": [*policy["statements"], statement], "revision": stored.new_revision()}
        if len(policy_text(changed)) > _MAX_POLICY_BYTES:
            raise AwsError(
                "PolicyLengthExceededException",
                f"The final policy size is bigger than the limit ({_MAX_POLICY_BYTES}).",
                status=400,
            )
        transaction.put(ref.key, {**document, "policies": {**document["policies"], ref.qualifier: changed}})
    return {"Statement": orjson.dumps(statement).decode()}


def _qualified(reader: Reader, ref: FunctionRef) -> Document:
    """The function's document, when the version or alias that is named exists."""
    document = stored.existing(reader, ref)
    if not ref.qualifier:
        return document
    if stored.is_version(ref.qualifier):
        if reader.get(ref.version_key(ref.qualifier)) is None:
            raise ref.not_found()
    elif "$" in ref.qualifier:
        raise ref.not_found()
    elif stored.alias(reader, ref) is None:
        raise AwsError("ResourceNotFoundException", f"Cannot find alias arn: {ref.arn}", status=404)
    return document


def _statement(ref: FunctionRef, request: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(request["Principal"]),
        "Action": request["Action"],
        "Resource": ref.arn,
    }
    condition: dict[str, dict[str, Any]] = {}
    equal = {
        "AWS:SourceAccount": request.get("SourceAccount"),
        "aws:PrincipalOrgID": request.get("PrincipalOrgID"),
        "lambda:EventSourceToken": request.get("EventSourceToken"),
        "lambda:FunctionUrlAuthType": request.get("FunctionUrlAuthType"),
    }
    if equal := {key: value for key, value in equal.items() if value}:
        condition["StringEquals"] = equal
    if request.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if request.get("InvokedViaFunctionUrl") is not None:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": str(request["InvokedViaFunctionUrl"]).lower()}
    if condition:
        statement["Condition"] = condition
    return statement


def _principal(principal: str) -> str | dict[str, str]:
    if principal == "*":
        return principal
    if _SERVICE.fullmatch(principal):
        return {"Service": principal}
    if re.fullmatch(r"\d{12}", principal):
        return {"AWS": f"arn:aws:iam::{principal}:root"}
    if re.fullmatch(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:.+", principal):
        return {"AWS": principal}
    raise invalid("The provided principal was invalid. Please check the principal and try again.")


def remove_permission(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Drop a statement."""
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    with call.house.records.transaction() as transaction:
        record = transaction.get(ref.key)
        if record is None:
            raise AwsError("ResourceNotFoundException", f"No policy found for: {ref.arn}", status=404)
        document = record.document
        policy = document["policies"].get(ref.qualifier)
        if policy is None:
            raise AwsError(
                "ResourceNotFoundException", "No policy is associated with the given resource.", status=404
            )
        kept = [found for found in policy["statements"] if found["Sid"] != request["StatementId"]]
        if len(kept) == len(policy["statements"]):
            raise AwsError(
                "ResourceNotFoundException",
                f"Statement {request['StatementId']} is not found in resource policy.",
                status=404,
            )
        stored.check_revision(request.get("RevisionId"), policy["revision"], "GetPolicy")
        policies = {key: value for key, value in document["policies"].items() if key != ref.qualifier}
        if kept:
            policies[ref.qualifier] = {"statements": kept, "revision": stored.new_revision()}
        transaction.put(ref.key, {**document, "policies": policies})
    return {}


def get_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The policy as JSON text."""
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    record = call.house.records.get(ref.key)
    policy = record.document["policies"].get(ref.qualifier) if record is not None else None
    if policy is None:
        raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", status=404)
    return {"Policy": policy_text(policy), "RevisionId": policy["revision"]}


def policy_text(policy: Mapping[str, Any]) -> str:
    """A stored policy as the document that GetPolicy answers."""
    return orjson.dumps(
        {"Version": "2012-10-17", "Id": "default", "Statement": policy["statements"]}
    ).decode()
