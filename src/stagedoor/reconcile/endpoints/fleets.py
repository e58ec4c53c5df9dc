"""Endpoints' records as the reconciler reads and writes them.

The fleets in a record are made by ``services.sagemaker.deployments``; that module's text says what is in them.
"""

from collections.abc import Mapping
from typing import Any

from stagedoor.reconcile.endpoints.plan import Fleet, Outcome, Variant
from stagedoor.store.records import Document, Key

KIND = "sagemaker.endpoint"
TAGS_KIND = "sagemaker.tags"
_REASON_AT_MOST = 1024


def read(fleet: Mapping[str, Any] | None) -> Fleet | None:
    """A fleet of a record as the plan wants it."""
    if fleet is None:
        return None
    variants = tuple(Variant(each["name"], each["weight"], each["count"]) for each in fleet["variants"])
    return Fleet(fleet["generation"], variants)


def variant_of(document: Document, generation: int, name: str) -> Document | None:
    """All that a record says about a variant of a generation: its model, environment, time to start."""
    for member in ("coming", "serving"):
        fleet = document.get(member)
        if fleet is not None and fleet["generation"] == generation:
            for variant in fleet["variants"]:
                if variant["name"] == name:
                    return variant
    return None


def artifacts(document: Document) -> list[dict[str, Any]]:
    """The model data, and the sources of scripts, that an endpoint's fleets need."""
    fleets = [document[member] for member in ("serving", "coming") if document.get(member)]
    variants = [variant for fleet in fleets for variant in fleet["variants"]]
    sources = [variant["program"]["source"] for variant in variants if "source" in variant.get("program", {})]
    return [*(variant["artifact"] for variant in variants), *sources]


def after(document: Document, outcome: Outcome, now: float) -> Document:
    """The record after a takeover or a failure of the coming fleet."""
    changed = {
        member: value
        for member, value in document.items()
        if member not in ("coming", "comingSince", "FailureReason", "startFailure")
    }
    changed["LastModifiedTime"] = now
    if outcome.kind == "takeover":
        changed["serving"] = document["coming"]
        changed["EndpointConfigName"] = document["coming"]["configName"]
        changed["EndpointStatus"] = "InService"
    else:
        changed["FailureReason"] = outcome.reason[:_REASON_AT_MOST]
        changed["EndpointStatus"] = "InService" if "serving" in document else "Failed"
    return changed


def with_start_failure(document: Document, reason: str | None) -> Document:
    """The record of an endpoint that serves, with why its workers did not come up; the same one when it says so already."""
    if (
        "serving" not in document
        or reason is None
        or document.get("startFailure", "") == reason[:_REASON_AT_MOST]
    ):
        return document
    changed = {member: value for member, value in document.items() if member != "startFailure"}
    return changed | {"startFailure": reason[:_REASON_AT_MOST]} if reason else changed


def tags_key(endpoint: Key) -> Key:
    """Where the tags of an endpoint are."""
    return Key(TAGS_KIND, endpoint.account_id, endpoint.region, f"endpoint/{endpoint.name}")
