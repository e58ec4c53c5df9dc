"""Access keys of users. A key that is made inactive or deleted is refused with the very next request."""

from typing import Any, Final

from stagedoor.domain import ids
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, paging
from stagedoor.store.records import Record, Transaction

_MAX_KEYS: Final = 2


def create_access_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a key pair; this answer alone shows its secret."""
    user_name = entities.user_name_of(call, request)
    access_key_id = ids.iam_id("AKIA")
    document = {
        "UserName": user_name,
        "AccessKeyId": access_key_id,
        "Status": "Active",
        "CreateDate": int(call.now),
        "secretAccessKey": ids.secret_access_key(),
    }
    with call.house.records.transaction() as transaction:
        entities.find(transaction, call, "user", user_name)
        present = transaction.list("iam.access_key", call.account_id)
        if sum(record.document["UserName"] == user_name for record in present) >= _MAX_KEYS:
            raise entities.limit_exceeded(f"Cannot exceed quota for AccessKeysPerUser: {_MAX_KEYS}")
        transaction.insert(entities.key(call, "access_key", access_key_id), document)
    shown = {name: document[name] for name in ("UserName", "AccessKeyId", "Status", "CreateDate")}
    return {"AccessKey": {**shown, "SecretAccessKey": document["secretAccessKey"]}}


def list_access_keys(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A user's keys, without their secrets."""
    user_name = entities.user_name_of(call, request)
    entities.find(call.house.records, call, "user", user_name)
    found = [
        {name: record.document[name] for name in ("UserName", "AccessKeyId", "Status", "CreateDate")}
        for record in call.house.records.list("iam.access_key", call.account_id)
        if record.document["UserName"] == user_name
    ]
    return paging.page(request, "AccessKeyMetadata", found, lambda key: key["AccessKeyId"])


def update_access_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a key active or inactive."""
    if request["Status"] not in {"Active", "Inactive"}:
        raise AwsError(
            "ValidationError", "Status must be Active or Inactive: keys do not expire here.", status=400
        )
    with call.house.records.transaction() as transaction:
        record = _find(transaction, call, request)
        transaction.put(record.key, {**record.document, "Status": request["Status"]})
    return {}


def delete_access_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a key."""
    with call.house.records.transaction() as transaction:
        transaction.delete(_find(transaction, call, request).key)
    return {}


def _find(transaction: Transaction, call: Call, request: dict[str, Any]) -> Record:
    user_name = entities.user_name_of(call, request)
    entities.find(transaction, call, "user", user_name)
    record = transaction.get(entities.key(call, "access_key", request["AccessKeyId"]))
    if record is None or record.document["UserName"] != user_name:
        raise entities.no_such_entity(f"The Access Key with id {request['AccessKeyId']} cannot be found.")
    return record


def get_access_key_last_used(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """When, where and with which service a key was last used, to about a quarter of an hour."""
    access_key_id = request["AccessKeyId"]
    record = call.house.records.get(entities.key(call, "access_key", access_key_id))
    if record is None:
        # AWS does not tell unknown keys from those of other accounts.
        raise AwsError(
            "AccessDenied",
            f"User: {call.caller.arn} is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key "
            f"{access_key_id}",
            status=403,
        )
    used = call.house.principals.last_use(access_key_id)
    last_used: dict[str, Any] = {"ServiceName": "N/A", "Region": "N/A"}
    if used is not None:
        last_used = {"LastUsedDate": used.at, "ServiceName": used.service, "Region": used.region}
    return {"UserName": record.document["UserName"], "AccessKeyLastUsed": last_used}
