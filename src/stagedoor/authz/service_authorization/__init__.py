"""What AWS documents about actions: their resource types, condition keys and further actions. Data: ``facts.json``.

Place in the flow: the tests hold ``actions.toml`` and ``request_keys.toml`` against it; ``services.s3`` asks it which
actions there are and what they apply to. ``tools/service_authorization.py`` writes the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Action:
    """One action as AWS documents it. ``required`` and ``optional`` are resource types, ``dependent`` further actions."""

    level: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    keys: tuple[str, ...]
    dependent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One resource type: the form of its ARN (``${Partition}`` and the like), and the condition keys that it brings."""

    arn: str
    keys: tuple[str, ...]


@cache
def _services() -> Mapping[str, Any]:
    text = Path(__file__).with_name("facts.json").read_text(encoding="utf-8")
    return json.loads(text)["services"]


def prefixes() -> tuple[str, ...]:
    """The services that the data covers, by the prefix of their actions."""
    return tuple(_services())


def action(name: str) -> Action | None:
    """An action by its full name in AWS's spelling (``s3:GetObject``); None when AWS documents none."""
    prefix, _, short = name.partition(":")
    entry: Mapping[str, Any] | None = _services().get(prefix, {}).get("actions", {}).get(short)
    if entry is None:
        return None
    lists = (tuple(entry.get(member, ())) for member in ("required", "optional", "keys", "dependent"))
    return Action(entry["level"], *lists)


def action_names(prefix: str) -> tuple[str, ...]:
    """The actions that AWS documents for a service, without its prefix."""
    return tuple(_services()[prefix]["actions"])


def resource_type(prefix: str, name: str) -> ResourceType:
    """A resource type of a service. KeyError."""
    entry = _services()[prefix]["resources"][name]
    return ResourceType(entry["arn"], tuple(entry["keys"]))


def keys(prefix: str) -> Mapping[str, str]:
    """The condition keys that the service documents, and the type of each."""
    return _services()[prefix]["keys"]
