"""What the service models do not say: the typed reader of ``quirks.toml``, used all over ``wire``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Quirks:
    """The deviations of one service; each field is explained in ``quirks.toml``."""

    validation_code: str
    serialization_code: str
    serialization_message: str
    iso8601_fraction: str
    request_id_header: str
    missing_in_body_code: str = ""
    missing_header_code: str = ""
    answer_namespace: str = ""
    unknown_elements: str = "skip"
    percent_encoded_answer_shapes: frozenset[str] = frozenset()
    shared_routes: Mapping[str, str] = field(default_factory=dict[str, str])
    text_roots: Mapping[str, str] = field(default_factory=dict[str, str])
    roots: Mapping[str, str] = field(default_factory=dict[str, str])
    url_encoded: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    error_members: Mapping[str, str] = field(default_factory=dict[str, str])
    path_prefix: str = ""
    missing_errors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    unreadable_arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    enum_errors: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    pattern_errors: Mapping[str, str] = field(default_factory=dict[str, str])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).with_name("quirks.toml")).read_text(encoding="utf-8"))


@cache
def of(service: str) -> Quirks:
    """The quirks of a service, by its botocore name; the defaults for one that has none."""
    table = _table()
    values: dict[str, Any] = {**table["default"], **table.get(service, {})}
    values["percent_encoded_answer_shapes"] = frozenset(values.get("percent_encoded_answer_shapes", ()))
    # Kept as {name that loses the route: name that has it}.
    values["shared_routes"] = {old: new for new, old in values.get("shared_routes", ())}
    unknown = values.keys() - {item.name for item in fields(Quirks)}
    if unknown:
        raise ValueError(f"quirks.toml: [{service}] has unknown keys {sorted(unknown)}")
    return Quirks(**values)


@cache
def statuses(protocol: str) -> Mapping[str, int]:
    """HTTP statuses by error code, for codes that the models do not list."""
    known: dict[str, int] = dict(_table()["statuses"])
    if protocol in ("json", "smithy-rpc-v2-cbor"):
        known.update(_table()["json_statuses"])
    elif protocol == "rest-xml":
        known.update(_table()["s3_statuses"])
    return MappingProxyType(known)
