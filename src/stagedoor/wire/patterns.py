r"""The models' regular expressions, which are Java's: translated, compiled once, and matched within a time limit.

AWS matches a pattern against the whole value. The ``regex`` package is used for its Unicode properties (``\p{L}``) and
for its time limit: a value made to let a pattern backtrack for ever is refused like one that does not match.
"""

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

_REMEMBERED_LENGTH = 256
TIME_LIMIT_S = 0.25

# Java's \w, \d, \s and POSIX classes are ASCII; the contents of a character class for each.
_ASCII_CLASSES = {
    "w": "a-zA-Z0-9_",
    "d": "0-9",
    "s": r" \t\n\x0b\f\r",
    "p{ASCII}": r"\x00-\x7f",
    "p{Alnum}": "a-zA-Z0-9",
    "p{Alpha}": "a-zA-Z",
    "p{Digit}": "0-9",
    "p{Graph}": r"\x21-\x7e",
    "p{Lower}": "a-z",
    "p{Print}": r"\x20-\x7e",
    "p{Punct}": r"!-/:-@\[-`{-~",
    "p{Space}": r" \t\n\x0b\f\r",
    "p{Upper}": "A-Z",
}
_TOKEN = re.compile(
    r"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\(?P<property>[pP]\{\w+\})"
    r"|\\(?P<escaped>.)"
    r"|(?P<plain>.)",
    re.DOTALL,
)


def translate(pattern: str) -> str:
    """A Java pattern in the words of the ``regex`` package."""
    parts: list[str] = []
    inside = False  # a character class
    after_class = False  # just behind a shorthand such as \w within a class: a hyphen there is a hyphen
    for token in _TOKEN.finditer(pattern):
        shorthand = token["property"] or token["escaped"]
        if token["high"]:
            code = 0x10000 + ((int(token["high"], 16) - 0xD800) << 10) + (int(token["low"], 16) - 0xDC00)
            parts.append(f"\\U{code:08x}")
            after_class = False
        elif shorthand in _ASCII_CLASSES:
            content = _ASCII_CLASSES[shorthand]
            parts.append(content if inside else f"[{content}]")
            after_class = inside
        elif shorthand is not None:
            # W, D, S and the general categories keep their Unicode meaning; \z is spelled \Z.
            parts.append("\\Z" if shorthand == "z" else f"\\{shorthand}")
            after_class = inside and token["property"] is not None
        else:
            plain = token["plain"]
            if plain == "[" and inside:
                parts.append("\\[")
            elif plain == "-" and after_class:
                parts.append("\\-")
            else:
                parts.append(plain)
            if plain == "[":
                inside = True
            elif plain == "]":
                inside = False
            after_class = False
    # `$` stands for the end however often it is asked for.
    return re.sub(r"(?<!\\)\$\{\d+,\d*\}", "$", "".join(parts))


@cache
def compiled(pattern: str) -> "regex.Pattern[str]":
    import regex  # not needed before the first request, and not light

    return regex.compile(translate(pattern))


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value matches; False also when that cannot be said within the time limit, twice.

    The limit is wall time, so a process that was kept waiting by others is given a second try. Short values are
    remembered: the same names and content types come again and again.
    """
    if len(value) <= _REMEMBERED_LENGTH:
        return _matches_remembered(pattern, value)
    return _matches(pattern, value)


@lru_cache(4096)
def _matches_remembered(pattern: str, value: str) -> bool:
    return _matches(pattern, value)


def _matches(pattern: str, value: str) -> bool:
    for _ in range(2):
        try:
            return compiled(pattern).fullmatch(value, timeout=TIME_LIMIT_S) is not None
        except TimeoutError:
            continue
    return False
