"""The ``Condition`` block of a policy statement: does it hold for this request?

Place in the flow: ``policy`` asks ``hold`` for each statement that matches otherwise. The answer has three values: yes,
no, and ``None`` when an operator or a key is not known here. ``policy`` then lets an Allow not match and a Deny match, so
that nothing is ever allowed by ignorance.

A context maps lower-case condition keys to a text or a list of texts. A known key that is absent from the context is
absent from the request.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from stagedoor.authz import wildcards

Context = Mapping[str, "str | Sequence[str]"]
"""Condition key (lower case) -> value or values of this request."""

# Keys whose value front puts into the context whenever the request has one.
KNOWN_KEYS: Final = frozenset(
    {
        "aws:currenttime",
        "aws:epochtime",
        "aws:multifactorauthage",
        "aws:multifactorauthpresent",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principaltype",
        "aws:principalisawsservice",
        "aws:referer",
        "aws:requestedregion",
        "aws:securetransport",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceip",
        "aws:useragent",
        "aws:userid",
        "aws:username",
        "iam:passedtoservice",
        "s3:authtype",
        "s3:delimiter",
        "s3:max-keys",
        "s3:prefix",
        "s3:signatureversion",
        "s3:x-amz-acl",
        "sts:externalid",
        "sts:rolesessionname",
    }
)
_KNOWN_PREFIXES: Final = ("aws:principaltag/",)


def is_known(key: str) -> bool:
    """Whether requests carry this key (in any case) when AWS says they do."""
    lower = key.lower()
    return lower in KNOWN_KEYS or lower.startswith(_KNOWN_PREFIXES)


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
        try:
            return check(float(value), float(wanted))
        except ValueError:
            return None

    return compare


def _moment_s(text: str) -> float:
    if text.replace(".", "", 1).isdigit():
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _date(check: Callable[[float, float], bool]) -> Callable[[str, str], bool | None]:
    def compare(wanted: str, value: str) -> bool | None:
        try:
            return check(_moment_s(value), _moment_s(wanted))
        except ValueError:
            return None

    return compare


def _in_network(wanted: str, value: str) -> bool | None:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return None


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool | None]]] = {
    "stringequals": lambda wanted, value: wanted == value,
    "stringequalsignorecase": lambda wanted, value: wanted.casefold() == value.casefold(),
    "stringlike": wildcards.matches,
    "arnequals": _arn,
    "arnlike": _arn,
    "bool": lambda wanted, value: wanted.lower() == value.lower(),
    "binaryequals": lambda wanted, value: wanted == value,
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


class Condition:
    """One operator on one key: ``{"StringLikeIfExists": {"aws:SourceArn": [...]}}``."""

    __slots__ = (
        "_check",
        "_if_exists",
        "_negated",
        "_null",
        "_pattern",
        "_set",
        "key",
        "supported",
        "values",
    )

    def __init__(self, operator: str, key: str, values: tuple[str, ...]) -> None:
        name = operator.lower()
        self._set = ""
        for prefix in ("forallvalues:", "foranyvalue:"):
            if name.startswith(prefix):
                self._set, name = prefix, name[len(prefix) :]
        self._if_exists = name.endswith("ifexists")
        name = name.removesuffix("ifexists")
        self._null = name == "null"
        self._negated = name in _NEGATED
        plain = _NEGATED.get(name, name)
        self._check = _OPERATORS.get(plain)
        self._pattern = plain in _PATTERNS
        self.key = key.lower()
        self.values = values
        self.supported = is_known(key) and (self._null or self._check is not None)

    def holds(self, values: tuple[str, ...], context: Context) -> bool | None:
        """``values`` are the wanted ones with their variables filled in. None: cannot be said."""
        if not self.supported:
            return None
        stated = context.get(self.key)
        found = () if stated is None else (stated,) if isinstance(stated, str) else tuple(stated)
        if self._null:
            return any((value.lower() == "true") == (not found) for value in values)
        if not found:
            # A key that the request does not have: AWS says negated operators hold, ForAllValues holds, others not.
            if self._set == "foranyvalue:":
                return self._if_exists
            return self._if_exists or self._negated or self._set == "forallvalues:"
        results = [self._one(values, value) for value in found]
        if None in results:
            return None
        return all(results) if self._set == "forallvalues:" else any(results)

    def _one(self, values: tuple[str, ...], value: str) -> bool | None:
        assert self._check is not None
        unclear = False
        for wanted in values:
            result = self._check(wanted if self._pattern else wildcards.unescape(wanted), value)
            if result:
                return not self._negated
            unclear = unclear or result is None
        return None if unclear else self._negated
