"""Which API key a caller shows, from memory: read once from the store, dropped by the commit that changes a key or a plan."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stagedoor.store.records import Key, Records

_KINDS = frozenset({"apigateway.api_key", "apigateway.usage_plan"})


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key in one of its plans. ``throttle`` is requests a second and at once; None without a limit."""

    key_id: str
    value: str
    account_region: tuple[str, str]
    plan_id: str
    throttle: tuple[float, int] | None


class ApiKeys:
    """The keys of every account and region that are switched on, by value, API and stage."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: dict[tuple[bytes, str, str], KnownKey] | None = None
        self._generation = 0
        records.subscribe("apigateway.", self._changed)

    def _changed(self, keys: frozenset[Key]) -> None:
        if any(key.kind in _KINDS for key in keys):
            self._generation += 1
            self._known = None

    async def find(self, value: str, api_id: str, stage: str) -> KnownKey | None:
        """The key, when it is on and in a plan for this stage."""
        known = self._known
        if known is None:
            generation = self._generation
            known = await asyncio.to_thread(self._load)
            if generation == self._generation:
                self._known = known
        return known.get((_digest(value), api_id, stage))

    def _load(self) -> dict[tuple[bytes, str, str], KnownKey]:
        keys = {record.key: record.document for record in self._records.list("apigateway.api_key")}
        found: dict[tuple[bytes, str, str], KnownKey] = {}
        for record in self._records.list("apigateway.usage_plan"):
            plan = record.document
            for key_id in plan["keyIds"]:
                key = keys.get(record.key._replace(kind="apigateway.api_key", name=key_id))
                if key is None or not key["enabled"]:
                    continue
                known = KnownKey(
                    key_id,
                    key["value"],
                    (record.key.account_id, record.key.region),
                    plan["id"],
                    _throttle(plan),
                )
                for each in plan["apiStages"]:
                    found[_digest(key["value"]), each["apiId"], each["stage"]] = known
        return found


def _throttle(plan: Mapping[str, Any]) -> tuple[float, int] | None:
    throttle = plan.get("throttle")
    if throttle is None or throttle["rateLimit"] < 0 or throttle["burstLimit"] < 0:
        return None
    return float(throttle["rateLimit"]), int(throttle["burstLimit"])


def _digest(value: str) -> bytes:
    """Looked up by digest: how long a look-up takes tells nothing about the values that are there."""
    return hashlib.sha256(value.encode(errors="replace")).digest()
