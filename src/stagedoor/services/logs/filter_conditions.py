"""What JSON patterns and patterns of fields have in common: ``a = 1 && (b > 2 || c != "x*")``.

Place in the flow: under ``filter_json`` and ``filter_fields``, which say what stands before an operator and where its value comes from.
"""

import fnmatch
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from stagedoor.domain.errors import AwsError
from stagedoor.services.logs.filter_regex import REGEX_MAX, search_of

Subject = TypeVar("Subject")
Predicate = Callable[[Subject], bool]
Comparison = Callable[[Any], bool]

_NESTING_MAX: Final = 32
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<selector>\$(?:\.[\w\-]+|\[(?:\d+|\*|'[^']*'|"[^"]*")\])*)
    | (?P<operator>&&|\|\||!=|<=|>=|=|<|>|\(|\)|,)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<regex>%(?:[^%\\]|\\.)*%)
    | (?P<word>[^\s()&|"=<>!,]+)
    )""",
    re.VERBOSE,
)
VALUES: Final = frozenset({"word", "string", "regex"})


def invalid(message: str) -> AwsError:
    """The answer to a pattern that cannot be read."""
    return AwsError("InvalidParameterException", f"Invalid filter pattern: {message}")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a pattern; ``kind`` is a name of a group of ``_TOKEN``."""

    kind: str
    text: str


class Tokens:
    """A pattern's pieces, read from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_pieces(text.rstrip()))
        self._index = 0
        if sum(token.kind == "regex" for token in self._tokens) > REGEX_MAX:
            raise invalid(f"it has more than {REGEX_MAX} regular expressions.")

    def next(self, wanted: str) -> Token:
        """The next piece; InvalidParameterException, saying what was ``wanted``, at the end."""
        if self._index >= len(self._tokens):
            raise invalid(f"it ends where {wanted} should follow.")
        self._index += 1
        return self._tokens[self._index - 1]

    def peek(self, ahead: int = 0) -> Token | None:
        """The next piece, or the one ``ahead`` of it, without taking it; None at the end."""
        index = self._index + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def accept(self, text: str) -> bool:
        """Take the operator ``text`` when it is next."""
        if self.peek() == Token("operator", text):
            self._index += 1
            return True
        return False

    def end(self) -> None:
        """InvalidParameterException when something is left."""
        left = self.peek()
        if left is not None:
            raise invalid(f"unexpected {left.text!r}.")


def _pieces(text: str) -> list[Token]:
    tokens: list[Token] = []
    index = 0
    while index < len(text):
        matched = _TOKEN.match(text, index)
        if matched is None or matched.lastgroup is None:
            raise invalid(f"cannot read {text[index:].strip()!r}.")
        tokens.append(Token(matched.lastgroup, matched[matched.lastgroup]))
        index = matched.end()
    return tokens


def any_of(
    tokens: Tokens, leaf: Callable[[Tokens], Predicate[Subject]], nesting: int = 0
) -> Predicate[Subject]:
    """Conditions with ``||``, ``&&`` (which binds closer) and parentheses around what ``leaf`` reads."""
    choices = [_all_of(tokens, leaf, nesting)]
    while tokens.accept("||"):
        choices.append(_all_of(tokens, leaf, nesting))
    return choices[0] if len(choices) == 1 else lambda subject: any(choice(subject) for choice in choices)


def _all_of(tokens: Tokens, leaf: Callable[[Tokens], Predicate[Subject]], nesting: int) -> Predicate[Subject]:
    conditions = [_condition(tokens, leaf, nesting)]
    while tokens.accept("&&"):
        conditions.append(_condition(tokens, leaf, nesting))
    if len(conditions) == 1:
        return conditions[0]
    return lambda subject: all(condition(subject) for condition in conditions)


def _condition(
    tokens: Tokens, leaf: Callable[[Tokens], Predicate[Subject]], nesting: int
) -> Predicate[Subject]:
    if not tokens.accept("("):
        return leaf(tokens)
    if nesting >= _NESTING_MAX:
        raise invalid(f"more than {_NESTING_MAX} nested parentheses.")
    predicate = any_of(tokens, leaf, nesting + 1)
    if not tokens.accept(")"):
        raise invalid("a parenthesis is not closed.")
    return predicate


# Values ----------------------------------------------------------------------------------------------------------

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
OPERATORS: Final = frozenset({"=", "!=", *_COMPARE})


def comparison_after(tokens: Tokens, operator: Token) -> Comparison:
    """What ``operator`` and the value behind it say of a found value.

    Numbers compare as numbers; everything else only by ``=`` and ``!=``, with ``*`` for any characters, or as a regular expression.
    """
    if operator.kind != "operator" or operator.text not in OPERATORS:
        raise invalid(f"an operator is needed instead of {operator.text!r}.")
    operand = tokens.next("a value")
    if operand.kind not in VALUES:
        raise invalid(f"a value is needed instead of {operand.text!r}.")
    if operator.text in ("=", "!="):
        equal = _equality(operand)
        return equal if operator.text == "=" else lambda found: not equal(found)
    bound = number_in(operand.text) if operand.kind == "word" else None
    if bound is None:
        raise invalid(f"{operator.text} needs a number, not {operand.text!r}.")
    compare = _COMPARE[operator.text]
    return lambda found: _is_number(found) and compare(found, bound)


def _equality(operand: Token) -> Comparison:
    if operand.kind == "regex":
        search = search_of(operand.text[1:-1])
        return lambda found: isinstance(found, str) and search(found)
    text = re.sub(r"\\(.)", r"\1", operand.text[1:-1]) if operand.kind == "string" else operand.text
    if operand.kind == "word" and text.startswith("%"):
        raise invalid(f"the regular expression {text!r} has no % at its end.")
    number = number_in(operand.text) if operand.kind == "word" else None
    wildcard = _only_stars(text) if "*" in text else None

    def equal(found: Any) -> bool:
        if isinstance(found, str):
            return found == text if wildcard is None else fnmatch.fnmatchcase(found, wildcard)
        return number is not None and _is_number(found) and found == number

    return equal


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def number_in(text: str) -> float | None:
    """The finite number that a text is; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _only_stars(text: str) -> str:
    """A pattern for ``fnmatch`` in which only ``*`` is special."""
    return re.sub(r"([\[\]?])", r"[\1]", text)
