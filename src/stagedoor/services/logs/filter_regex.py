r"""Regular expressions in filter patterns, ``%…%``: the small language that CloudWatch Logs reads, in bounded time.

Place in the flow: under ``filter_patterns`` (as a term) and ``filter_conditions`` (as a value).
See AWS's "Supported regular expressions (regex) syntax": letters, digits and ``:_#=@/;,-`` stand for themselves, ``^$?[]{}|\*+.`` work;
there are no groups, so no look-around and no back references.
"""

import re
from collections.abc import Callable
from typing import Final

import regex

from stagedoor.domain.errors import AwsError

Search = Callable[[str], bool]

REGEX_MAX: Final = 2
"""How many one pattern may have."""

_TIMEOUT_S: Final = 0.25
_ALLOWED: Final = re.compile(
    r"(?:[A-Za-z0-9 :_#=@/;,^$?\[\]{}|*+.-]|\\x[0-9A-Fa-f]{2}|\\[dDsSwW]|\\[^A-Za-z0-9])*"
)


def search_of(expression: str) -> Search:
    """Whether the expression is found in a text; InvalidParameterException when it is not one."""
    allowed = _ALLOWED.match(expression)
    end = allowed.end() if allowed is not None else 0
    if not expression or end < len(expression):
        what = f"does not know {expression[end : end + 2]!r}" if expression else "is empty"
        raise _invalid(expression, what)
    try:
        compiled = regex.compile(expression, regex.ASCII | regex.VERSION0)
    except regex.error as error:
        raise _invalid(expression, str(error)) from error

    def search(text: str) -> bool:
        try:
            return compiled.search(text, timeout=_TIMEOUT_S) is not None
        except TimeoutError as error:
            raise _invalid(
                expression, "takes too long on one of the messages; write it with fewer * and +"
            ) from error

    return search


def _invalid(expression: str, what: str) -> AwsError:
    return AwsError(
        "InvalidParameterException",
        f"Invalid filter pattern: the regular expression %{expression}% {what}.",
    )
