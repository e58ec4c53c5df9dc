"""What a tuning job does next: a pure function of its limits and its trials.

Place in the flow: ``tuning.act`` looks at the records and the trials' logs, asks ``plan`` and carries it out. What was
lost with a crashed server is not told apart from what was never begun.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stagedoor.domain.tuning_trials import better
from stagedoor.reconcile.tuning import early_stopping

Status = Literal["Completed", "Failed", "Stopped"]

_ATTEMPTS = 5
_CONVERGED_AFTER = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """HyperParameterTuningJobConfig, as far as it limits. ``early_stopping`` is ``Hyperband`` for that strategy."""

    max_jobs: int
    parallel: int
    maximize: bool
    max_runtime_s: float | None = None
    target: float | None = None
    not_improving: int | None = None
    on_convergence: bool = False
    early_stopping: Literal["Off", "Auto", "Hyperband"] = "Off"
    min_resource: int = 1
    max_resource: int = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """One training job, in the order of their creation. ``status`` is its TrainingJobStatus.

    ``value`` is its objective when it succeeded, ``series`` what it reported epoch by epoch; ``ended_at`` orders the ends.
    """

    name: str
    status: str
    value: float | None = None
    ended_at: float | None = None
    series: tuple[float, ...] = ()

    @property
    def is_live(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class View:
    """All that matters. ``stopping``: StopHyperParameterTuningJob was called."""

    limits: Limits
    trials: Sequence[Trial]
    elapsed_s: float
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """``start`` so many trials, ``stop`` those, and when ``ending`` is given, the tuning job is over.

    ``not_improving`` counts the trials that ended since the best one did. ``due_s``: in this time the job's own limit is reached.
    """

    start: int = 0
    stop: tuple[str, ...] = ()
    ending: Status | None = None
    reason: str = ""
    not_improving: int = 0
    converged: bool = False
    due_s: float | None = None


def plan(view: View) -> Plan:
    """The next step of one tuning job."""
    limits, trials = view.limits, view.trials
    live = [trial for trial in trials if trial.is_live]
    unimproved = _not_improving(trials, maximize=limits.maximize)
    converged = unimproved >= _CONVERGED_AFTER
    due_s = None if limits.max_runtime_s is None else max(0.0, limits.max_runtime_s - view.elapsed_s)
    failure = _failure(trials, limits.max_jobs)
    over: Status | None = None
    if view.stopping or due_s == 0:
        over = "Stopped"
    elif failure:
        over = "Failed"
    elif (
        _target_met(trials, limits)
        or (limits.not_improving is not None and unimproved >= limits.not_improving)
        or (limits.on_convergence and converged)
    ):
        over = "Completed"
    if over is not None:
        stop = tuple(trial.name for trial in live if trial.status == "InProgress")
        ending = None if live else over
        return Plan(0, stop, ending, failure if over == "Failed" else "", unimproved, converged)
    left = limits.max_jobs - len(trials)
    if left <= 0 and not live:
        return Plan(0, (), "Completed", "", unimproved, converged)
    start = max(0, min(limits.parallel - len(live), left))
    return Plan(start, _given_up(limits, trials), None, "", unimproved, converged, due_s)


def _target_met(trials: Sequence[Trial], limits: Limits) -> bool:
    target = limits.target
    return target is not None and any(
        trial.value is not None and not better(target, trial.value, maximize=limits.maximize)
        for trial in trials
    )


def _not_improving(trials: Sequence[Trial], *, maximize: bool) -> int:
    """How many trials ended since the one with the best objective did."""
    ended = sorted(
        (trial for trial in trials if trial.ended_at is not None),
        key=lambda trial: (trial.ended_at or 0.0, trial.name),
    )
    best: float | None = None
    since = 0
    for trial in ended:
        since += 1
        if trial.value is not None and better(trial.value, best, maximize=maximize):
            best, since = trial.value, 0
    return since if best is not None else 0


def _failure(trials: Sequence[Trial], max_jobs: int) -> str:
    """Why the tuning job has no sense any more; empty while it has."""
    ended = [trial for trial in trials if not trial.is_live]
    if any(trial.value is not None for trial in ended) or len(ended) < min(_ATTEMPTS, max_jobs):
        return ""
    if any(trial.status == "Completed" for trial in ended):
        return (
            f"No objective metrics found after running {len(ended)} training jobs. Please ensure that the algorithm is "
            "emitting the objective metric as defined by the regular expression provided."
        )
    if len(ended) >= max_jobs:
        return (
            "All training jobs failed. Please take a look at the training job failures to get more details."
        )
    return (
        f"No training job succeeded after {len(ended)} attempts. Please take a look at the training job failures to get "
        "more details."
    )


def _given_up(limits: Limits, trials: Sequence[Trial]) -> tuple[str, ...]:
    running = [
        (number, trial)
        for number, trial in enumerate(trials)
        if trial.is_live and trial.status == "InProgress"
    ]
    if limits.early_stopping == "Auto":
        return tuple(
            early_stopping.behind_median(
                {trial.name: trial.series for _, trial in running},
                [trial.series for trial in trials if not trial.is_live],
                maximize=limits.maximize,
            )
        )
    if limits.early_stopping == "Hyperband":
        return tuple(
            early_stopping.halved(
                {trial.name: number for number, trial in running},
                {number: trial.series for number, trial in enumerate(trials)},
                limits.min_resource,
                limits.max_resource,
                maximize=limits.maximize,
            )
        )
    return ()
