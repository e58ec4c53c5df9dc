"""What a tuning job tries: within its ranges, and always the same for the same trials."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagedoor.worker.tuning.proposals import Question, Trial, needs_model, propose
from stagedoor.worker.tuning.space import Space, SpaceError

RANGES: dict[str, Any] = {
    "IntegerParameterRanges": [
        {"Name": "depth", "MinValue": "2", "MaxValue": "9", "ScalingType": "Linear"},
        {"Name": "rounds", "MinValue": "1", "MaxValue": "1000", "ScalingType": "Logarithmic"},
    ],
    "ContinuousParameterRanges": [
        {"Name": "eta", "MinValue": "0.001", "MaxValue": "0.9"},
        {"Name": "momentum", "MinValue": "0", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
        {"Name": "offset", "MinValue": "-1", "MaxValue": "1", "ScalingType": "Auto"},
    ],
    "CategoricalParameterRanges": [{"Name": "booster", "Values": ["gbtree", "dart"]}],
}


def within(tuned: dict[str, str]) -> bool:
    values = Space.read(RANGES).values(tuned)
    return values is not None and tuned["depth"].isdigit() and tuned["rounds"].isdigit()


def tried(tuned: dict[str, str], value: float | None, *, running: bool = False) -> Trial:
    trial: Trial = {"hyperparameters": tuned, "running": running}
    if value is not None:
        trial["value"] = value
    return trial


def question(strategy: Any, seed: int, trials: list[Trial], number: int | None = None) -> Question:
    return {
        "strategy": strategy,
        "ranges": RANGES,
        "maximize": False,
        "seed": seed,
        "number": len(trials) if number is None else number,
        "trials": trials,
    }


@given(st.sampled_from(["Random", "Bayesian", "Hyperband"]), st.integers(0, 2**31), st.integers(0, 500))
def test_proposals_lie_in_their_ranges_and_depend_on_nothing_else(
    strategy: Any, seed: int, number: int
) -> None:
    asked = question(strategy, seed, [], number)
    proposal = propose(asked)
    assert within(proposal)
    assert propose(json.loads(json.dumps(asked))) == proposal


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31), st.lists(st.none() | st.floats(-1e6, 1e6), min_size=15, max_size=25), st.booleans()
)
def test_bayesian_proposals_are_a_function_of_the_trials(
    seed: int, values: list[float | None], running: bool
) -> None:
    trials: list[Trial] = []
    for value in values:
        trials.append(
            tried(propose(question("Random", seed, trials)), value, running=running and value is None)
        )
    asked = question("Bayesian", seed, trials)
    proposal = propose(asked)
    assert within(proposal)
    assert propose(json.loads(json.dumps(asked))) == proposal


def test_bayesian_search_finds_a_valley_that_random_search_does_not() -> None:
    ranges = {
        "ContinuousParameterRanges": [{"Name": name, "MinValue": "0", "MaxValue": "1"} for name in "abc"]
    }

    def search(strategy: Any, seed: int) -> float:
        trials: list[Trial] = []
        for _ in range(40):
            tuned = propose(question(strategy, seed, trials) | {"ranges": ranges})  # type: ignore[arg-type]
            trials.append(tried(tuned, sum((float(tuned[name]) - 0.7) ** 2 for name in "abc")))
        return min(trial.get("value", math.inf) for trial in trials)

    seeds = range(5)
    assert sum(search("Bayesian", seed) for seed in seeds) < 0.5 * sum(
        search("Random", seed) for seed in seeds
    )


def test_what_was_tried_is_not_tried_again_while_there_is_something_else() -> None:
    ranges = {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "6"}]}
    trials: list[Trial] = []
    for _ in range(6):
        trials.append(tried(propose(question("Random", 1, trials) | {"ranges": ranges}), 1.0))  # type: ignore[arg-type]
    assert sorted(trial["hyperparameters"]["n"] for trial in trials) == list("123456")


def test_trials_outside_of_the_ranges_do_not_count() -> None:
    inside = propose(question("Random", 1, []))
    outside = inside | {"eta": "5"}
    assert not needs_model(question("Bayesian", 1, [tried(outside, 1.0)] * 50))
    assert needs_model(question("Bayesian", 1, [tried(inside, 1.0)] * 50))
    assert within(propose(question("Bayesian", 1, [tried(outside, 1.0)] * 5 + [tried(inside, 2.0)] * 20)))


def test_scaling_decides_where_values_are_drawn() -> None:
    def median(name: str) -> float:
        drawn = sorted(float(propose(question("Random", 3, [], n))[name]) for n in range(400))
        return drawn[200]

    assert (
        0.02 < median("eta") < 0.05
    )  # Auto: a wide range of positive numbers is searched on a logarithmic axis
    assert median("momentum") > 0.9
    assert abs(median("offset")) < 0.2
    assert 15 < median("rounds") < 70


def test_a_grid_has_all_combinations_in_order() -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "a", "Values": ["x", "y"]},
            {"Name": "b", "Values": ["1", "2", "3"]},
        ]
    }
    assert Space.read(ranges).count == 6
    found = [propose(question("Grid", 0, [], n) | {"ranges": ranges}) for n in range(6)]  # type: ignore[arg-type]
    assert [(each["a"], each["b"]) for each in found] == [(a, b) for a in ("x", "y") for b in ("1", "2", "3")]


def test_broken_ranges_name_the_hyperparameter() -> None:
    for given_range, text in [
        ({"Name": "n", "MinValue": "1.5", "MaxValue": "2"}, "n has a MinValue that is no integer number"),
        (
            {"Name": "n", "MinValue": "1", "MaxValue": "2", "ScalingType": "ReverseLogarithmic"},
            "n is an integer",
        ),
    ]:
        with pytest.raises(SpaceError, match=text):
            Space.read({"IntegerParameterRanges": [given_range]})
    twice = [{"Name": "c", "Values": ["a"]}] * 2
    with pytest.raises(SpaceError, match="c has more than one range"):
        Space.read({"CategoricalParameterRanges": twice})


def test_the_process_answers_line_by_line_and_ends_with_its_input() -> None:
    trials = [tried(propose(question("Random", 1, [], n)), float(n)) for n in range(20)]
    asked = question("Bayesian", 1, trials)
    lines = json.dumps(asked) + "\nnot json\n" + json.dumps(asked) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "stagedoor.worker.tuning.proposer"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert first == third == {"proposal": propose(asked)}
    assert "JSONDecodeError" in second["error"]
    assert done.returncode == 0
