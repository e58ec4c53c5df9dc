"""JSON patterns, ``{ $.level = "ERROR" && $.items[*].size > 10 }``, over messages that are JSON objects or lists.

Place in the flow: under ``filter_patterns``.
"""

import re
from typing import Any, cast

import orjson

from stagedoor.services.logs.filter_conditions import (
    Predicate,
    Tokens,
    any_of,
    comparison_after,
    invalid,
)

_Step = str | int | None
_STEP = re.compile(r"""\.([\w\-]+)|\[(?:(\d+)|(\*)|'([^']*)'|"([^"]*)")\]""")


def json_pattern(text: str) -> Predicate[str]:
    """The predicate of what stands between the braces."""
    tokens = Tokens(text)
    predicate = any_of(tokens, _leaf)
    tokens.end()

    def matches(message: str) -> bool:
        try:
            value = orjson.loads(message)
        except ValueError:
            return False
        return isinstance(value, dict | list) and predicate(value)

    return matches


def _leaf(tokens: Tokens) -> Predicate[Any]:
    selector = tokens.next("a selector ($.name)")
    if selector.kind != "selector":
        raise invalid(f"a selector ($.name) is needed instead of {selector.text!r}.")
    steps = _steps(selector.text)
    operator = tokens.next("an operator")
    if operator.kind == "word":
        return _state(tokens, steps, operator.text.upper())
    compare = comparison_after(tokens, operator)
    return lambda value: any(compare(found) for found in _select(value, steps))


def _state(tokens: Tokens, steps: list[_Step], word: str) -> Predicate[Any]:
    if word == "NOT":
        word = f"NOT {tokens.next('EXISTS').text.upper()}"
    elif word == "IS":
        word = f"IS {tokens.next('NULL, TRUE or FALSE').text.upper()}"
    if word == "EXISTS":
        return lambda value: bool(_select(value, steps))
    if word == "NOT EXISTS":
        return lambda value: not _select(value, steps)
    states: dict[str, object] = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False}
    if word not in states:
        raise invalid(f"{word} is not one of IS NULL, IS TRUE, IS FALSE, EXISTS, NOT EXISTS.")
    state = states[word]
    return lambda value: any(found is state for found in _select(value, steps))


def _steps(selector: str) -> list[_Step]:
    """``$.a[0].b[*]`` as ``["a", 0, "b", None]``; None stands for every element."""
    steps: list[_Step] = []
    for name, index, star, single, double in _STEP.findall(selector[1:]):
        if index:
            steps.append(int(index))
        else:
            steps.append(None if star else name or single or double)
    return steps


def _select(value: Any, steps: list[_Step]) -> list[Any]:
    found = [value]
    for step in steps:
        found = [inner for item in found for inner in _step_into(item, step)]
    return found


def _step_into(item: Any, step: _Step) -> list[Any]:
    if isinstance(item, dict):
        members = cast(dict[str, Any], item)
        return [members[step]] if isinstance(step, str) and step in members else []
    if not isinstance(item, list):
        return []
    elements = cast(list[Any], item)
    if step is None:
        return elements
    return [elements[step]] if isinstance(step, int) and step < len(elements) else []
