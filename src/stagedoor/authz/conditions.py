"""The ``Condition`` block of a policy statement: does it hold for this request?

Place in the flow: ``policy`` asks ``hold`` for each statement that matches otherwise. The answer has three values: yes,
no, and ``None`` when an operator or a key is not known here. ``policy`` then lets an Allow not match and a Deny match, so
that nothing is ever allowed by ignorance.

A context maps lower-case condition keys to a text or a list of texts. A known key that is absent from the context is
absent from the request.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from stagedoor.authz import request_keys, wildcards

Context = Mapping[str, "str | Sequence[str]"]
"""Condition key (lower case) -> value or values of this request."""

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?").fullmatch
_YEAR_OR_MONTH: Final = re.compile(r"(\d{4})(?:-(\d{2}))?").fullmatch


def is_known(key: str) -> bool:
    """Whether requests carry this key (in any case) when AWS says they do."""
    return request_keys.is_known(key.lower())


def _arn(pattern: str, value: str) -> bool:
    """ARNs compare part by part: a star does not reach over a colon of the first five."""
    patterns, values = pattern.split(":", 5), value.split(":", 5)
    if len(patterns) != 6:
        return pattern == "*"
    return len(values) == 6 and all(
        wildcards.matches(one, other) for one, other in zip(patterns, values, strict=True)
    )


def _number(check: Callable[[float, float], bool]) -> Callable[[str, str], bool | None]:
    def compare(wanted: str, value: str) -> bool | None:
        if _NUMBER(value) is None or _NUMBER(wanted) is None:
            return None
        return check(float(value), float(wanted))

    return compare


def _moment_s(text: str) -> float:
    """Epoch seconds of a W3C date (a year, a month, a day, a moment) or of a number of seconds."""
    short = _YEAR_OR_MONTH(text)
    if short is not None:
        return datetime(int(short[1]), int(short[2] or 1), 1, tzinfo=UTC).timestamp()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _date(check: Callable[[float, float], bool]) -> Callable[[str, str], bool | None]:
    def compare(wanted: str, value: str) -> bool | None:
        try:
            return check(_moment_s(value), _moment_s(wanted))
        except (ValueError, OverflowError):
            return None

    return compare


def _boolean(wanted: str, value: str) -> bool | None:
    if wanted.lower() not in {"true", "false"}:
        return None
    return wanted.lower() == value.lower()


def _binary(wanted: str, value: str) -> bool | None:
    """Bytes in base64 on both sides."""
    try:
        return base64.b64decode(wanted, validate=True) == base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _in_network(wanted: str, value: str) -> bool | None:
    try:
        return _address(value) in _network(wanted)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)


@lru_cache(maxsize=4096)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool | None]]] = {
    "stringequals": lambda wanted, value: wanted == value,
    "stringequalsignorecase": lambda wanted, value: wanted.casefold() == value.casefold(),
    "stringlike": wildcards.matches,
    "arnequals": _arn,
    "arnlike": _arn,
    "bool": _boolean,
    "binaryequals": _binary,
    "numericequals": _number(lambda value, wanted: value == wanted),
    "numericlessthan": _number(lambda value, wanted: value < wanted),
    "numericlessthanequals": _number(lambda value, wanted: value <= wanted),
    "numericgreaterthan": _number(lambda value, wanted: value > wanted),
    "numericgreaterthanequals": _number(lambda value, wanted: value >= wanted),
    "dateequals": _date(lambda value, wanted: value == wanted),
    "datelessthan": _date(lambda value, wanted: value < wanted),
    "datelessthanequals": _date(lambda value, wanted: value <= wanted),
    "dategreaterthan": _date(lambda value, wanted: value > wanted),
    "dategreaterthanequals": _date(lambda value, wanted: value >= wanted),
    "ipaddress": _in_network,
}
# Operators whose wanted values are patterns; all others compare the characters * and ? as they are.
_PATTERNS: Final = frozenset({"stringlike", "arnequals", "arnlike"})
_NEGATED: Final = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
    "notipaddress": "ipaddress",
}


_SETS: Final = ("forallvalues:", "foranyvalue:")


def is_operator(name: str) -> bool:
    """Whether a policy may use this operator, in any case, with its prefix and suffix."""
    return _parts(name)[3] is not None


def _parts(operator: str) -> tuple[str, bool, bool, str | None]:
    """(set prefix, has IfExists, is negated, what it comes down to: None when there is no such operator)."""
    name, prefix = operator.lower(), ""
    for one in _SETS:
        if name.startswith(one):
            prefix, name = one, name[len(one) :]
    if name == "null":
        return prefix, False, False, name
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    plain = _NEGATED.get(name, name)
    return prefix, if_exists, name in _NEGATED, plain if plain in _OPERATORS else None


class Condition:
    """One operator on one key: ``{"StringLikeIfExists": {"aws:SourceArn": [...]}}``."""

    __slots__ = ("_check", "_if_exists", "_negated", "_null", "_pattern", "_set", "key", "operator", "supported", "values")  # fmt: skip

    def __init__(self, operator: str, key: str, values: tuple[str, ...]) -> None:
        self._set, self._if_exists, self._negated, plain = _parts(operator)
        self._null = plain == "null"
        self._check = _OPERATORS.get(plain) if plain is not None else None
        self._pattern = plain in _PATTERNS
        self.operator = operator
        self.key = key.lower()
        self.values = values
        self.supported = is_known(key) and (self._null or self._check is not None)

    def holds(self, values: tuple[str, ...], context: Context) -> bool | None:
        """``values`` are the wanted ones with their variables filled in. None: cannot be said."""
        if not self.supported:
            return None
        stated = context.get(self.key)
        if stated == request_keys.UNSAID:
            return None
        found = () if stated is None else (stated,) if isinstance(stated, str) else tuple(stated)
        if self._null:
            wanted = {value.lower() for value in values}
            return None if wanted - {"true", "false"} else ("true" if not found else "false") in wanted
        if not found:
            # A key that the request does not have: AWS says negated operators hold, ForAllValues holds, others not.
            if self._set == "foranyvalue:":
                return self._if_exists
            return self._if_exists or self._negated or self._set == "forallvalues:"
        results = [self._one(values, value) for value in found]
        # Without a prefix, several values of a negated operator must all differ: nothing slips by beside another.
        every = self._set == "forallvalues:" or (self._negated and not self._set)
        if every:
            return False if False in results else None if None in results else True
        return True if True in results else None if None in results else False

    def _one(self, values: tuple[str, ...], value: str) -> bool | None:
        assert self._check is not None
        unclear = False
        for wanted in values:
            result = self._check(wanted if self._pattern else wildcards.unescape(wanted), value)
            if result:
                return not self._negated
            unclear = unclear or result is None
        return None if unclear else self._negated
