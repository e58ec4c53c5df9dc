"""Settings of a stage's methods: how many requests a second they take. Patches of UpdateStage whose path names a method."""

import copy
import re
from collections.abc import Mapping
from typing import Any

from stagedoor.services.apigateway import stored
from stagedoor.store.records import Document

# /RESOURCE~1PATH/METHOD/KIND/SETTING, where * stands for any; without kind and setting for the removal of all.
_PATH = re.compile(r"/(?P<path>.*)/(?P<method>\*|[A-Z]+)(?:/(?P<kind>[a-z]+)/(?P<setting>[A-Za-z]+))?")
_DEFAULTS: Document = {
    "metricsEnabled": False,
    "loggingLevel": "OFF",
    "dataTraceEnabled": False,
    "throttlingBurstLimit": 5000,
    "throttlingRateLimit": 10_000.0,
    "cachingEnabled": False,
    "cacheTtlInSeconds": 300,
    "cacheDataEncrypted": False,
    "requireAuthorizationForCacheControl": True,
    "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
}
_OFF = {"false", "off"}


def split(operations: list[dict[str, Any]] | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Patch operations about methods, and all others."""
    ours: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for operation in operations or []:
        found = _PATH.fullmatch(str(operation.get("path") or ""))
        (ours if found is not None else others).append(operation)
    return ours, others


def apply(settings: Document, operations: list[dict[str, Any]]) -> Document:
    """``methodSettings`` after the patches: by ``path/METHOD`` (the path without its leading slash), or ``*/*``."""
    patched = copy.deepcopy(settings)
    for operation in operations:
        found = _PATH.fullmatch(operation["path"])
        assert found is not None
        key = f"{found['path'].replace('~1', '/').lstrip('/')}/{found['method']}"
        what = operation.get("op")
        if what == "remove" and found["kind"] is None:
            patched.pop(key, None)
        elif what == "replace" and found["kind"] is not None:
            name, value = _setting(f"{found['kind']}/{found['setting']}", str(operation.get("value")))
            patched.setdefault(key, dict(_DEFAULTS))[name] = value
        else:
            raise stored.bad_request(f"Invalid patch operation {what} of {operation['path']}")
    return patched


def throttle(settings: Mapping[str, Any], path: str, http_method: str) -> tuple[float, int] | None:
    """Requests a second and at once that a method takes; None without a limit. The most exact setting counts."""
    place = path.lstrip("/")
    for key in (f"{place}/{http_method}", f"{place}/ANY", "*/*"):
        found = settings.get(key)
        if found is not None:
            rate, burst = float(found["throttlingRateLimit"]), int(found["throttlingBurstLimit"])
            return None if rate < 0 or burst < 0 else (rate, burst)
    return None


def _setting(name: str, value: str) -> tuple[str, Any]:
    try:
        match name:
            case "throttling/rateLimit":
                return "throttlingRateLimit", limit(value, float)
            case "throttling/burstLimit":
                return "throttlingBurstLimit", limit(value, int)
            case "metrics/enabled" | "logging/dataTrace" | "caching/enabled" if value.lower() in _OFF:
                return {"metrics": "metricsEnabled", "logging": "dataTraceEnabled"}.get(
                    name.partition("/")[0], "cachingEnabled"
                ), False
            case "logging/loglevel" if value.lower() in _OFF:
                return "loggingLevel", "OFF"
            case _:
                raise stored.unsupported(f"the method setting {name} = {value}")
    except ValueError as error:
        raise stored.bad_request(f"Invalid value {value} for {name}: it is a number from -1 up") from error


def limit(value: str, kind: type[int] | type[float]) -> float:
    """A throttle's number: -1 (none) or more. ValueError."""
    number = kind(value)
    if not (number == -1 or 0 <= number < 1e9):
        raise ValueError(value)
    return number
