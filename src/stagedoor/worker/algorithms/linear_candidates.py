"""Which models the Linear Learner trains side by side: the one that was asked for, and others close to it.

Place in the flow: ``linear_learner_training`` lists candidates, ``linear_models`` trains them all, the validation data chooses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

from stagedoor.worker.algorithms.hyperparameters import Values

# What "auto" begins with, by optimizer.
_LEARNING_RATES = {"adam": 0.005, "rmsprop": 0.005, "sgd": 0.01}
_WEIGHT_DECAY = 1e-4
_RATE_FACTORS = (1.0, 20.0, 4.0, 100.0)
_DECAY_FACTORS = (1.0, 100.0, 0.01)
_L1_VALUES = (0.0, 1e-4)
_AUTO_MODELS = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model's own settings. ``positive_weight`` None: as balanced as the labels need."""

    learning_rate: float
    wd: float
    l1: float
    positive_weight: float | None

    def as_json(self) -> dict[str, float | str]:
        """For the log."""
        weight = "balanced" if self.positive_weight is None else self.positive_weight
        return {
            "learning_rate": self.learning_rate,
            "l1": self.l1,
            "wd": self.wd,
            "positive_example_weight_mult": weight,
        }


def optimizer_name(values: Values) -> str:
    """``auto`` is adam, as on AWS."""
    name = values.text("optimizer")
    return "adam" if name == "auto" else name


def candidates(values: Values, most: int) -> list[Candidate]:
    """At most ``num_models`` and ``most`` candidates, the one that was asked for first.

    With ``num_models`` auto, only what is auto itself varies; with a number, everything may.
    """
    wanted = values.integer_or_none("num_models")
    return list(islice(_all(values, vary_given=wanted is not None), min(wanted or _AUTO_MODELS, most)))


def _all(values: Values, *, vary_given: bool) -> Iterator[Candidate]:
    rate, wd, l1 = (values.number_or_none(name) for name in ("learning_rate", "wd", "l1"))
    base = _LEARNING_RATES[optimizer_name(values)] if rate is None else rate
    rates = [base * factor for factor in _RATE_FACTORS] if rate is None or vary_given else [base]
    decay = _WEIGHT_DECAY if wd is None else wd
    decays = [decay * factor for factor in _DECAY_FACTORS] if wd is None or vary_given else [decay]
    l1_values = list(_L1_VALUES) if l1 is None else [l1, l1 * 0.1, l1 * 10] if vary_given and l1 else [l1]
    seen: set[Candidate] = set()
    for l1_value, decay, weight, rate_value in product(l1_values, decays, _positive_weights(values), rates):
        candidate = Candidate(rate_value, decay, l1_value, weight)
        if candidate not in seen:
            seen.add(candidate)
            yield candidate


def _positive_weights(values: Values) -> list[float | None]:
    if values.text("predictor_type") != "binary_classifier":
        return [1.0]
    weight = values.text_or_none("positive_example_weight_mult")
    if weight == "balanced":
        return [None]
    if weight == "auto":
        return [1.0, None]
    return [values.number("positive_example_weight_mult")]
