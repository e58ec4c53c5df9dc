"""The search space of a tuning job: ParameterRanges, whose values are all strings, as numbers that can be drawn and compared.

Place in the flow: CreateHyperParameterTuningJob reads a space to refuse what is wrong with it, ``proposals`` draws from it. A
number is searched on an axis of its own: itself, its logarithm, or the logarithm of its distance from one.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["integer", "continuous", "categorical"]
Scaling = Literal["Linear", "Logarithmic", "ReverseLogarithmic"]

_WIDE = 100
"""``Auto`` searches a range on a logarithmic axis when its ends are this far apart."""


class SpaceError(ValueError):
    """A range that cannot be searched; the text names the hyperparameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyperparameter's range. ``choices`` are a categorical one's values, ``low`` and ``high`` the ends of the others."""

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    scaling: Scaling = "Linear"
    choices: tuple[str, ...] = ()

    @property
    def axis(self) -> tuple[float, float]:
        """The ends on the axis it is searched on; a whole number has its share on both sides."""
        share = 0.499 if self.kind == "integer" else 0.0
        return self.place(self.low - share), self.place(self.high + share)

    @property
    def count(self) -> int | None:
        """How many values it has; None for a continuum."""
        if self.kind == "categorical":
            return len(self.choices)
        if self.kind == "integer" or self.low == self.high:
            return int(self.high) - int(self.low) + 1
        return None

    def place(self, value: float) -> float:
        """Where a number is on the axis."""
        if self.scaling == "Logarithmic":
            return math.log(value)
        if self.scaling == "ReverseLogarithmic":
            return -math.log1p(-value)
        return value

    def at(self, place: float) -> str:
        """The value, as a hyperparameter's text, at a place on the axis; never outside of the range."""
        value = place
        if self.scaling == "Logarithmic":
            value = math.exp(place)
        elif self.scaling == "ReverseLogarithmic":
            value = -math.expm1(-place)
        value = min(max(value, self.low), self.high)
        return str(round(value)) if self.kind == "integer" else repr(float(value))

    def draw(self, rng: random.Random) -> str:
        """A value at random."""
        if self.kind == "categorical":
            return rng.choice(self.choices)
        return self.at(rng.uniform(*self.axis))

    def read(self, text: str) -> float | str | None:
        """A text as a value of this range: its place on the axis, or the choice itself; None when it lies outside."""
        if self.kind == "categorical":
            return text if text in self.choices else None
        try:
            value = float(text)
        except ValueError:
            return None
        return self.place(value) if self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True)
class Space:
    """All hyperparameters that are tuned together."""

    parameters: tuple[Parameter, ...]

    @classmethod
    def read(cls, ranges: Mapping[str, Any]) -> "Space":
        """Read ParameterRanges. SpaceError names what is wrong."""
        parameters = [_number(each, "integer") for each in ranges.get("IntegerParameterRanges", [])]
        parameters += [_number(each, "continuous") for each in ranges.get("ContinuousParameterRanges", [])]
        parameters += [_choice(each) for each in ranges.get("CategoricalParameterRanges", [])]
        seen: set[str] = set()
        for parameter in parameters:
            if parameter.name in seen:
                raise SpaceError(f"The hyperparameter {parameter.name} has more than one range.")
            seen.add(parameter.name)
        return cls(tuple(parameters))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def count(self) -> int | None:
        """How many combinations there are; None for endlessly many."""
        total = 1
        for parameter in self.parameters:
            if parameter.count is None:
                return None
            total *= parameter.count
        return total

    def draw(self, rng: random.Random) -> dict[str, str]:
        """A combination at random."""
        return {parameter.name: parameter.draw(rng) for parameter in self.parameters}

    def combination(self, number: int) -> dict[str, str]:
        """The combination of that number, from 0, of categorical hyperparameters; the last one changes fastest."""
        chosen: dict[str, str] = {}
        for parameter in reversed(self.parameters):
            number, index = divmod(number, len(parameter.choices))
            chosen[parameter.name] = parameter.choices[index]
        return {name: chosen[name] for name in self.names}

    def values(self, texts: Mapping[str, str]) -> dict[str, float | str] | None:
        """What a trial with these hyperparameters was, in this space; None when it lies outside."""
        found = {
            parameter.name: parameter.read(texts[parameter.name])
            for parameter in self.parameters
            if parameter.name in texts
        }
        values = {name: value for name, value in found.items() if value is not None}
        return values if len(values) == len(self.parameters) else None


def _number(given: Mapping[str, Any], kind: Literal["integer", "continuous"]) -> Parameter:
    name = given["Name"]
    low, high = (_read_number(given[end], name, end, kind) for end in ("MinValue", "MaxValue"))
    if low > high:
        raise SpaceError(f"The hyperparameter {name} has a MinValue above its MaxValue: {given['MinValue']}.")
    scaling = given.get("ScalingType", "Auto")
    if scaling == "Logarithmic" and low <= 0:
        raise SpaceError(f"The hyperparameter {name} needs a MinValue above 0 for Logarithmic scaling.")
    if scaling == "ReverseLogarithmic":
        if kind == "integer":
            raise SpaceError(
                f"The hyperparameter {name} is an integer: it cannot have ReverseLogarithmic scaling."
            )
        if low < 0 or high >= 1:
            raise SpaceError(
                f"The hyperparameter {name} needs a range within [0, 1) for ReverseLogarithmic scaling."
            )
    if scaling == "Auto":
        scaling = "Logarithmic" if low > 0 and high / low >= _WIDE else "Linear"
    return Parameter(name, kind, low, high, scaling)


def _read_number(text: str, name: str, end: str, kind: str) -> float:
    try:
        value = float(int(text)) if kind == "integer" else float(text)
    except (ValueError, OverflowError):
        raise SpaceError(
            f"The hyperparameter {name} has a {end} that is no {kind} number: {text!r}."
        ) from None
    if not math.isfinite(value):
        raise SpaceError(f"The hyperparameter {name} has a {end} that is not finite: {text!r}.")
    return value


def _choice(given: Mapping[str, Any]) -> Parameter:
    choices: Sequence[str] = given["Values"]
    if len(set(choices)) < len(choices):
        raise SpaceError(f"The hyperparameter {given['Name']} has a value more than once.")
    return Parameter(given["Name"], "categorical", choices=tuple(choices))
