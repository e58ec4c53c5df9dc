"""From a function's name and qualifier to what the data path runs: reads the store once, then memory serves.

Place in the flow: invocations and API Gateway ask for a ``FunctionRoute``; ``traffic.function_routes`` keeps it until a
commit touches the function.
"""

from collections.abc import Awaitable, Callable

from stagedoor.services.call import House
from stagedoor.services.lambda_ import stored
from stagedoor.services.lambda_.naming import LATEST, FunctionRef
from stagedoor.services.lambda_.permissions import policy_text
from stagedoor.store.records import Document, Reader
from stagedoor.traffic.function_routes import FunctionRoute, FunctionVersion, RouteKey, VersionKey


async def route_of(house: House, ref: FunctionRef) -> FunctionRoute:
    """Where the calls for ``ref`` go; ResourceNotFoundException when there is no such function or qualifier."""
    key = RouteKey(ref.account_id, ref.region, ref.name, ref.qualifier)
    return await house.function_pools.routes.route(key, lambda: _load(house.records, ref))


def resolver(house: House) -> Callable[[RouteKey], Awaitable[FunctionRoute]]:
    """``route_of`` for who may not know this service: the reconciler that runs queued events."""
    return lambda key: route_of(house, FunctionRef(key.account_id, key.region, key.name, key.qualifier))


def _load(records: Reader, ref: FunctionRef) -> FunctionRoute:
    document = stored.existing(records, ref)
    qualifier = ref.qualifier or LATEST
    weights: dict[str, float] = {qualifier: 1.0}
    if not stored.is_version(qualifier):
        alias = stored.alias(records, ref)
        if alias is None:
            raise ref.not_found()
        additional: dict[str, float] = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        weights = {alias["FunctionVersion"]: 1.0 - sum(additional.values()), **additional}
    choices = tuple(
        (_version(records, ref, version, document), weight)
        for version, weight in weights.items()
        if weight > 0
    )
    policy = document["policies"].get(ref.qualifier)
    return FunctionRoute(ref.arn, choices, policy_text(policy) if policy is not None else None)


def _version(records: Reader, ref: FunctionRef, version: str, document: Document) -> FunctionVersion:
    configured = stored.configuration(records, ref.at(version))
    return FunctionVersion(
        VersionKey(ref.account_id, ref.region, ref.name, version),
        configured["RevisionId"],
        configured["Timeout"],
        configured["MemorySize"],
        document.get("reservedConcurrency"),
    )
