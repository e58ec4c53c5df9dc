"""Patterns of fields, ``[ip, user, ..., status = 4* || status = 5*, bytes > 1000]``, over messages with spaces between fields.

Place in the flow: under ``filter_patterns``. A field of a message is a word, or what stands in double quotes or square brackets. Without
an ellipsis the last name takes all that is left, as AWS's own ``[timestamp=*Z, request_id="*-*", event]`` for functions' logs expects.
"""

import re
from dataclasses import dataclass

from stagedoor.services.logs.filter_conditions import (
    Predicate,
    Token,
    Tokens,
    any_of,
    comparison_after,
    invalid,
    number_in,
)

_FIELD = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"(?=\s|$)|\[([^\]]*)\](?=\s|$)|(\S+))""")
_ELLIPSIS = "..."
_COMMA = Token("operator", ",")


@dataclass(frozen=True, slots=True)
class _Column:
    """One field of the pattern; ``condition`` judges the text found there."""

    condition: Predicate[str] | None


def fields_pattern(text: str) -> Predicate[str]:
    """The predicate of what stands between the square brackets."""
    columns = _columns(text)
    if columns.count(None) > 1:
        raise invalid("an ellipsis (...) may stand in it once.")
    if None in columns:
        split = columns.index(None)
        before, after = [c for c in columns[:split] if c], [c for c in columns[split + 1 :] if c]
        return lambda message: _around(before, after, _fields(message))
    named = [column for column in columns if column]
    return lambda message: _fitting(named, _fields(message, len(named)))


def _columns(text: str) -> list[_Column | None]:
    """The pattern's fields; None for the ellipsis."""
    tokens = Tokens(text)
    columns: list[_Column | None] = []
    while tokens.peek() is not None:
        columns.append(_column(tokens))
        if not tokens.accept(","):
            tokens.end()
        elif tokens.peek() is None:
            columns.append(_Column(None))
    if not columns:
        raise invalid("a pattern of fields needs at least one.")
    return columns


def _column(tokens: Tokens) -> _Column | None:
    first = tokens.peek()
    if first is None or first == _COMMA:
        return _Column(None)
    if first.kind == "word" and tokens.peek(1) in (None, _COMMA):
        tokens.next("a field")
        return None if first.text == _ELLIPSIS else _Column(None)
    names: set[str] = set()
    condition = any_of(tokens, lambda inner: _leaf(inner, names))
    if len(names) > 1:
        raise invalid(f"one field has two names: {', '.join(sorted(names))}.")
    return _Column(condition)


def _leaf(tokens: Tokens, names: set[str]) -> Predicate[str]:
    name = tokens.next("a field's name")
    if name.kind != "word":
        raise invalid(f"a field's name is needed instead of {name.text!r}.")
    names.add(name.text)
    operator = tokens.next("an operator")
    compare = comparison_after(tokens, operator)
    if operator.text in ("=", "!="):
        return compare
    return lambda text: compare(number_in(text))


def _fields(message: str, at_most: int | None = None) -> list[str]:
    """The message's fields; the last of ``at_most`` is all the rest."""
    fields: list[str] = []
    for matched in _FIELD.finditer(message):
        if len(fields) + 1 == at_most and message[matched.end() :].strip():
            return [*fields, message[matched.start() :].strip()]
        quoted, bracketed, word = matched.groups()
        fields.append(next(text for text in (quoted, bracketed, word) if text is not None))
    return fields


def _fitting(columns: list[_Column], fields: list[str]) -> bool:
    return len(columns) == len(fields) and all(
        column.condition is None or column.condition(field)
        for column, field in zip(columns, fields, strict=True)
    )


def _around(before: list[_Column], after: list[_Column], fields: list[str]) -> bool:
    """Whether ``before`` fits the beginning and ``after`` the end, without sharing a field."""
    if len(fields) < len(before) + len(after):
        return False
    return _fitting(before, fields[: len(before)]) and _fitting(after, fields[len(fields) - len(after) :])
