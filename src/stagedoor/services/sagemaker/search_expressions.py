"""Search expressions: does a document match, and by what is it sorted. Pure.

A property is named by its path (``ResourceConfig.InstanceType``, ``HyperParameters.max_depth``, ``Tags.team``,
``Metrics.validation:auc``). Case does not count, names of maps may hold dots, and a path through a list means each of its
members: a filter is satisfied by any one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from stagedoor.services.sagemaker.names import validation

_SINGLE: Final = ({"StringValue"}, {"NumberValue"})
_FILTERS_AT_MOST: Final = 50

Document = Mapping[str, Any]


def check(expression: Mapping[str, Any], is_property: Callable[[str], bool]) -> None:
    """ValidationException for an unknown property, an operator without its value, and too many filters."""
    filters = list(_filters(expression))
    if len(filters) > _FILTERS_AT_MOST:
        raise validation(
            f"A SearchExpression can have at most {_FILTERS_AT_MOST} filters, and it has {len(filters)}."
        )
    for one, nested_in in filters:
        name = one["Name"]
        inside = nested_in and not name.lower().startswith(f"{nested_in.lower()}.")
        if not is_property(f"{nested_in}.{name}" if inside else name):
            raise validation(f"Unknown property name: {name}")
        operator, value = one.get("Operator", "Equals"), one.get("Value")
        if (value is None) != (operator in ("Exists", "NotExists")):
            need = "takes no" if value is not None else "needs a"
            raise validation(f"The operator {operator} of the filter on {name} {need} Value.")


def _filters(expression: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """All filters, with the list that each is nested in."""
    for one in expression.get("Filters", ()):
        yield one, ""
    for nested in expression.get("NestedFilters", ()):
        for one in nested["Filters"]:
            yield one, nested["NestedPropertyName"]
    for inner in expression.get("SubExpressions", ()):
        yield from _filters(inner)


def matches(expression: Mapping[str, Any], document: Document) -> bool:
    """Whether a document satisfies the expression; an empty one is satisfied by everything."""
    found = [_matches_filter(one, document) for one in expression.get("Filters", ())]
    found += [_matches_nested(one, document) for one in expression.get("NestedFilters", ())]
    found += [matches(one, document) for one in expression.get("SubExpressions", ())]
    if not found:
        return True
    return any(found) if expression.get("Operator", "And") == "Or" else all(found)


def _matches_nested(nested: Mapping[str, Any], document: Document) -> bool:
    """One and the same member of a list satisfies all filters. They name its parts from the top, or from the list."""
    prefix = f"{nested['NestedPropertyName']}."
    filters: list[dict[str, Any]] = []
    for one in nested["Filters"]:
        name = one["Name"]
        filters.append(
            {**one, "Name": name[len(prefix) :] if name.lower().startswith(prefix.lower()) else name}
        )
    return any(
        all(_matches_filter(one, cast("Document", member)) for one in filters)
        for member in values_of(document, nested["NestedPropertyName"])
        if isinstance(member, dict)
    )


def _matches_filter(one: Mapping[str, Any], document: Document) -> bool:
    found = [value for value in values_of(document, one["Name"]) if not isinstance(value, dict)]
    whole = list(values_of(document, one["Name"]))
    wanted = one.get("Value", "")
    match one.get("Operator", "Equals"):
        case "Exists":
            return bool(whole)
        case "NotExists":
            return not whole
        case "Equals":
            return any(_equal(value, wanted) for value in found)
        case "NotEquals":
            return not any(_equal(value, wanted) for value in found)
        case "Contains":
            return any(wanted in _text(value) for value in found)
        case "In":
            choices = [choice.strip() for choice in wanted.split(",")]
            return any(_equal(value, choice) for value in found for choice in choices)
        case operator:
            return any(_ordered(value, wanted, operator, one["Name"]) for value in found)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return _text(value) == wanted.lower()
    if isinstance(value, (int, float)):
        return value == _number(wanted)
    return str(value) == wanted


def _ordered(value: Any, wanted: str, operator: str, name: str) -> bool:
    limit = _number(wanted)
    actual = float(value) if isinstance(value, (int, float)) else _number(str(value))
    if limit is None:
        raise validation(
            f"The value '{wanted}' of the filter on {name} is neither a number nor a time, which {operator} needs."
        )
    if actual is None:
        return False
    match operator:
        case "GreaterThan":
            return actual > limit
        case "GreaterThanOrEqualTo":
            return actual >= limit
        case "LessThan":
            return actual < limit
        case _:
            return actual <= limit


def _number(text: str) -> float | None:
    """A number, or a time in ISO 8601 as epoch seconds (documents hold times so)."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def values_of(value: Any, path: str) -> Iterator[Any]:
    """Everything that the path leads to."""
    yield from _walk(value, path.split("."))


def _walk(value: Any, parts: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for member in cast("list[Any]", value):
            yield from _walk(member, parts)
        return
    if not parts:
        yield _plain(value)
        return
    if not isinstance(value, dict):
        return
    fields = cast("dict[str, Any]", value)
    lower = {name.lower(): name for name in fields}
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        known = name if name in fields else lower.get(name.lower())
        if known is not None:
            yield from _walk(fields[known], parts[length:])
            return


def _plain(value: Any) -> Any:
    """A trial component's parameter is its number or its text."""
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    return next(iter(fields.values())) if set(fields) in _SINGLE else fields


Place = tuple[int, Any]


def place(document: Document, path: str) -> Place:
    """Where a document stands when sorted by a property: numbers, then texts; -1 without a value."""
    for value in values_of(document, path):
        if isinstance(value, bool):
            return (0, float(value))
        if isinstance(value, (int, float)):
            return (0, float(value))
        if isinstance(value, str):
            number = _number(value)
            return (0, number) if number is not None else (1, value)
    return (-1, 0.0)
