"""Which function workers to start and to stop: a pure function of what runs, who waits and what the store says.

Rules: a worker serves one revision of one version. Busy and starting workers are left alone; an idle one is stopped when its
revision is no longer current, when it was idle for too long, when its credentials run out, or when others wait and there is
no place left (the one that was idle longest first). Condemned ones are stopped. Those who wait are served in turn, so that
one function's burst does not keep another one out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stagedoor.traffic.function_pools import Demand, State
from stagedoor.traffic.function_routes import VersionKey

_STARTING_AT_ONCE = 8
"""More starts at a time would only make each of them slower, and most of a burst is served by the first workers."""

_EXPIRY_MARGIN_S = 960.0
"""An idle worker whose credentials last no longer than the longest invocation (and a minute) is not used again."""


class WorkerView(Protocol):
    """What the plan looks at in a worker (``traffic.function_pools.FunctionWorker`` is one)."""

    @property
    def id(self) -> str: ...
    @property
    def key(self) -> VersionKey: ...
    @property
    def revision(self) -> str: ...
    @property
    def state(self) -> State: ...
    @property
    def since(self) -> float: ...
    @property
    def expires(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Start:
    """Start one worker."""

    key: VersionKey
    revision: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop one worker."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Renew:
    """Those who wait for an older revision are to have this one."""

    key: VersionKey
    revision: str


@dataclass(frozen=True, slots=True)
class Reject:
    """The version is gone: those who wait for it are told so."""

    key: VersionKey


Action = Start | Stop | Renew | Reject


@dataclass(frozen=True, slots=True)
class Limits:
    """``concurrency``: workers at most. ``idle_s``: an idle one is kept so long; 0: for ever."""

    concurrency: int
    idle_s: float


def plan(
    workers: Sequence[WorkerView],
    demand: Sequence[Demand],
    current: Mapping[VersionKey, str],
    limits: Limits,
    now: float,
) -> list[Action]:
    """What to do now. ``current`` has the revision of every version that exists among those of workers and demand."""
    actions: list[Action] = []
    waiting: dict[VersionKey, int] = {}
    for key, revision, count in demand:
        if key not in current:
            actions.append(Reject(key))
            continue
        if current[key] != revision:
            actions.append(Renew(key, current[key]))
        waiting[key] = waiting.get(key, 0) + count
    stopped = {worker.id for worker in workers if _is_over(worker, current, limits, now)}
    missing = _missing(waiting, workers, current)
    starting = sum(worker.state == "starting" for worker in workers)
    room = limits.concurrency - len(workers)
    starts = list(_in_turn(missing))[: max(0, _STARTING_AT_ONCE - starting)]
    actions += [Start(key, current[key]) for key in starts[: max(0, room)]]
    # The places of workers that are being stopped are used by a later pass, when they are gone.
    short = len(starts) - max(0, room) - len(stopped)
    if short > 0:
        spare = sorted(
            (w for w in workers if w.state == "idle" and w.id not in stopped), key=lambda w: w.since
        )
        stopped |= {worker.id for worker in spare[:short]}
    actions += [Stop(worker.id) for worker in workers if worker.id in stopped]
    return actions


def next_idle_end(workers: Sequence[WorkerView], idle_s: float) -> float | None:
    """When (monotonic seconds) the first of the idle workers has been idle for too long, if nobody uses it."""
    ends = (worker.since + idle_s for worker in workers if worker.state == "idle")
    return min(ends, default=None) if idle_s else None


def _is_over(worker: WorkerView, current: Mapping[VersionKey, str], limits: Limits, now: float) -> bool:
    if worker.state == "condemned":
        return True
    if worker.state != "idle":
        return False
    outdated = current.get(worker.key) != worker.revision
    unused = 0 < limits.idle_s <= now - worker.since
    return outdated or unused or worker.expires - now < _EXPIRY_MARGIN_S


def _missing(
    waiting: Mapping[VersionKey, int], workers: Sequence[WorkerView], current: Mapping[VersionKey, str]
) -> dict[VersionKey, int]:
    """How many workers each version still needs beyond those that are starting."""
    missing = dict(waiting)
    for worker in workers:
        if (
            worker.state == "starting"
            and worker.key in missing
            and worker.revision == current.get(worker.key)
        ):
            missing[worker.key] -= 1
    return {key: count for key, count in missing.items() if count > 0}


def _in_turn(missing: Mapping[VersionKey, int]) -> Iterable[VersionKey]:
    """One for each version, then another one for each, until all have theirs."""
    left = dict(missing)
    while left:
        for key in list(left):
            yield key
            left[key] -= 1
            if not left[key]:
                del left[key]
