"""Aliases: names for one version, or for two with weights."""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.lambda_ import stored
from stagedoor.services.lambda_.naming import ALIAS_KIND, LATEST, FunctionRef, invalid, unqualified_function
from stagedoor.services.lambda_.pages import page
from stagedoor.store.records import AlreadyExistsError, Document, Reader

_MAX_ADDITIONAL = 1


def create_alias(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make an alias for a version."""
    ref = unqualified_function(call, request["FunctionName"]).at(request["Name"])
    document: Document = {
        "AliasArn": ref.arn,
        "Name": ref.qualifier,
        "FunctionVersion": request["FunctionVersion"],
        "Description": request.get("Description", ""),
        "RevisionId": stored.new_revision(),
    }
    with call.house.records.transaction() as transaction:
        _check_version(transaction, ref, request["FunctionVersion"])
        weights = _weights(transaction, ref, request["FunctionVersion"], request.get("RoutingConfig"))
        if weights:
            document["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        try:
            transaction.insert(ref.alias_key(ref.qualifier), document)
        except AlreadyExistsError as error:
            raise AwsError(
                "ResourceConflictException", f"Alias already exists: {ref.arn}", status=409
            ) from error
    return document


def _check_version(reader: Reader, ref: FunctionRef, version: str) -> None:
    target = ref.at(version)
    if reader.get(ref.key) is None:
        raise target.not_found()
    if version != LATEST and reader.get(ref.version_key(version)) is None:
        raise target.not_found()


def _weights(
    reader: Reader, ref: FunctionRef, version: str, routing: Mapping[str, Any] | None
) -> dict[str, float]:
    weights: dict[str, float] = dict((routing or {}).get("AdditionalVersionWeights") or {})
    if len(weights) > _MAX_ADDITIONAL:
        raise invalid(f"Number of items in AdditionalVersionWeights cannot be greater than {_MAX_ADDITIONAL}")
    for other, weight in weights.items():
        if LATEST in (version, other):
            raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
        if other == version:
            raise invalid(
                f"Invalid function version {other}. Function version {other} is already included in routing configuration."
            )
        if not 0.0 <= weight <= 1.0:
            raise invalid(f"The weight {weight} of version {other} is not between 0.0 and 1.0.")
        _check_version(reader, ref, other)
    return weights


def _existing(reader: Reader, ref: FunctionRef, said: str = "Cannot find alias arn") -> Document:
    found = stored.alias(reader, ref)
    if found is None:
        raise AwsError("ResourceNotFoundException", f"{said}: {ref.arn}", status=404)
    return found


def get_alias(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One alias."""
    ref = unqualified_function(call, request["FunctionName"]).at(request["Name"])
    return _existing(call.house.records, ref)


def list_aliases(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The aliases of a function by name; with ``FunctionVersion`` those that point to it."""
    ref = unqualified_function(call, request["FunctionName"])
    stored.existing(call.house.records, ref)
    version = request.get("FunctionVersion")
    records = call.house.records.list(ALIAS_KIND, ref.account_id, ref.region, prefix=f"{ref.name}:")
    found = [record.document for record in records]
    return page("Aliases", [one for one in found if version in (None, one["FunctionVersion"])], request)


def update_alias(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Point an alias elsewhere; the next event goes there. An empty RoutingConfig ends the sharing."""
    ref = unqualified_function(call, request["FunctionName"]).at(request["Name"])
    with call.house.records.transaction() as transaction:
        document = dict(_existing(transaction, ref, "Alias not found"))
        stored.check_revision(request.get("RevisionId"), document["RevisionId"])
        if "FunctionVersion" in request:
            _check_version(transaction, ref, request["FunctionVersion"])
            document["FunctionVersion"] = request["FunctionVersion"]
        if "Description" in request:
            document["Description"] = request["Description"]
        routing = request.get("RoutingConfig", document.get("RoutingConfig"))
        weights = _weights(transaction, ref, document["FunctionVersion"], routing)
        document.pop("RoutingConfig", None)
        if weights:
            document["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        document["RevisionId"] = stored.new_revision()
        transaction.put(ref.alias_key(ref.qualifier), document)
    return document


def delete_alias(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove an alias with its permissions; no error when there is none."""
    ref = unqualified_function(call, request["FunctionName"]).at(request["Name"])
    with call.house.records.transaction() as transaction:
        document = stored.existing(transaction, ref.at(""))
        if transaction.delete(ref.alias_key(ref.qualifier)) and ref.qualifier in document["policies"]:
            policies = {key: value for key, value in document["policies"].items() if key != ref.qualifier}
            transaction.put(ref.key, {**document, "policies": policies})
    return {}
