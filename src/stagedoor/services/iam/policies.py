"""Managed policies: AWS's own, and the account's with up to five versions each."""

from collections.abc import Mapping
from typing import Any, Final

from stagedoor.authz import managed
from stagedoor.domain import ids
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import documents, entities, paging
from stagedoor.store.records import Document, Reader

_MAX_VERSIONS: Final = 5


def create_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a customer managed policy; its document becomes v1."""
    name, path = request["PolicyName"], request.get("Path", "/")
    text = _checked(request["PolicyDocument"])
    tags = entities.tags(request.get("Tags"))
    now = int(call.now)
    document: Document = {
        "PolicyName": name,
        "PolicyId": ids.iam_id("ANPA"),
        "Arn": entities.arn(call, "policy", path, name),
        "Path": path,
        "DefaultVersionId": "v1",
        "CreateDate": now,
        "UpdateDate": now,
        "versions": [{"VersionId": "v1", "Document": text, "CreateDate": now}],
        "lastVersion": 1,
    }
    if request.get("Description"):
        document["Description"] = request["Description"]
    if tags:
        document["Tags"] = tags
    with call.house.records.transaction() as transaction:
        taken = f"A policy called {name} already exists. Duplicate names are not allowed."
        entities.refuse_taken(transaction, call, "policy", name, taken)
        transaction.insert(entities.key(call, "policy", name), document)
    shown = _shown(document, 0)
    shown.pop("Description", None)
    return {"Policy": shown}


def _checked(document: str) -> str:
    documents.check(document, "identity")
    limit = documents.MANAGED_MAX
    documents.check_size(documents.size(document), limit, f"Cannot exceed quota for PolicySize: {limit}")
    return document


def _shown(
    document: Mapping[str, Any], attachments: int, boundaries: int = 0, *, with_tags: bool = True
) -> dict[str, Any]:
    names = ("PolicyName", "PolicyId", "Arn", "Path", "DefaultVersionId", "CreateDate", "UpdateDate")
    shown: dict[str, Any] = {name: document[name] for name in names}
    shown |= {
        "AttachmentCount": attachments,
        "PermissionsBoundaryUsageCount": boundaries,
        "IsAttachable": True,
    }
    if document.get("Description"):
        shown["Description"] = document["Description"]
    if with_tags and document.get("Tags"):
        shown["Tags"] = document["Tags"]
    return shown


def _aws(policy: managed.ManagedPolicy) -> Document:
    """An AWS managed policy in the form of a record."""
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.version,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
        "Description": policy.description,
        "versions": [
            {"VersionId": policy.version, "Document": policy.document, "CreateDate": policy.updated_at}
        ],
    }


def _find(reader: Reader, call: Call, policy_arn: str) -> Document:
    """A copy of a managed policy's document, AWS's or the account's. NoSuchEntity."""
    aws = managed.by_arn().get(policy_arn)
    if aws is not None:
        return _aws(aws)
    record = reader.get(entities.key(call, "policy", policy_arn.rpartition("/")[2]))
    if record is None or record.document["Arn"] != policy_arn:
        raise entities.no_such_entity(f"Policy {policy_arn} was not found.")
    return dict(record.document)


def _find_own(reader: Reader, call: Call, policy_arn: str) -> Document:
    """As ``_find``, of those that the account may change."""
    if policy_arn.startswith(managed.ARN_PREFIX):
        raise AwsError("AccessDenied", f"Policy {policy_arn} is outside your own account.", status=403)
    return _find(reader, call, policy_arn)


