"""Hyperparameters as data: reads an algorithm's table, checks what the user sent against it.

Place in the flow: a training job's ``input/config/hyperparameters.json`` (strings) -> ``Table.validate`` or
``Table.complete`` -> typed values for the algorithm. The texts of the refusals are those that SageMaker's own algorithms
use, since people search for them.

The data file of an algorithm, ``NAME_hyperparameters.toml``, has one table for each hyperparameter:

    type       integer | float | boolean | choice | list (comma separated or JSON) | directions (tuple of -1, 0, 1) |
               groups (list of lists of column numbers)
    range      AWS's interval notation for numbers
    choices    the values AWS accepts
    default    what AWS documents; XGBoost: passed to the library only with default_differs (where the library's own differs)
    auto       true: the word auto is a value, too; the algorithm then chooses
    words      other words that are values of a number, too
    required   true when a job without it fails
    aliases    other names for the same thing
    use        library (default): handed to the library; algorithm: read by the training code itself; nothing: accepted, has no
               effect here (the job's log says so)
    only       the values that can be honoured here; AWS accepts more, the others are refused by name, see because
    because    why others are refused, or why it has no effect
"""

import ast
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from stagedoor.worker.algorithms.failures import ClientError

Kind = Literal["integer", "float", "boolean", "choice", "list", "directions", "groups"]
Use = Literal["library", "algorithm", "nothing"]
AUTO = "auto"
_TRUE, _FALSE = ("true", "1"), ("false", "0")
Value = int | float | str | list[str] | tuple[int, ...] | list[list[int]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of numbers in AWS's notation, such as ``(0, 1]`` or ``[1, +inf)``."""

    text: str
    low: float
    high: float
    low_closed: bool
    high_closed: bool

    @classmethod
    def parse(cls, text: str) -> "Interval":
        low, high = text[1:-1].split(",")
        return cls(text, float(low), float(high), text[0] == "[", text[-1] == "]")

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.low_closed else value > self.low
        below = value <= self.high if self.high_closed else value < self.high
        return above and below


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One row of the table; the meaning of each field stands at the head of this module."""

    name: str
    kind: Kind
    interval: Interval | None
    choices: tuple[str, ...]
    default: str | None
    default_differs: bool
    auto: bool
    words: tuple[str, ...]
    required: bool
    aliases: tuple[str, ...]
    use: Use
    only: tuple[str, ...] | None
    because: str

    def parse(self, text: str) -> Value:
        """The typed value of ``text``; ClientError when it cannot be read, is outside the range or not possible here."""
        try:
            value = self._read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            reason = f"could not parse value {text[:100]!r} (caused by {type(error).__name__})"
            raise ClientError(f"Hyperparameter {self.name}: {reason}") from error
        self._check_range(value)
        self._check_possible(value)
        return value

    def _read(self, text: str) -> Value:
        word = text.strip().lower()
        if (self.auto and word == AUTO) or word in self.words:
            return word
        match self.kind:
            case "integer":
                return int(text)
            case "float":
                return _finite(float(text))
            case "boolean":
                return _truth(text)
            case "list":
                return _items(text)
            case "directions":
                return tuple(_integers(ast.literal_eval(text)))
            case "groups":
                return [list(_integers(group)) for group in ast.literal_eval(text)]
            case "choice":
                return text

    def _check_range(self, value: Value) -> None:
        if isinstance(value, str) and self.kind != "choice":
            return  # auto, or one of the words
        if self.interval is not None and isinstance(value, int | float) and value not in self.interval:
            raise ClientError(f"Hyperparameter {self.name}: {value} is not in {self.interval.text}")
        if self.kind == "choice" and value not in self.choices:
            raise ClientError(f"Hyperparameter {self.name}: {value} is not in {list(self.choices)}")
        if self.kind == "list" and self.choices and not set(_texts(value)) <= set(self.choices):
            raise ClientError(f"Hyperparameter {self.name}: value {value} not in range {list(self.choices)}")
        if self.kind == "directions" and not set(_texts(value)) <= {"-1", "0", "1"}:
            raise ClientError(f"Hyperparameter {self.name}: value {value} not in range [-1, 0, 1]")

    def _check_possible(self, value: Value) -> None:
        if self.only is None:
            return
        possible = [self._read(text) for text in self.only]
        wanted: Sequence[Any] = value if isinstance(value, list) else [value]
        if self.kind == "list":
            possible = list(self.only)
        for item in wanted:
            if item not in possible:
                raise ClientError(f"Hyperparameter {self.name}: {item} is not supported: {self.because}")


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def _truth(text: str) -> bool:
    """The SDKs write Python's True, people write true."""
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(f"{text} is neither true nor false")
    return word in _TRUE


def _items(text: str) -> list[str]:
    """``a,b``, or a JSON list as the SDKs write it."""
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",")]
    items = json.loads(text)
    if not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of words")
    return items


