"""Versions: snapshots of ``$LATEST`` that never change."""

from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.lambda_ import stored
from stagedoor.services.lambda_.naming import LATEST, VERSION_KIND, FunctionRef, invalid, requested_function
from stagedoor.services.lambda_.pages import page
from stagedoor.store.records import Document, Transaction


def publish_version(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Publish ``$LATEST``; the last version again when nothing changed since."""
    ref = requested_function(call, request["FunctionName"])
    if ref.qualifier not in ("", LATEST):
        raise invalid("Only $LATEST can be published.")
    ref = ref.at("")
    if request.get("PublishTo"):
        raise invalid("stagedoor does not support PublishTo for functions.")
    with call.house.records.transaction() as transaction:
        document = stored.existing(transaction, ref)
        latest = document["Configuration"]
        digest = request.get("CodeSha256")
        if digest and digest != latest["CodeSha256"]:
            raise invalid(
                f"CodeSHA256 ({digest}) is different from current CodeSHA256 in $LATEST ({latest['CodeSha256']}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
        stored.check_revision(request.get("RevisionId"), latest["RevisionId"])
        configured = publish(call, transaction, ref, document, request.get("Description"))
    return stored.answered(configured, ref, qualified=True)


def publish(
    call: Call, transaction: Transaction, ref: FunctionRef, document: Document, description: str | None
) -> Document:
    """Store ``$LATEST`` as the next version within a transaction; its configuration. ``document``: the function's."""
    latest = document["Configuration"]
    number = document["lastVersion"]
    if number and document.get("publishedRevision") == latest["RevisionId"]:
        record = transaction.get(ref.version_key(str(number)))
        if record is not None:
            return record.document["Configuration"]
    version = str(number + 1)
    configured = {**latest, "Version": version, "RevisionId": stored.new_revision()}
    if description:
        configured["Description"] = description
    transaction.insert(ref.version_key(version), {"Configuration": configured})
    transaction.put(
        ref.key, {**document, "lastVersion": number + 1, "publishedRevision": latest["RevisionId"]}
    )
    return configured


def list_versions_by_function(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """``$LATEST`` first, then the published versions in order, each with its qualified ARN."""
    ref = requested_function(call, request["FunctionName"]).at("")
    document = stored.existing(call.house.records, ref)
    records = call.house.records.list(VERSION_KIND, ref.account_id, ref.region, prefix=f"{ref.name}:")
    published = sorted(
        (record.document["Configuration"] for record in records), key=lambda c: int(c["Version"])
    )
    found = [stored.answered(one, ref, qualified=True) for one in (document["Configuration"], *published)]
    return page("Versions", found, request)
