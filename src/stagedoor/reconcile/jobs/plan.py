"""Which jobs to start, which to stop: a pure function of the records, what runs, and the free slots.

Place in the flow: ``jobs.act`` looks, asks ``plan``, and carries it out. A job that is in progress and does not run is started
from its beginning, whether it is new, waited for a slot, or was lost with a crashed server: the plan does not tell these
apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stagedoor.store.records import Key

StopCause = Literal["Stopped", "MaxRuntimeExceeded"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has not ended, from its record. ``stopping``: somebody asked for its end."""

    key: Key
    stopping: bool
    created_at: float
    max_runtime_s: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A job that runs: for how long (on the monotonic clock), and why it was told to end, if it was."""

    elapsed_s: float
    stop_cause: StopCause | None = None


@dataclass(frozen=True, slots=True)
class View:
    """All that matters. ``runs`` may hold jobs whose record is gone or has ended."""

    jobs: Sequence[Job]
    runs: Mapping[Key, Run]
    free_slots: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``stop`` runs, ``end`` jobs that were asked to stop before they ran, ``start`` jobs, oldest first.

    ``due_s``: in this time the next run reaches its limit. ``waiting``: jobs are left without a slot.
    """

    stop: tuple[tuple[Key, StopCause], ...] = ()
    end: tuple[Key, ...] = ()
    start: tuple[Key, ...] = ()
    due_s: float | None = None
    waiting: bool = False


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
        elif job.max_runtime_s is not None:
            if run.elapsed_s >= job.max_runtime_s:
                stop.append((key, "MaxRuntimeExceeded"))
            else:
                left_s.append(job.max_runtime_s - run.elapsed_s)
    idle = sorted(
        (job for job in view.jobs if job.key not in view.runs), key=lambda job: (job.created_at, job.key)
    )
    end = tuple(job.key for job in idle if job.stopping)
    wanted = [job.key for job in idle if not job.stopping]
    start = tuple(wanted[: max(0, view.free_slots)])
    return Plan(tuple(stop), end, start, min(left_s, default=None), len(start) < len(wanted))
