"""What a tuning job does next, for any trials it may have."""

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.reconcile.tuning.early_stopping import behind_median, halved, rungs
from stagedoor.reconcile.tuning.plan import Limits, Plan, Trial, View, plan

NUMBERS = st.floats(-100, 100)
SERIES = st.lists(NUMBERS, max_size=12).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> View:
    early = draw(st.sampled_from(["Off", "Auto", "Hyperband"]))
    limits = Limits(
        max_jobs=draw(st.integers(1, 12)),
        parallel=draw(st.integers(1, 4)),
        maximize=draw(st.booleans()),
        max_runtime_s=draw(st.none() | st.floats(1, 100)),
        target=draw(st.none() | NUMBERS),
        not_improving=draw(st.none() | st.integers(3, 6)),
        on_convergence=draw(st.booleans()),
        early_stopping=early,
        min_resource=1,
        max_resource=9,
    )
    trials: list[Trial] = []
    for number in range(draw(st.integers(0, limits.max_jobs))):
        status = draw(st.sampled_from(["InProgress", "Stopping", "Completed", "Stopped", "Failed"]))
        over = status in ("Completed", "Stopped", "Failed")
        value = draw(st.none() | NUMBERS) if status in ("Completed", "Stopped") else None
        trials.append(Trial(f"t{number}", status, value, float(number) if over else None, draw(SERIES)))
    return View(limits, trials, draw(st.floats(0, 200)), draw(st.booleans()))


def live(view: View) -> list[Trial]:
    return [trial for trial in view.trials if trial.is_live]


@given(views())
def test_limits_are_never_exceeded(view: View) -> None:
    found = plan(view)
    assert found.start >= 0
    if found.start:
        assert len(live(view)) + found.start <= view.limits.parallel
        assert len(view.trials) + found.start <= view.limits.max_jobs
        assert not view.stopping


@given(views())
def test_only_what_runs_and_was_not_asked_before_is_stopped(view: View) -> None:
    running = {trial.name for trial in live(view) if trial.status == "InProgress"}
    assert set(plan(view).stop) <= running


@given(views())
def test_it_ends_only_when_nothing_runs_and_never_waits_for_nothing(view: View) -> None:
    found = plan(view)
    if found.ending is not None:
        assert not live(view) and not found.start
    if not live(view):
        assert found.ending is not None or found.start


@given(views())
def test_it_always_comes_to_an_end(view: View) -> None:
    """Whatever trials do, a tuning job whose trials all end does, too."""
    trials = list(view.trials)
    for _ in range(100):
        found: Plan = plan(View(view.limits, trials, view.elapsed_s, view.stopping))
        if found.ending is not None:
            return
        trials += [Trial(f"n{len(trials) + n}", "InProgress") for n in range(found.start)]
        trials = [
            Trial(trial.name, "Completed", 1.0, float(number)) if trial.is_live else trial
            for number, trial in enumerate(trials)
        ]
    raise AssertionError("no end")


@given(views())
def test_a_stopped_job_ends_as_stopped(view: View) -> None:
    stopping = View(view.limits, view.trials, view.elapsed_s, stopping=True)
    found = plan(stopping)
    if not live(view):
        assert found.ending == "Stopped"
    assert set(found.stop) == {trial.name for trial in live(view) if trial.status == "InProgress"}


def ended(*values: float | None, status: str = "Completed") -> list[Trial]:
    return [Trial(f"t{n}", status, value, float(n)) for n, value in enumerate(values)]


LIMITS = Limits(max_jobs=30, parallel=1, maximize=True)


def test_reasons_for_an_end() -> None:
    def of(trials: list[Trial], elapsed_s: float = 0, **members: object) -> tuple[str | None, str]:
        limits = Limits(**{"max_jobs": 30, "parallel": 1, "maximize": True} | members)  # type: ignore[arg-type]
        found = plan(View(limits, trials, elapsed_s))
        return found.ending, found.reason.split(".")[0]

    assert of(ended(0.5)) == (None, "")
    assert of(ended(0.5, 0.9), target=0.9) == ("Completed", "")
    assert of(ended(0.5, 0.8), target=0.9) == (None, "")
    assert of(ended(0.5, 0.2), target=0.3, maximize=False) == ("Completed", "")
    assert of(ended(0.9, 0.5, 0.6, 0.7), not_improving=3) == ("Completed", "")
    assert of(ended(0.5, 0.6, 0.7, 0.8), not_improving=3) == (None, "")
    assert of(ended(0.9, *[0.5] * 20), on_convergence=True) == ("Completed", "")
    assert of(ended(0.9, *[0.5] * 20)) == (None, "")
    assert of(ended(0.5), 100, max_runtime_s=99) == ("Stopped", "")
    assert of(ended(0.5, 0.4), max_jobs=2) == ("Completed", "")
    assert of(ended(*[None] * 5, status="Failed")) == ("Failed", "No training job succeeded after 5 attempts")
    assert of(ended(None, None, status="Failed"), max_jobs=2) == ("Failed", "All training jobs failed")
    assert of(ended(*[None] * 5)) == ("Failed", "No objective metrics found after running 5 training jobs")


def test_the_median_rule_compares_with_running_averages_at_the_same_epoch() -> None:
    others = [(0.1, 0.3), (0.2, 0.4), (0.5, 0.7)]  # averages at the second epoch: 0.2, 0.3, 0.6
    assert behind_median({"a": (0.9, 0.29)}, others, maximize=True) == ["a"]
    assert behind_median({"a": (0.0, 0.31)}, others, maximize=True) == []
    assert behind_median({"a": (0.0, 0.31)}, others, maximize=False) == ["a"]
    # Beyond the others' last epoch it is judged by that one.
    assert behind_median({"a": (0.9, 0.0, 0.9)}, others, maximize=True) == ["a"]
    assert behind_median({"a": (0.0, 0.9, 0.0)}, others, maximize=True) == []
    assert behind_median({"a": ()}, others, maximize=True) == []
    assert behind_median({"a": (0.0, 0.0)}, others[:2], maximize=True) == []


@given(st.lists(SERIES, min_size=1, max_size=12), st.booleans())
def test_the_best_of_a_rung_is_never_stopped_before_the_end(
    given: list[tuple[float, ...]], maximize: bool
) -> None:
    series = dict(enumerate(given))
    running = {f"t{number}": number for number in series}
    stopped = halved(running, series, 1, 9, maximize=maximize)
    steps = rungs(1, 9)
    for number, values in series.items():
        name = f"t{number}"
        if len(values) >= 9:
            assert name in stopped
            continue
        reached = [step for step in steps[number % len(steps) :] if step <= len(values)]
        if not reached:
            assert name not in stopped
            continue
        peers = [
            other[reached[-1] - 1]
            for key, other in series.items()
            if key % len(steps) == number % len(steps) and len(other) >= reached[-1]
        ]
        if values[reached[-1] - 1] == (max if maximize else min)(peers):
            assert name not in stopped
