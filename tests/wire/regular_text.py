"""Texts that match a regular expression of a service model, for the generated requests and answers."""

import re._parser as sre  # the parse tree of a pattern; the standard library has no public way to it
import string
from functools import cache
from random import Random
from typing import Any

from stagedoor.wire import patterns

_GENERAL_CATEGORIES = {
    "L": "a-zA-Z",
    "M": "",
    "N": "0-9",
    "P": "._:",
    "S": "+=",
    "Z": " ",
    "Zs": " ",
}
_ATTEMPTS = 200


@cache
def _tree(pattern: str) -> Any:
    plain = patterns.translate(pattern)
    for name, characters in _GENERAL_CATEGORIES.items():
        plain = plain.replace(f"\\p{{{name}}}", characters)
    return sre.parse(plain)


def matching(pattern: str, random: Random, shortest: int, longest: int) -> str:
    """A text that matches the whole pattern and has a length between the bounds."""
    for attempt in range(_ATTEMPTS):
        # Every other attempt aims at the shortest text that is allowed, in case that is long.
        goal = shortest if attempt % 2 else 0
        text = _sequence(_tree(pattern), random, 1 + attempt // 8, goal)
        if shortest <= len(text) <= longest and patterns.matches(pattern, text):
            return text
    raise AssertionError(f"no text found for {pattern!r} with {shortest} to {longest} characters")


def _sequence(tree: Any, random: Random, spread: int, goal: int) -> str:
    return "".join(_item(operator, argument, random, spread, goal) for operator, argument in tree)


def _item(operator: Any, argument: Any, random: Random, spread: int, goal: int) -> str:
    match str(operator):
        case "LITERAL":
            return chr(argument)
        case "ANY":
            return random.choice(string.ascii_letters)
        case "NOT_LITERAL":
            return random.choice([c for c in string.ascii_letters + string.digits if ord(c) != argument])
        case "IN":
            return _one_of(argument, random)
        case "BRANCH":
            return _sequence(random.choice(argument[1]), random, spread, goal)
        case "SUBPATTERN":
            return _sequence(argument[3], random, spread, goal)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, high, inner = argument
            count = random.randint(low, min(int(high), low + spread))
            if goal and high >= goal > low:
                count = goal
            return "".join(_sequence(inner, random, spread, goal) for _ in range(count))
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return ""
        case other:
            raise AssertionError(f"unknown part of a pattern: {other}")


def _one_of(choices: Any, random: Random) -> str:
    negated = str(choices[0][0]) == "NEGATE"
    ranges = [_range(operator, argument) for operator, argument in choices if str(operator) != "NEGATE"]
    if not negated:
        low, high = random.choice([r for r in ranges if r[1] >= 0x20] or ranges)
        low = max(low, min(high, 0x20))  # no control characters: XML has none
        # Mostly characters that travel everywhere; the far ends of a range now and then.
        high = min(high, max(low, 0x7E)) if random.random() < 0.9 else high
        code = random.randint(low, high)
        return chr(code) if not 0xD800 <= code <= 0xDFFF else chr(low)
    allowed = [
        c
        for c in string.ascii_letters + string.digits + "-_.~"
        if not any(low <= ord(c) <= high for low, high in ranges)
    ]
    return random.choice(allowed)


def _range(operator: Any, argument: Any) -> tuple[int, int]:
    match str(operator):
        case "LITERAL":
            return argument, argument
        case "RANGE":
            return argument
        case "CATEGORY" if "NOT_SPACE" in str(argument):
            return ord("!"), ord("~")
        case "CATEGORY" if "NOT" in str(argument):
            return ord("!"), ord("/")
        case "CATEGORY":
            return ord(" "), ord(" ")
        case other:
            raise AssertionError(f"unknown part of a character class: {other}")
