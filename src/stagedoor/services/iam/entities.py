"""Users, groups, roles and policies as records: their keys, ARNs, and AWS's words for those that are missing or in the way.

Records: ``iam.user``, ``iam.group``, ``iam.role``, ``iam.policy``, ``iam.access_key``, ``iam.instance_profile``, … region ``""``,
named as AWS names them. Members that are not AWS's: ``inlinePolicies`` (name -> document text), ``attachedPolicies`` (ARNs),
``permissionsBoundary`` (ARN), ``groups`` of a user (names), ``versions`` of a policy.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from stagedoor.authz import managed
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Key, Reader, Transaction

EntityKind = Literal["user", "group", "role"]

SERVICE_LINKED_PATH: Final = "/aws-service-role/"
KINDS: Final[tuple[EntityKind, ...]] = ("user", "group", "role")
MAX_TAGS: Final = 50
MAX_ATTACHED: Final = 10


def key(call: Call, kind: str, name: str) -> Key:
    """The key of an entity of the caller's account."""
    return call.global_key(f"iam.{kind}", name)


def arn(call: Call, kind: str, path: str, name: str) -> str:
    """``arn:aws:iam::ACCOUNT:role/path/NAME``."""
    return f"arn:aws:iam::{call.account_id}:{kind}{path}{name}"


def no_such_entity(message: str) -> AwsError:
    return AwsError("NoSuchEntity", message, status=404)


def delete_conflict(message: str) -> AwsError:
    return AwsError("DeleteConflict", message, status=409)


def limit_exceeded(message: str) -> AwsError:
    return AwsError("LimitExceeded", message, status=409)


def invalid_input(message: str) -> AwsError:
    return AwsError("InvalidInput", message, status=400)


def find(reader: Reader, call: Call, kind: EntityKind, name: str) -> Document:
    """A copy of the entity's document. NoSuchEntity."""
    record = reader.get(key(call, kind, name))
    if record is None:
        raise no_such_entity(f"The {kind} with name {name} cannot be found.")
    return dict(record.document)


def save(transaction: Transaction, call: Call, kind: EntityKind, document: Mapping[str, Any]) -> None:
    """Write the entity back under its name. UnmodifiableEntity for roles that belong to a service."""
    refuse_service_linked(document)
    transaction.put(key(call, kind, document[f"{kind.title()}Name"]), document)


def refuse_service_linked(document: Mapping[str, Any]) -> None:
    """Roles of a service are made and deleted by their own operations."""
    if document["Path"].startswith(SERVICE_LINKED_PATH):
        raise AwsError(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{document.get('RoleName')}' - this role is only "
            "modifiable by AWS",
            status=400,
        )


def refuse_taken(transaction: Transaction, call: Call, kind: str, name: str, message: str) -> None:
    """EntityAlreadyExists when the name is taken: IAM compares names without regard to case."""
    if transaction.spelt(f"iam.{kind}", call.account_id, name) is not None:
        raise AwsError("EntityAlreadyExists", message, status=409)


def boundary(reader: Reader, call: Call, policy_arn: str) -> str:
    """``policy_arn`` itself, a managed policy that may be a permissions boundary. NoSuchEntity."""
    if not attachable(reader, call, policy_arn):
        raise no_such_entity(f"Scope ARN: {policy_arn} does not exist or is not attachable.")
    return policy_arn


def shown_boundary(document: Mapping[str, Any]) -> dict[str, Any]:
    """The member PermissionsBoundary of a user or role; none without one."""
    arn = document.get("permissionsBoundary")
    if arn is None:
        return {}
    return {
        "PermissionsBoundary": {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": arn,
        }
    }


def user_name_of(call: Call, request: Mapping[str, Any]) -> str:
    """The user a request means: the named one, or the caller."""
    name = request.get("UserName")
    if name is not None:
        return name
    if call.caller.kind != "user":
        raise AwsError(
            "ValidationError", "Must specify userName when calling with non-User credentials", status=400
        )
    return call.caller.arn.rpartition("/")[2]


# --- Tags -------------------------------------------------------------------------------------------------------


def tags(given: Sequence[Mapping[str, str]] | None) -> list[dict[str, str]]:
    """Tags as they are stored. InvalidInput for keys that come twice, LimitExceeded beyond 50."""
    return merged_tags([], given or [])


def merged_tags(
    present: Sequence[Mapping[str, str]], given: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """The tags after TagRole and the like. Keys compare without regard to case; those of ``aws:`` are not the user's."""
    names = [tag["Key"].lower() for tag in given]
    for name in names:
        if name.startswith("aws:"):
            raise invalid_input(f"The tag key {name!r} begins with aws:, which is reserved for AWS.")
    if len(set(names)) != len(names):
        raise invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    found = [dict(tag) for tag in present if tag["Key"].lower() not in names]
    found += [{"Key": tag["Key"], "Value": tag["Value"]} for tag in given]
    if len(found) > MAX_TAGS:
        raise limit_exceeded(f"The number of tags has reached the maximum limit: {MAX_TAGS}.")
    return found


def remaining_tags(present: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[dict[str, str]]:
    """The tags after UntagRole and the like."""
    gone = {name.lower() for name in names}
    return [dict(tag) for tag in present if tag["Key"].lower() not in gone]


# --- Managed policies -------------------------------------------------------------------------------------------


def attachable(reader: Reader, call: Call, policy_arn: str) -> bool:
    """Whether there is a managed policy of AWS or of this account under the ARN."""
    if policy_arn in managed.by_arn():
        return True
    record = reader.get(key(call, "policy", policy_arn.rpartition("/")[2]))
    return record is not None and record.document["Arn"] == policy_arn


def attached_to(reader: Reader, call: Call, policy_arn: str) -> list[tuple[EntityKind, Document]]:
    """Who has a managed policy."""
    return [
        (kind, record.document)
        for kind in KINDS
        for record in reader.list(f"iam.{kind}", call.account_id)
        if policy_arn in record.document.get("attachedPolicies", ())
    ]


def bounded_by(reader: Reader, call: Call, policy_arn: str) -> list[tuple[EntityKind, Document]]:
    """Whose permissions boundary a managed policy is."""
    return [
        (kind, record.document)
        for kind in KINDS
        for record in reader.list(f"iam.{kind}", call.account_id)
        if record.document.get("permissionsBoundary") == policy_arn
    ]
