"""The filter pattern language of CloudWatch Logs: terms and JSON patterns become a predicate over messages.

Place in the flow: ``services.logs.events.filter_log_events`` applies it to each event. Regular expressions (``%…%``) and
space-delimited patterns (``[…]``) are refused by name.
"""

import fnmatch
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import orjson

from stagedoor.domain.errors import AwsError

Predicate = Callable[[str], bool]
_JsonPredicate = Callable[[Any], bool]

_MAX_NESTING = 32


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", f"Invalid filter pattern: {message}")


def filter_pattern(text: str) -> Predicate:
    """The predicate of a filter pattern; InvalidParameterException when it is not one, or not a supported one."""
    stripped = text.strip()
    if not stripped:
        return lambda message: True
    if stripped.startswith("{"):
        if not stripped.endswith("}"):
            raise _invalid("a JSON pattern that begins with '{' must end with '}'.")
        json_matches = _JsonPattern(stripped[1:-1]).parse()
        return lambda message: _matches_json(json_matches, message)
    if stripped.startswith("["):
        raise _invalid(
            "stagedoor does not support space-delimited patterns ([…]); use terms or a JSON pattern."
        )
    return _terms(stripped)


# Terms -----------------------------------------------------------------------------------------------------------

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')


def _terms(text: str) -> Predicate:
    """``a "b c"``: all of them; ``?a ?b``: any of them; ``-a``: not it. Case-sensitive."""
    required: list[str] = []
    excluded: list[str] = []
    optional: list[str] = []
    kinds = {"": required, "-": excluded, "?": optional}
    index = 0
    while index < len(text):
        matched = _TERM.match(text, index)
        if matched is None:
            raise _invalid(
                f"cannot read {text[index:].strip()!r}; quotes must be closed and separated by spaces."
            )
        prefix, quoted, plain = matched.groups()
        if quoted is not None:
            term = re.sub(r"\\(.)", r"\1", quoted)
        elif plain.startswith("%"):
            raise _invalid(
                "stagedoor does not support regular expressions (%…%); use terms or a JSON pattern."
            )
        elif not re.fullmatch(r"\w+", plain):
            raise AwsError("InvalidParameterException", f"Invalid character(s) in term '{plain}'")
        else:
            term = plain
        kinds[prefix].append(term)
        index = matched.end()

    def matches(message: str) -> bool:
        if any(term in message for term in excluded):
            return False
        if required or excluded:
            # As on AWS: beside terms that must or must not be there, ?terms do not count.
            return all(term in message for term in required)
        return any(term in message for term in optional)

    return matches


# JSON ------------------------------------------------------------------------------------------------------------


