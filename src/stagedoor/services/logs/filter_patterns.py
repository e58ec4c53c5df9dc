"""The filter pattern language of CloudWatch Logs: terms, JSON patterns and patterns of fields become a predicate over messages.

Place in the flow: ``services.logs.events.filter_log_events`` applies it to each event. ``filter_json`` and ``filter_fields`` read
``{…}`` and ``[…]``, both in the grammar of ``filter_conditions``; ``filter_regex`` is ``%…%``.
"""

import re

from stagedoor.domain.errors import AwsError
from stagedoor.services.logs.filter_conditions import Predicate, invalid
from stagedoor.services.logs.filter_fields import fields_pattern
from stagedoor.services.logs.filter_json import json_pattern
from stagedoor.services.logs.filter_regex import REGEX_MAX, Search, search_of


def filter_pattern(text: str) -> Predicate[str]:
    """The predicate of a filter pattern; InvalidParameterException when it is not one."""
    stripped = text.strip()
    if not stripped:
        return lambda message: True
    if stripped.startswith("{"):
        if not stripped.endswith("}"):
            raise invalid("a JSON pattern that begins with '{' must end with '}'.")
        return json_pattern(stripped[1:-1])
    if stripped.startswith("["):
        if not stripped.endswith("]"):
            raise invalid("a pattern of fields that begins with '[' must end with ']'.")
        return fields_pattern(stripped[1:-1])
    return _terms(stripped)


_TERM = re.compile(r"""\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|%((?:[^%\\]|\\.)*)%|([^\s"]+))(?=\s|$)""")


def _terms(text: str) -> Predicate[str]:
    """``a "b c"``: all of them; ``?a ?b``: any of them; ``-a``: not it; ``%a+%``: a regular expression. Case-sensitive."""
    required: list[Search] = []
    excluded: list[Search] = []
    optional: list[Search] = []
    kinds = {"": required, "-": excluded, "?": optional}
    index = expressions = 0
    while index < len(text):
        matched = _TERM.match(text, index)
        if matched is None:
            raise invalid(
                f"cannot read {text[index:].strip()!r}; quotes must be closed and separated by spaces."
            )
        prefix, quoted, expression, plain = matched.groups()
        expressions += expression is not None
        if expressions > REGEX_MAX:
            raise invalid(f"it has more than {REGEX_MAX} regular expressions.")
        kinds[prefix].append(_term(quoted, expression, plain))
        index = matched.end()

    def matches(message: str) -> bool:
        if any(term(message) for term in excluded):
            return False
        if required or excluded:
            # As on AWS: beside terms that must or must not be there, ?terms do not count.
            return all(term(message) for term in required)
        return any(term(message) for term in optional)

    return matches


def _term(quoted: str | None, expression: str | None, plain: str | None) -> Search:
    if expression is not None:
        return search_of(expression)
    if quoted is not None:
        term = re.sub(r"\\(.)", r"\1", quoted)
    elif plain is not None and plain.startswith("%"):
        raise invalid(f"the regular expression {plain!r} has no % at its end.")
    elif plain is None or not re.fullmatch(r"\w+", plain):
        raise AwsError("InvalidParameterException", f"Invalid character(s) in term '{plain}'")
    else:
        term = plain
    return lambda message: term in message
