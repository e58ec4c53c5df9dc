"""What a tuning job tries next: a pure function of the ranges, the strategy, the seed and the trials so far.

Place in the flow: ``reconcile.tuning`` asks ``propose`` once for each trial, before it records the trial; so a server that was
killed goes on where it was. Random search, grid search and Hyperband (whose choices are random: it is the early stopping that
makes it) need nothing but Python. Bayesian search models what was seen so far with a tree-structured Parzen estimator (Optuna),
after a few random trials.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, cast

from stagedoor.worker.tuning.space import Parameter, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Strategy = Literal["Bayesian", "Random", "Grid", "Hyperband"]

_ATTEMPTS = 50


class Trial(TypedDict):
    """One trial so far. ``value`` is its objective, absent while it runs and when it failed."""

    hyperparameters: dict[str, str]
    running: bool
    value: NotRequired[float]


class Question(TypedDict):
    """All that a proposal depends on. ``number`` counts the trials of these ranges from 0; JSON."""

    strategy: Strategy
    ranges: dict[str, Any]
    maximize: bool
    seed: int
    number: int
    trials: list[Trial]


def needs_model(question: Question) -> bool:
    """Whether the answer takes Optuna: its import is heavy, so that is done in another process."""
    if question["strategy"] != "Bayesian":
        return False
    space = Space.read(question["ranges"])
    return bool(space.parameters) and _known(space, question["trials"]) >= _warm_up_count(space)


def propose(question: Question) -> dict[str, str]:
    """The hyperparameters of the next trial, as texts. The same question always gets the same answer."""
    space = Space.read(question["ranges"])
    if question["strategy"] == "Grid":
        return space.combination(question["number"])
    rng = random.Random(f"{question['seed']}/{question['number']}")
    tried = [
        {name: trial["hyperparameters"].get(name) for name in space.names} for trial in question["trials"]
    ]
    proposal = _modelled(space, question, rng) if needs_model(question) else space.draw(rng)
    for _ in range(_ATTEMPTS):
        if proposal not in tried:
            break
        proposal = space.draw(rng)
    return proposal


def _warm_up_count(space: Space) -> int:
    return min(10, 2 * len(space.parameters) + 2)


def _known(space: Space, trials: Sequence[Trial]) -> int:
    return sum("value" in trial and space.values(trial["hyperparameters"]) is not None for trial in trials)


def _modelled(space: Space, question: Question, rng: random.Random) -> dict[str, str]:
    import warnings

    import optuna
    from optuna.exceptions import ExperimentalWarning

    warnings.simplefilter("ignore", ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {parameter.name: _distribution(parameter) for parameter in space.parameters}
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=0, multivariate=True, constant_liar=True, seed=rng.getrandbits(32)
    )
    study = optuna.create_study(direction="maximize" if question["maximize"] else "minimize", sampler=sampler)
    for trial in question["trials"]:
        values = space.values(trial["hyperparameters"])
        if values is not None and (trial["running"] or "value" in trial):
            study.add_trial(_frozen(trial, values, distributions))
    found = cast("dict[str, float | str]", study.ask(distributions).params)
    return {parameter.name: _text(parameter, found[parameter.name]) for parameter in space.parameters}


def _distribution(parameter: Parameter) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    return FloatDistribution(*parameter.axis)


def _frozen(
    trial: Trial, values: dict[str, float | str], distributions: dict[str, "BaseDistribution"]
) -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    if "value" not in trial:
        return create_trial(state=TrialState.RUNNING, params=values, distributions=distributions)
    return create_trial(value=trial["value"], params=values, distributions=distributions)


def _text(parameter: Parameter, value: float | str) -> str:
    return value if isinstance(value, str) else parameter.at(value)