def _integers(values: Any) -> Sequence[int]:
    if not isinstance(values, list | tuple):
        raise ValueError("expected a list")
    numbers: list[int] = []
    for value in cast("Sequence[Any]", values):
        if type(value) is not int:
            raise ValueError("expected whole numbers")
        numbers.append(value)
    return numbers


def _texts(value: Value) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


class Values:
    """Typed values by name, complete with defaults. A missing one, or one that says auto, is None where that is allowed."""

    def __init__(self, values: Mapping[str, Value], given: frozenset[str]) -> None:
        self._values = values
        self.given = given

    def integer(self, name: str) -> int:
        """A whole number that is always there."""
        value = self._values[name]
        assert isinstance(value, int), name
        return value

    def number(self, name: str) -> float:
        """A number that is always there."""
        value = self._values[name]
        assert isinstance(value, int | float), name
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false, always there."""
        value = self._values[name]
        assert isinstance(value, bool), name
        return value

    def text(self, name: str) -> str:
        """One of several words, always there."""
        value = self._values[name]
        assert isinstance(value, str), name
        return value

    def words(self, name: str) -> list[str]:
        """Several words; none of them when it is missing."""
        value = self._values.get(name, [])
        return [str(word) for word in value] if isinstance(value, list) else [str(value)]

    def tuned_metric(self) -> str | None:
        """The metric that a tuner watches, without its channel: an algorithm computes it whatever else it was asked for."""
        words = self.words("_tuning_objective_metric")
        return words[0].rpartition(":")[2] if words else None

    def integer_or_none(self, name: str) -> int | None:
        """None: the algorithm is to choose."""
        value = self._values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number_or_none(self, name: str) -> float | None:
        """None: the algorithm is to choose."""
        value = self._values.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def flag_or_none(self, name: str) -> bool | None:
        """None: the algorithm is to choose."""
        value = self._values.get(name)
        return value if isinstance(value, bool) else None

    def text_or_none(self, name: str) -> str | None:
        """None when it was not given and has no default."""
        value = self._values.get(name)
        return value if isinstance(value, str) else None


class Table:
    """All hyperparameters of one algorithm."""

    def __init__(self, hyperparameters: Sequence[Hyperparameter]) -> None:
        self.hyperparameters = {one.name: one for one in hyperparameters}
        self._alias_of = {alias: one.name for one in hyperparameters for alias in one.aliases}

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read the data file (TOML, one table per hyperparameter)."""
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls([_hyperparameter(name, row) for name, row in rows.items()])

    def find(self, name: str) -> Hyperparameter | None:
        """The hyperparameter of that name or alias."""
        return self.hyperparameters.get(self._alias_of.get(name, name))

    def validate(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """The user's values, typed, under their main names, in the order sent. ClientError names what is wrong."""
        named = {self._alias_of.get(name, name): text for name, text in texts.items()}
        for one in self.hyperparameters.values():
            if one.required and one.name not in named:
                raise ClientError(f"Missing required hyperparameter: {one.name}")
        values: dict[str, Value] = {}
        for name, text in named.items():
            if name not in self.hyperparameters:
                raise ClientError(f"Extraneous hyperparameter found: {name}")
            values[name] = self.hyperparameters[name].parse(text)
        return values

    def complete(self, texts: Mapping[str, str]) -> Values:
        """The user's values and, for what was not sent, the defaults."""
        values = self.validate(texts)
        given = frozenset(values)
        for one in self.hyperparameters.values():
            if one.default is not None:
                values.setdefault(one.name, one.parse(one.default))
        return Values(values, given)

    def without_effect(self, given: frozenset[str]) -> list[str]:
        """What the job's log is to say about hyperparameters that were sent and change nothing here."""
        rows = (one for one in self.hyperparameters.values() if one.name in given and one.use == "nothing")
        return [
            f"Hyperparameter {one.name} has no effect here: {one.because}." for one in rows if one.because
        ]


def _hyperparameter(name: str, row: Mapping[str, Any]) -> Hyperparameter:
    return Hyperparameter(
        name=name,
        kind=row["type"],
        interval=Interval.parse(row["range"]) if "range" in row else None,
        choices=tuple(row.get("choices", ())),
        default=row.get("default"),
        default_differs=row.get("default_differs", False),
        auto=row.get("auto", False),
        words=tuple(row.get("words", ())),
        required=row.get("required", False),
        aliases=tuple(row.get("aliases", ())),
        use=row.get("use", "library"),
        only=tuple(row["only"]) if "only" in row else None,
        because=row.get("because", ""),
    )