def _matches_json(predicate: _JsonPredicate, message: str) -> bool:
    try:
        value = orjson.loads(message)
    except ValueError:
        return False
    return isinstance(value, dict | list) and predicate(value)


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<selector>\$(?:\.[\w\-]+|\[(?:\d+|\*|'[^']*'|"[^"]*")\])*)
    | (?P<operator>&&|\|\||!=|<=|>=|=|<|>|\(|\))
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<word>[^\s()&|"=<>!]+)
    )""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([\w\-]+)|\[(?:(\d+)|(\*)|'([^']*)'|"([^"]*)")\]""")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    index = 0
    text = text.rstrip()
    while index < len(text):
        matched = _TOKEN.match(text, index)
        if matched is None or matched.lastgroup is None:
            raise _invalid(f"cannot read {text[index:].strip()!r}.")
        tokens.append(_Token(matched.lastgroup, matched[matched.lastgroup]))
        index = matched.end()
    return tokens


class _JsonPattern:
    """Recursive descent over ``a = b && (c || d)``; ``&&`` binds closer than ``||``."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._index = 0
        self._nesting = 0

    def parse(self) -> _JsonPredicate:
        predicate = self._any()
        if self._index < len(self._tokens):
            raise _invalid(f"unexpected {self._tokens[self._index].text!r}.")
        return predicate

    def _next(self, wanted: str) -> _Token:
        if self._index >= len(self._tokens):
            raise _invalid(f"it ends where {wanted} should follow.")
        self._index += 1
        return self._tokens[self._index - 1]

    def _accept(self, text: str) -> bool:
        if self._index < len(self._tokens) and self._tokens[self._index] == _Token("operator", text):
            self._index += 1
            return True
        return False

    def _any(self) -> _JsonPredicate:
        choices = [self._all()]
        while self._accept("||"):
            choices.append(self._all())
        return choices[0] if len(choices) == 1 else lambda value: any(choice(value) for choice in choices)

    def _all(self) -> _JsonPredicate:
        conditions = [self._condition()]
        while self._accept("&&"):
            conditions.append(self._condition())
        if len(conditions) == 1:
            return conditions[0]
        return lambda value: all(condition(value) for condition in conditions)

    def _condition(self) -> _JsonPredicate:
        if self._accept("("):
            self._nesting += 1
            if self._nesting > _MAX_NESTING:
                raise _invalid(f"more than {_MAX_NESTING} nested parentheses.")
            predicate = self._any()
            if not self._accept(")"):
                raise _invalid("a parenthesis is not closed.")
            self._nesting -= 1
            return predicate
        return self._comparison()

    def _comparison(self) -> _JsonPredicate:
        selector = self._next("a selector ($.name)")
        if selector.kind != "selector":
            raise _invalid(f"a selector ($.name) is needed instead of {selector.text!r}.")
        steps = _steps(selector.text)
        operator = self._next("an operator")
        if operator.kind == "word":
            return self._state(steps, operator.text.upper())
        if operator.text not in _COMPARE:
            raise _invalid(f"an operator is needed instead of {operator.text!r}.")
        operand = self._next("a value")
        if operand.kind not in ("word", "string"):
            raise _invalid(f"a value is needed instead of {operand.text!r}.")
        if operand.text.startswith("%"):
            raise _invalid("stagedoor does not support regular expressions (%…%) in JSON patterns.")
        compare = _comparer(operator.text, operand)
        return lambda value: any(compare(found) for found in _select(value, steps))

    def _state(self, steps: list[str | int | None], word: str) -> _JsonPredicate:
        if word == "NOT":
            word = f"NOT {self._next('EXISTS').text.upper()}"
        elif word == "IS":
            word = f"IS {self._next('NULL, TRUE or FALSE').text.upper()}"
        if word == "EXISTS":
            return lambda value: bool(_select(value, steps))
        if word == "NOT EXISTS":
            return lambda value: not _select(value, steps)
        states: dict[str, object] = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False}
        if word not in states:
            raise _invalid(f"{word} is not one of IS NULL, IS TRUE, IS FALSE, EXISTS, NOT EXISTS.")
        state = states[word]
        return lambda value: any(found is state for found in _select(value, steps))


def _steps(selector: str) -> list[str | int | None]:
    """``$.a[0].b[*]`` as ``["a", 0, "b", None]``; None stands for every element."""
    steps: list[str | int | None] = []
    for name, index, star, single, double in _STEP.findall(selector[1:]):
        if index:
            steps.append(int(index))
        else:
            steps.append(None if star else name or single or double)
    return steps


def _select(value: Any, steps: list[str | int | None]) -> list[Any]:
    found = [value]
    for step in steps:
        found = [inner for item in found for inner in _step_into(item, step)]
    return found


def _step_into(item: Any, step: str | int | None) -> list[Any]:
    if isinstance(item, dict):
        members = cast(dict[str, Any], item)
        return [members[step]] if isinstance(step, str) and step in members else []
    if not isinstance(item, list):
        return []
    elements = cast(list[Any], item)
    if step is None:
        return elements
    return [elements[step]] if isinstance(step, int) and step < len(elements) else []


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _comparer(operator: str, operand: _Token) -> _JsonPredicate:
    """Numbers compare as numbers; everything else only by ``=`` and ``!=``, with ``*`` for any characters."""
    number = _number(operand.text) if operand.kind == "word" else None
    if number is None and operator not in ("=", "!="):
        raise _invalid(f"{operator} needs a number, not {operand.text!r}.")
    text = re.sub(r"\\(.)", r"\1", operand.text[1:-1]) if operand.kind == "string" else operand.text
    wildcard = _only_stars(text) if "*" in text else None

    def equal(found: Any) -> bool:
        if isinstance(found, str):
            return found == text if wildcard is None else fnmatch.fnmatchcase(found, wildcard)
        return (
            number is not None
            and not isinstance(found, bool)
            and isinstance(found, int | float)
            and found == number
        )

    def compare(found: Any) -> bool:
        if operator == "=":
            return equal(found)
        if operator == "!=":
            return not equal(found)
        return (
            not isinstance(found, bool)
            and isinstance(found, int | float)
            and _COMPARE[operator](found, number or 0)
        )

    return compare


def _only_stars(text: str) -> str:
    """A pattern for ``fnmatch`` in which only ``*`` is special."""
    return re.sub(r"([\[\]?])", r"[\1]", text)