def get_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One managed policy without its documents."""
    reader = call.house.records
    policy_arn = request["PolicyArn"]
    document = _find(reader, call, policy_arn)
    attachments = len(entities.attached_to(reader, call, policy_arn))
    return {"Policy": _shown(document, attachments, len(entities.bounded_by(reader, call, policy_arn)))}


def list_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Managed policies by name: of AWS, of the account, or both."""
    scope, prefix = request.get("Scope", "All"), request.get("PathPrefix", "/")
    found: list[Document] = []
    if scope != "Local":
        found += [_aws(policy) for policy in managed.by_arn().values()]
    if scope != "AWS":
        found += [record.document for record in call.house.records.list("iam.policy", call.account_id)]
    attached, bounds = _usage_counts(call)
    usage = request.get("PolicyUsageFilter")
    shown = [
        _shown(document, attached.get(document["Arn"], 0), bounds.get(document["Arn"], 0), with_tags=False)
        for document in found
        if document["Path"].startswith(prefix)
        and (not request.get("OnlyAttached") or attached.get(document["Arn"], 0))
        and (usage != "PermissionsBoundary" or bounds.get(document["Arn"], 0))
        and (usage != "PermissionsPolicy" or attached.get(document["Arn"], 0))
    ]
    for policy in shown:
        policy.pop("Description", None)
    shown.sort(key=_sort_name)
    return paging.page(request, "Policies", shown, _sort_name)


def _sort_name(policy: Mapping[str, Any]) -> str:
    return f"{policy['PolicyName']} {policy['Arn']}"


def _usage_counts(call: Call) -> tuple[dict[str, int], dict[str, int]]:
    """How often each policy is attached, and how often it is a permissions boundary."""
    attached: dict[str, int] = {}
    bounds: dict[str, int] = {}
    for kind in entities.KINDS:
        for record in call.house.records.list(f"iam.{kind}", call.account_id):
            for arn in record.document.get("attachedPolicies", ()):
                attached[arn] = attached.get(arn, 0) + 1
            bound = record.document.get("permissionsBoundary")
            if bound is not None:
                bounds[bound] = bounds.get(bound, 0) + 1
    return attached, bounds


def delete_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a policy that nobody has, and that has one version only."""
    policy_arn = request["PolicyArn"]
    with call.house.records.transaction() as transaction:
        document = _find_own(transaction, call, policy_arn)
        if entities.attached_to(transaction, call, policy_arn) or entities.bounded_by(
            transaction, call, policy_arn
        ):
            raise entities.delete_conflict("Cannot delete a policy attached to entities.")
        if len(document["versions"]) > 1:
            raise entities.delete_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        transaction.delete(entities.key(call, "policy", document["PolicyName"]))
    return {}


# --- Versions ---------------------------------------------------------------------------------------------------


def create_policy_version(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add a version, and make it the one in force when ``SetAsDefault`` says so."""
    text = _checked(request["PolicyDocument"])
    now = int(call.now)
    with call.house.records.transaction() as transaction:
        document = _find_own(transaction, call, request["PolicyArn"])
        if len(document["versions"]) >= _MAX_VERSIONS:
            raise entities.limit_exceeded(
                f"A managed policy can have up to {_MAX_VERSIONS} versions. Before you create a new version, you must "
                "delete an existing version."
            )
        number = document["lastVersion"] + 1
        version = {"VersionId": f"v{number}", "Document": text, "CreateDate": now}
        document |= {"versions": [*document["versions"], version], "lastVersion": number, "UpdateDate": now}
        if request.get("SetAsDefault"):
            document["DefaultVersionId"] = version["VersionId"]
        transaction.put(entities.key(call, "policy", document["PolicyName"]), document)
    shown = _version(document, version)
    shown.pop("Document")
    return {"PolicyVersion": shown}


