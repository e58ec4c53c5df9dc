"""Search and GetSearchSuggestions: resources of one kind that satisfy an expression."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import orjson

from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import search_expressions, search_records
from stagedoor.services.sagemaker.names import validation
from stagedoor.services.sagemaker.search_expressions import Place
from stagedoor.services.sagemaker.search_records import Found
from stagedoor.wire import models

_PAGE_LENGTH: Final = 10
_LAST_CHANGE: Final = "LastModifiedTime"
_SUGGESTIONS_AT_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class _Resource:
    """One kind of resource: how it is found, and its member of a SearchRecord."""

    find: Callable[[Call], list[Found]]
    member: str


_RESOURCES: Final[Mapping[str, _Resource]] = {
    "TrainingJob": _Resource(search_records.training_jobs, "TrainingJob"),
    "HyperParameterTuningJob": _Resource(search_records.tuning_jobs, "HyperParameterTuningJob"),
    "Experiment": _Resource(search_records.experiments, "Experiment"),
    "ExperimentTrial": _Resource(search_records.trials, "Trial"),
    "ExperimentTrialComponent": _Resource(search_records.trial_components, "TrialComponent"),
    "Endpoint": _Resource(search_records.endpoints, "Endpoint"),
    "Model": _Resource(search_records.models_, "Model"),
    "ModelPackage": _Resource(search_records.model_packages, "ModelPackage"),
    "ModelPackageGroup": _Resource(search_records.model_package_groups, "ModelPackageGroup"),
}


def search(call: Call, request: dict[str, Any]) -> Answer:
    """Search: newest change first unless told otherwise, 10 results a page unless told otherwise."""
    resource = _resource(request["Resource"])
    if request.get("CrossAccountFilterOption", "SameAccount") != "SameAccount":
        raise validation(
            "CrossAccountFilterOption CrossAccount is not supported by this release of stagedoor."
        )
    if request.get("VisibilityConditions"):
        raise validation("VisibilityConditions is not supported by this release of stagedoor. Leave it out.")
    expression: dict[str, Any] = request.get("SearchExpression") or {}
    search_expressions.check(expression, lambda name: _is_property(resource.member, name))
    sort_by = request.get("SortBy", _LAST_CHANGE)
    if sort_by != _LAST_CHANGE and not _is_property(resource.member, sort_by):
        raise validation(f"Unknown property name: {sort_by}")
    descending = request.get("SortOrder", "Descending") == "Descending"
    chosen = [one for one in resource.find(call) if search_expressions.matches(expression, one.searched)]
    placed = [((*search_expressions.place(one.searched, sort_by), one.arn), one) for one in chosen]
    placed.sort(key=lambda pair: _order(pair[0], descending))
    question = hashlib.sha256(
        repr([request.get(name) for name in ("Resource", "SearchExpression", "SortBy", "SortOrder")]).encode()
    ).hexdigest()[:16]
    if (token := request.get("NextToken")) is not None:
        last = _order(_read_token(token, question), descending)
        placed = [pair for pair in placed if _order(pair[0], descending) > last]
    limit = request.get("MaxResults", _PAGE_LENGTH)
    page = placed[:limit]
    answer: dict[str, Any] = {
        "Results": [{resource.member: one.shown()} for _, one in page],
        "TotalHits": {"Value": len(chosen), "Relation": "EqualTo"},
    }
    if len(placed) > limit:
        answer["NextToken"] = base64.b64encode(orjson.dumps([question, *page[-1][0]])).decode()
    return answer


def _resource(name: str) -> _Resource:
    resource = _RESOURCES.get(name)
    if resource is None:
        raise validation(
            f"Resource {name} is not supported by this release of stagedoor. Supported are: {', '.join(_RESOURCES)}."
        )
    return resource


class _Reversed:
    """A value in descending order."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Reversed") -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and other.value == self.value

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def _order(place: tuple[int, Any, str], descending: bool) -> tuple[Any, ...]:
    """A key for sorting; what has no value comes last in both directions."""
    rank, value, arn = place
    missing = rank < 0
    found: Place = (rank, value)
    return (missing, _Reversed((found, arn)) if descending else (found, arn))


def _read_token(token: str, question: str) -> tuple[int, Any, str]:
    try:
        asked, rank, value, arn = orjson.loads(base64.b64decode(token, validate=True))
        kinds = {-1: float, 0: float, 1: str}
        if asked == question and isinstance(arn, str) and isinstance(value, kinds[rank]):
            return rank, value, arn
    except (ValueError, TypeError, KeyError, binascii.Error):
        pass
    raise validation("Invalid NextToken: use the token of the previous answer, with the same question.")


@cache
def _properties(member: str) -> frozenset[str]:
    """The names, in lower case, that a property of this kind of resource begins with."""
    shape: Any = models.service("sagemaker").model.shape_for("SearchRecord")
    members = shape.members[member].members
    names = {name.lower() for name in members}
    if member == "Model":
        names |= {name.lower() for name in members["Model"].members}
    return frozenset(names | ({"metrics"} if member == "TrainingJob" else set()))


def _is_property(member: str, name: str) -> bool:
    return name.partition(".")[0].lower() in _properties(member)


def get_search_suggestions(call: Call, request: dict[str, Any]) -> Answer:
    """GetSearchSuggestions: names of properties that begin like the hint, those of tags, hyperparameters and metrics included."""
    resource = _resource(request["Resource"])
    hint = request.get("SuggestionQuery", {}).get("PropertyNameQuery", {}).get("PropertyNameHint", "").lower()
    names: set[str] = set()
    for one in resource.find(call):
        for top, value in one.searched.items():
            if isinstance(value, dict):
                names |= {f"{top}.{inner}" for inner in cast("dict[str, Any]", value)}
            else:
                names.add(top)
    shape: Any = models.service("sagemaker").model.shape_for("SearchRecord")
    names |= set(shape.members[resource.member].members)
    chosen = sorted(name for name in names if name.lower().startswith(hint))
    return {"PropertyNameSuggestions": [{"PropertyName": name} for name in chosen[:_SUGGESTIONS_AT_MOST]]}
