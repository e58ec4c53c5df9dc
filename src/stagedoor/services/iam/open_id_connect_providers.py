"""OpenID Connect providers: whose word about somebody a role may trust (AssumeRoleWithWebIdentity)."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import entities, paging
from stagedoor.store.records import Document, Reader, Transaction

_KIND: Final = "oidc_provider"
_MAX_CLIENTS: Final = 100
_MAX_THUMBPRINTS: Final = 5


def create_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Record a provider. Its address is the issuer of its tokens; nothing is fetched from there."""
    address: str = request["Url"]
    url = urlsplit(address)
    if url.scheme != "https" or not url.hostname or url.query or url.fragment or url.username:
        raise entities.invalid_input(
            "Invalid Open ID Connect Provider URL: it must be https://, without a query."
        )
    issuer = f"{url.netloc}{url.path.rstrip('/')}"
    document: Document = {
        "Arn": entities.arn(call, "oidc-provider", "/", issuer),
        "Url": issuer,
        "ClientIDList": _checked(
            request.get("ClientIDList") or [], _MAX_CLIENTS, "ClientIdsPerOpenIdConnectProvider"
        ),
        "ThumbprintList": _checked(
            request.get("ThumbprintList") or [], _MAX_THUMBPRINTS, "ThumbprintsPerOpenIdConnectProvider"
        ),
        "CreateDate": int(call.now),
    }
    tags = entities.tags(request.get("Tags"))
    if tags:
        document["Tags"] = tags
    with call.house.records.transaction() as transaction:
        if transaction.get(entities.key(call, _KIND, issuer)) is not None:
            raise AwsError(
                "EntityAlreadyExists", f"Provider with url https://{issuer} already exists.", status=409
            )
        transaction.insert(entities.key(call, _KIND, issuer), document)
    return {"OpenIDConnectProviderArn": document["Arn"]} | ({"Tags": tags} if tags else {})


def _checked(values: list[str], at_most: int, quota: str) -> list[str]:
    found = list(dict.fromkeys(values))
    if len(found) > at_most:
        raise entities.limit_exceeded(f"Cannot exceed quota for {quota}: {at_most}")
    return found


def _find(reader: Reader, call: Call, request: Mapping[str, Any]) -> Document:
    arn: str = request["OpenIDConnectProviderArn"]
    issuer = arn.partition(":oidc-provider/")[2]
    record = reader.get(entities.key(call, _KIND, issuer))
    if record is None or record.document["Arn"] != arn:
        raise entities.no_such_entity(f"OpenIDConnect Provider not found for arn {arn}")
    return dict(record.document)


def _save(transaction: Transaction, call: Call, document: Mapping[str, Any]) -> None:
    transaction.put(entities.key(call, _KIND, document["Url"]), document)


def get_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One provider."""
    document = _find(call.house.records, call, request)
    return {name: value for name, value in document.items() if name != "Arn"}


def list_open_id_connect_providers(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The account's providers."""
    found = call.house.records.list(f"iam.{_KIND}", call.account_id)
    return {"OpenIDConnectProviderList": [{"Arn": record.document["Arn"]} for record in found]}


def delete_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a provider: its tokens are good for nothing from now on."""
    with call.house.records.transaction() as transaction:
        transaction.delete(entities.key(call, _KIND, _find(transaction, call, request)["Url"]))
    return {}


def add_client_id_to_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Accept tokens for one more audience."""
    with call.house.records.transaction() as transaction:
        document = _find(transaction, call, request)
        clients = [*document["ClientIDList"], request["ClientID"]]
        document["ClientIDList"] = _checked(clients, _MAX_CLIENTS, "ClientIdsPerOpenIdConnectProvider")
        _save(transaction, call, document)
    return {}


def remove_client_id_from_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Accept tokens for an audience no longer; nothing happens when it was none."""
    with call.house.records.transaction() as transaction:
        document = _find(transaction, call, request)
        document["ClientIDList"] = [one for one in document["ClientIDList"] if one != request["ClientID"]]
        _save(transaction, call, document)
    return {}


def update_open_id_connect_provider_thumbprint(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Replace the thumbprints. They are recorded: no connection is made that they could check."""
    with call.house.records.transaction() as transaction:
        document = _find(transaction, call, request)
        document["ThumbprintList"] = _checked(
            request["ThumbprintList"], _MAX_THUMBPRINTS, "ThumbprintsPerOpenIdConnectProvider"
        )
        _save(transaction, call, document)
    return {}


def tag_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add tags, or change their values."""
    with call.house.records.transaction() as transaction:
        document = _find(transaction, call, request)
        document["Tags"] = entities.merged_tags(document.get("Tags", []), request["Tags"])
        _save(transaction, call, document)
    return {}


def untag_open_id_connect_provider(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    with call.house.records.transaction() as transaction:
        document = _find(transaction, call, request)
        document["Tags"] = entities.remaining_tags(document.get("Tags", []), request["TagKeys"])
        _save(transaction, call, document)
    return {}


def list_open_id_connect_provider_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A provider's tags by key."""
    document = _find(call.house.records, call, request)
    tags = sorted(document.get("Tags", []), key=lambda tag: tag["Key"])
    return paging.page(request, "Tags", tags, lambda tag: tag["Key"])