def _version(document: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
    return {**version, "IsDefaultVersion": version["VersionId"] == document["DefaultVersionId"]}


def _find_version(document: Mapping[str, Any], version_id: str) -> dict[str, Any]:
    for version in document["versions"]:
        if version["VersionId"] == version_id:
            return version
    raise entities.no_such_entity(
        f"Policy {document['Arn']} version {version_id} does not exist or is not attachable."
    )


def get_policy_version(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One version with its document."""
    document = _find(call.house.records, call, request["PolicyArn"])
    return {"PolicyVersion": _version(document, _find_version(document, request["VersionId"]))}


def list_policy_versions(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All versions, the newest first, without their documents."""
    document = _find(call.house.records, call, request["PolicyArn"])
    found = [_version(document, version) for version in reversed(document["versions"])]
    for version in found:
        version.pop("Document")
    # Pages go on behind the marker in ascending order, so newer versions sort first by what is left up to a bound.
    return paging.page(
        request, "Versions", found, lambda version: f"{10**9 - int(version['VersionId'][1:]):010d}"
    )


def set_default_policy_version(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Put another version in force."""
    with call.house.records.transaction() as transaction:
        document = _find_own(transaction, call, request["PolicyArn"])
        version = _find_version(document, request["VersionId"])
        document |= {"DefaultVersionId": version["VersionId"], "UpdateDate": int(call.now)}
        transaction.put(entities.key(call, "policy", document["PolicyName"]), document)
    return {}


def delete_policy_version(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a version that is not in force."""
    with call.house.records.transaction() as transaction:
        document = _find_own(transaction, call, request["PolicyArn"])
        version = _find_version(document, request["VersionId"])
        if version["VersionId"] == document["DefaultVersionId"]:
            raise entities.delete_conflict("Cannot delete the default version of a policy.")
        document["versions"] = [one for one in document["versions"] if one is not version]
        transaction.put(entities.key(call, "policy", document["PolicyName"]), document)
    return {}


# --- Who has it, tags -------------------------------------------------------------------------------------------


def list_entities_for_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Who has a policy: groups, roles and users share a page, users come last."""
    reader = call.house.records
    _find(reader, call, request["PolicyArn"])
    wanted, prefix = request.get("EntityFilter"), request.get("PathPrefix", "/")
    usage = request.get("PolicyUsageFilter")
    using: list[tuple[entities.EntityKind, Document]] = []
    if usage != "PermissionsBoundary":
        using += entities.attached_to(reader, call, request["PolicyArn"])
    if usage != "PermissionsPolicy":
        using += [one for one in entities.bounded_by(reader, call, request["PolicyArn"]) if one not in using]
    found: list[tuple[str, dict[str, str]]] = []
    for kind, entity in using:
        title = kind.title()
        if wanted in {None, title} and entity["Path"].startswith(prefix):
            shown = {f"{title}Name": entity[f"{title}Name"], f"{title}Id": entity[f"{title}Id"]}
            found.append((f"Policy{title}s", shown))
    found.sort(key=_entity_name)
    answer = paging.page(request, "found", found, _entity_name)
    page: list[tuple[str, dict[str, str]]] = answer.pop("found")
    for member in ("PolicyGroups", "PolicyUsers", "PolicyRoles"):
        answer[member] = [shown for name, shown in page if name == member]
    return answer


def _entity_name(found: tuple[str, Mapping[str, str]]) -> str:
    member, shown = found
    return f"{member} {shown[member.removeprefix('Policy').removesuffix('s') + 'Name']}"


def tag_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add tags, or change their values."""
    with call.house.records.transaction() as transaction:
        document = _find_own(transaction, call, request["PolicyArn"])
        document["Tags"] = entities.merged_tags(document.get("Tags", []), request["Tags"])
        transaction.put(entities.key(call, "policy", document["PolicyName"]), document)
    return {}


def untag_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    with call.house.records.transaction() as transaction:
        document = _find_own(transaction, call, request["PolicyArn"])
        document["Tags"] = entities.remaining_tags(document.get("Tags", []), request["TagKeys"])
        transaction.put(entities.key(call, "policy", document["PolicyName"]), document)
    return {}


def list_policy_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A policy's tags by key."""
    document = _find(call.house.records, call, request["PolicyArn"])
    tags = sorted(document.get("Tags", []), key=lambda tag: tag["Key"])
    return paging.page(request, "Tags", tags, lambda tag: tag["Key"])
