"""Which condition keys requests carry, and those that are members of the request: ``request_keys.toml`` and tags. Pure.

Place in the flow: ``conditions`` asks ``is_known``; ``front.authorise`` puts ``of_request`` into the context of a decision.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl

UNSAID: Final = "\ue002"
"""The value of a key that the request has on AWS and that is not known here: no condition on it can be said."""

Values = dict[str, "str | list[str]"]


@dataclass(frozen=True, slots=True)
class _Rule:
    key: str
    operations: frozenset[str]
    paths: tuple[tuple[str, ...], ...]

    def applies(self, operation: str) -> bool:
        return not self.operations or operation in self.operations


@dataclass(frozen=True, slots=True)
class _Table:
    known: frozenset[str]
    prefixes: tuple[str, ...]
    claims: tuple[str, ...]
    rules: Mapping[str, tuple[_Rule, ...]]
    unsaid: Mapping[str, tuple[_Rule, ...]]


def is_known(key: str) -> bool:
    """Whether requests carry ``key`` (lower case) whenever AWS says they do."""
    table = _table()
    if key in table.known or key.startswith(table.prefixes):
        return True
    # PROVIDER:claim, where a provider is a host name, with a path perhaps.
    provider, _, claim = key.rpartition(":")
    return "." in provider and claim in table.claims


def of_request(service: str, operation: str, parameters: Mapping[str, Any]) -> Values:
    """The keys that follow from a request's members, by lower-case name. Absent members have none."""
    table, found = _table(), dict[str, "str | list[str]"]()
    for rule in table.rules.get(service, ()):
        if rule.applies(operation):
            values = [text for path in rule.paths for text in _at(parameters, path)]
            if values:
                found[rule.key] = values[0] if len(values) == 1 else values
    for rule in table.unsaid.get(service, ()):
        if rule.applies(operation):
            found[rule.key] = UNSAID
    found |= _object_tags(parameters) if service == "s3" else _tags(operation, parameters)
    return found


def _at(value: Any, path: Sequence[str]) -> Iterator[str]:
    """The texts at ``path``: names of members, and ``[]`` for each item of a list."""
    if not path:
        if isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, str | int | float):
            yield str(value)
    elif path[0] == "[]":
        if isinstance(value, list):
            for item in cast("list[Any]", value):
                yield from _at(item, path[1:])
    elif isinstance(value, Mapping):
        inner: Any = cast("Mapping[str, Any]", value).get(path[0])
        if inner is not None:
            yield from _at(inner, path[1:])


# --- Tags -------------------------------------------------------------------------------------------------------


def as_mapping(tags: Any) -> dict[str, str]:
    """Tags as services write them (a map, a list of Key and Value) as one map."""
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in cast("Mapping[str, Any]", tags).items()}
    if isinstance(tags, list):
        pairs = [
            cast("Mapping[str, Any]", tag) for tag in cast("list[Any]", tags) if isinstance(tag, Mapping)
        ]
        return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in pairs}
    return {}


def request_tags(tags: Mapping[str, str]) -> Values:
    """``aws:RequestTag/…`` and ``aws:TagKeys`` for the tags that a request gives to something."""
    if not tags:
        return {}
    found: Values = {f"aws:requesttag/{name.lower()}": value for name, value in tags.items()}
    return {**found, "aws:tagkeys": list(tags)}


def _tags(operation: str, parameters: Mapping[str, Any]) -> Values:
    given: Any = parameters.get("Tags", parameters.get("tags"))
    removed: Any = parameters.get("TagKeys", parameters.get("tagKeys"))
    if operation == "UntagLogGroup":
        removed, given = given, None
    if isinstance(removed, list) and removed:
        return {"aws:tagkeys": [str(name) for name in cast("list[Any]", removed)]}
    return request_tags(as_mapping(given))


def _object_tags(parameters: Mapping[str, Any]) -> Values:
    """S3 says tags of an object in a header's query string, or as a document (of a bucket: not these keys)."""
    tagging: Any = parameters.get("Tagging")
    tags: dict[str, str] = {}
    if isinstance(tagging, str):
        tags = dict(parse_qsl(tagging, keep_blank_values=True))
    elif isinstance(tagging, Mapping) and "Key" in parameters:
        tags = as_mapping(cast("Mapping[str, Any]", tagging).get("TagSet"))
    if not tags:
        return {}
    found: Values = {f"s3:requestobjecttag/{name.lower()}": value for name, value in tags.items()}
    return {**found, "s3:requestobjecttagkeys": list(tags)}


# --- Reading the table ------------------------------------------------------------------------------------------


@cache
def _table() -> _Table:
    source = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    names = [*source["supplied"], *source["absent"]]
    names += [entry["key"] for entry in (*source["member"], *source["unsaid"])]
    return _Table(
        frozenset(name.lower() for name in names),
        tuple(prefix.lower() for prefix in source["prefixes"]),
        tuple(source["claims"]),
        _by_service(source["member"]),
        _by_service(source["unsaid"]),
    )


def _by_service(entries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[_Rule, ...]]:
    found: dict[str, tuple[_Rule, ...]] = {}
    for entry in entries:
        paths = tuple(
            tuple(step for step in path.replace("[]", ".[]").split(".") if step)
            for path in entry.get("members", ())
        )
        rule = _Rule(entry["key"].lower(), frozenset(entry.get("operations", ())), paths)
        found[entry["service"]] = (*found.get(entry["service"], ()), rule)
    return found
