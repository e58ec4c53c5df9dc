"""``*`` and ``?`` as IAM policies use them: linear in the text, whatever the pattern (a policy is somebody's input)."""

import re
from functools import lru_cache
from typing import Final

# What a policy variable's value may hold without meaning a wildcard: see ``escape``.
_ESCAPED_STAR: Final = "\ue000"
_ESCAPED_QUESTION: Final = "\ue001"


def escape(value: str) -> str:
    """``value`` so that it stands for itself inside a pattern."""
    return value.replace("*", _ESCAPED_STAR).replace("?", _ESCAPED_QUESTION)


def unescape(pattern: str) -> str:
    """What an escaped text says, for those who compare it as it is."""
    return pattern.replace(_ESCAPED_STAR, "*").replace(_ESCAPED_QUESTION, "?")


class Wildcard:
    """One pattern. The parts between stars have a fixed length, so that nothing is ever tried twice at one place."""

    __slots__ = ("_exact", "_first", "_last", "_middle")

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        parts = pattern.split("*")
        flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        compiled = [re.compile(_expression(part), flags) for part in parts]
        self._exact = compiled[0].fullmatch if len(parts) == 1 else None
        self._first = compiled[0]
        self._middle = [part for part, text in zip(compiled[1:-1], parts[1:-1], strict=True) if text]
        self._last = (compiled[-1], len(parts[-1])) if len(parts) > 1 else None

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` fits."""
        if self._exact is not None:
            return self._exact(text) is not None
        assert self._last is not None
        found = self._first.match(text)
        if found is None:
            return False
        position = found.end()
        for part in self._middle:
            found = part.search(text, position)
            if found is None:
                return False
            position = found.end()
        last, length = self._last
        start = len(text) - length
        return start >= position and last.match(text, start) is not None


def _expression(part: str) -> str:
    return "".join(
        "."
        if character == "?"
        else re.escape({_ESCAPED_STAR: "*", _ESCAPED_QUESTION: "?"}.get(character, character))
        for character in part
    )


@lru_cache(maxsize=8192)
def compiled(pattern: str, ignore_case: bool) -> Wildcard:
    """The pattern, compiled once."""
    return Wildcard(pattern, ignore_case=ignore_case)


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether ``text`` fits ``pattern``."""
    if pattern == "*":
        return True
    return compiled(pattern, ignore_case).matches(text)
