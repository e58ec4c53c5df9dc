"""Everything about who may do what in the account, in one answer."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stagedoor.authz import managed
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, instance_profile_records, paging
from stagedoor.services.iam.entities import EntityKind
from stagedoor.store.records import Document

_LISTS: Final = {
    "User": "UserDetailList",
    "Group": "GroupDetailList",
    "Role": "RoleDetailList",
    "LocalManagedPolicy": "Policies",
    "AWSManagedPolicy": "Policies",
}
_POLICY_MEMBERS: Final = (
    "PolicyName",
    "PolicyId",
    "Arn",
    "Path",
    "DefaultVersionId",
    "CreateDate",
    "UpdateDate",
    "Description",
)


def get_account_authorization_details(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Users, groups, roles and managed policies with their documents; all kinds share the pages.

    Of AWS's own policies, those that somebody has: the others are the same everywhere.
    """
    wanted: list[str] = request.get("Filter") or list(_LISTS)
    found = [(kind, detail) for kind, detail in _details(call) if kind in wanted]
    numbered = [(f"{number:08d}", entry) for number, entry in enumerate(found)]
    answer = paging.page(request, "found", numbered, lambda one: one[0])
    page: list[tuple[str, tuple[str, dict[str, Any]]]] = answer.pop("found")
    for member in dict.fromkeys(_LISTS.values()):
        answer[member] = [detail for _, (kind, detail) in page if _LISTS[kind] == member]
    return answer


def _details(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    records = call.house.records
    used: dict[str, int] = {}
    bounds: dict[str, int] = {}
    for kind in entities.KINDS:
        for record in records.list(f"iam.{kind}", call.account_id):
            yield kind.title(), _entity(call, kind, record.document)
            for arn in record.document.get("attachedPolicies", ()):
                used[arn] = used.get(arn, 0) + 1
            bound = record.document.get("permissionsBoundary")
            if bound:
                bounds[bound] = bounds.get(bound, 0) + 1
    for record in records.list("iam.policy", call.account_id):
        arn = record.document["Arn"]
        detail = {name: record.document[name] for name in _POLICY_MEMBERS if name in record.document}
        versions = [
            {**one, "IsDefaultVersion": one["VersionId"] == record.document["DefaultVersionId"]}
            for one in record.document["versions"]
        ]
        yield "LocalManagedPolicy", _policy(detail, versions, used.get(arn, 0), bounds.get(arn, 0))
    for arn, policy in managed.by_arn().items():
        if arn in used or arn in bounds:
            detail = {
                "PolicyName": policy.name,
                "PolicyId": policy.policy_id,
                "Arn": arn,
                "Path": policy.path,
                "DefaultVersionId": policy.version,
                "CreateDate": policy.created_at,
                "UpdateDate": policy.updated_at,
            }
            version = {
                "VersionId": policy.version,
                "Document": policy.document,
                "CreateDate": policy.updated_at,
                "IsDefaultVersion": True,
            }
            yield "AWSManagedPolicy", _policy(detail, [version], used.get(arn, 0), bounds.get(arn, 0))


def _policy(
    detail: Mapping[str, Any], versions: list[dict[str, Any]], attachments: int, boundaries: int
) -> dict[str, Any]:
    return {
        **detail,
        "AttachmentCount": attachments,
        "PermissionsBoundaryUsageCount": boundaries,
        "IsAttachable": True,
        "PolicyVersionList": versions,
    }


def _entity(call: Call, kind: EntityKind, document: Document) -> dict[str, Any]:
    title = kind.title()
    detail: dict[str, Any] = {
        name: document[name] for name in ("Path", f"{title}Name", f"{title}Id", "Arn", "CreateDate")
    }
    detail[f"{title}PolicyList"] = [
        {"PolicyName": name, "PolicyDocument": text}
        for name, text in sorted(document.get("inlinePolicies", {}).items())
    ]
    detail["AttachedManagedPolicies"] = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in document.get("attachedPolicies", ())
    ]
    if kind == "group":
        return detail
    detail |= entities.shown_boundary(document)
    detail["Tags"] = document.get("Tags", [])
    if kind == "user":
        return detail | {"GroupList": sorted(document.get("groups", ()))}
    records = call.house.records
    profiles = instance_profile_records.with_role(records, call, document["RoleName"])
    return detail | {
        "AssumeRolePolicyDocument": document["AssumeRolePolicyDocument"],
        "InstanceProfileList": [instance_profile_records.shown(records, call, one) for one in profiles],
    }
