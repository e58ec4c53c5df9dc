"""What is deployed, from memory: read once from the store, dropped by the commit that changes it.

Place in the flow: ``listener`` asks for the stage that a URL names before it matches the path.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stagedoor.public import match
from stagedoor.store.records import Key, Records


@dataclass(frozen=True, slots=True)
class DeployedStage:
    """A stage with the API as it was when its deployment was made; ``policy`` is empty for an API without one."""

    api_id: str
    account_id: str
    region: str
    stage: str
    deployment_id: str
    variables: Mapping[str, str]
    binary_media_types: frozenset[str]
    routes: match.Node
    policy: str = ""
    method_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


class DeployedStages:
    """The deployed stages of every account and region, by API id and name."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: dict[tuple[str, str], DeployedStage] = {}
        self._generation = 0
        records.subscribe("apigateway.", self._changed)

    def _changed(self, keys: frozenset[Key]) -> None:
        self._generation += 1
        apis = {key.name.partition("/")[0] for key in keys}
        for known in [known for known in self._known if known[0] in apis]:
            self._known.pop(known, None)

    async def find(self, api_id: str, stage: str) -> DeployedStage | None:
        """The stage, or None when there is no such API, no such stage, or its default endpoint is closed."""
        known = self._known.get((api_id, stage))
        if known is not None:
            return known
        generation = self._generation
        loaded = await asyncio.to_thread(self._load, api_id, stage)
        if loaded is not None and generation == self._generation:
            self._known[api_id, stage] = loaded
        return loaded

    def _load(self, api_id: str, stage: str) -> DeployedStage | None:
        found = [r for r in self._records.list("apigateway.rest_api", prefix=api_id) if r.name == api_id]
        if not found or found[0].document.get("disableExecuteApiEndpoint"):
            return None
        _, account_id, region, _ = found[0].key
        staged = self._records.get(Key("apigateway.stage", account_id, region, f"{api_id}/{stage}"))
        if staged is None:
            return None
        deployment_id = staged.document["deploymentId"]
        deployment = self._records.get(
            Key("apigateway.deployment", account_id, region, f"{api_id}/{deployment_id}")
        )
        if deployment is None:
            return None
        snapshot: dict[str, Any] = deployment.document["snapshot"]
        return DeployedStage(
            api_id,
            account_id,
            region,
            stage,
            deployment_id,
            staged.document.get("variables", {}),
            frozenset(kind.lower() for kind in snapshot["binaryMediaTypes"]),
            match.build(snapshot["resources"]),
            snapshot.get("policy", ""),
            staged.document["methodSettings"],
        )
