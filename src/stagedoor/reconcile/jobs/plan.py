"""Which jobs to start, which to stop: a pure function of the records, what runs, and the free cores.

Place in the flow: ``jobs.act`` looks, asks ``plan``, and carries it out. A job that is in progress and does not run is started
from its beginning, whether it is new, waited for cores, or was lost with a crashed server: the plan does not tell these
apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stagedoor.store.records import Key

StopCause = Literal["Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has not ended, from its record. ``stopping``: somebody asked for its end.

    ``cores`` is what it takes to run. ``max_wait_s`` limits the time from its creation on, waiting included.
    """

    key: Key
    stopping: bool
    created_at: float
    max_runtime_s: float | None = None
    cores: int = 1
    max_wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A job that runs: for how long (on the monotonic clock), and why it was told to end, if it was."""

    elapsed_s: float
    stop_cause: StopCause | None = None


@dataclass(frozen=True, slots=True)
class View:
    """All that matters. ``runs`` may hold jobs whose record is gone or has ended.

    ``others_wait_since``: a job of another kind waits that was created then, and must not be overtaken. ``now`` is in the clock
    of ``created_at``.
    """

    jobs: Sequence[Job]
    runs: Mapping[Key, Run]
    free_cores: int
    now: float = 0.0
    others_wait_since: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """``stop`` runs, ``end`` jobs that were asked to stop before they ran, ``give_up`` those that waited too long, ``start`` jobs.

    ``due_s``: in this time the next limit is reached. ``waiting_since``: when the oldest job that is left waiting was created.
    """

    stop: tuple[tuple[Key, StopCause], ...] = ()
    end: tuple[Key, ...] = ()
    give_up: tuple[Key, ...] = ()
    start: tuple[Key, ...] = ()
    due_s: float | None = None
    waiting_since: float | None = None


def plan(view: View) -> Plan:
    """The next step for all jobs of one kind."""
    jobs = {job.key: job for job in view.jobs}
    stop: list[tuple[Key, StopCause]] = []
    left_s: list[float] = []
    for key, run in view.runs.items():
        if run.stop_cause is not None:
            continue
        job = jobs.get(key)
        if job is None or job.stopping:
            stop.append((key, "Stopped"))
            continue
        limits: list[tuple[float, StopCause]] = []
        if job.max_runtime_s is not None:
            limits.append((job.max_runtime_s - run.elapsed_s, "MaxRuntimeExceeded"))
        if job.max_wait_s is not None:
            limits.append((_wait_left_s(job, view.now), "MaxWaitTimeExceeded"))
        reached: list[StopCause] = [cause for left, cause in limits if left <= 0]
        if reached:
            stop.append((key, reached[0]))
        else:
            left_s += [left for left, _ in limits]
    idle = sorted(
        (job for job in view.jobs if job.key not in view.runs), key=lambda job: (job.created_at, job.key)
    )
    end = tuple(job.key for job in idle if job.stopping)
    wanted = [job for job in idle if not job.stopping]
    give_up = tuple(
        job.key for job in wanted if job.max_wait_s is not None and _wait_left_s(job, view.now) <= 0
    )
    wanted = [job for job in wanted if job.key not in give_up]
    start = _fitting(wanted, view)
    waiting = wanted[len(start) :]
    left_s += [_wait_left_s(job, view.now) for job in waiting if job.max_wait_s is not None]
    return Plan(
        tuple(stop),
        end,
        give_up,
        start,
        min(left_s, default=None),
        waiting[0].created_at if waiting else None,
    )


def _wait_left_s(job: Job, now: float) -> float:
    assert job.max_wait_s is not None
    return job.created_at + job.max_wait_s - now


def _fitting(wanted: Sequence[Job], view: View) -> tuple[Key, ...]:
    """The oldest ones, as many as there are cores for. A small job does not overtake a large one: that would never run."""
    free = view.free_cores
    found: list[Key] = []
    for job in wanted:
        overtakes = view.others_wait_since is not None and job.created_at > view.others_wait_since
        if job.cores > free or overtakes:
            break
        free -= job.cores
        found.append(job.key)
    return tuple(found)
