"""Which queued events (asynchronous invocations) to run, to put off or to give up: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from stagedoor.store.records import Key

MAX_AGE_S = 6 * 3600.0
"""An event that could not be run for so long is given up, as on AWS."""

_THROTTLED_PAUSE_S = 1.0
_LONGEST_THROTTLED_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event as far as the plan cares. ``attempts`` counts the runs that were begun; times in epoch seconds."""

    key: Key
    accepted_at: float
    due_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class EventPlan:
    """``run`` now, ``give_up`` for good; ``next_due_at`` is when to look again (None: nothing to wait for)."""

    run: list[QueuedEvent]
    give_up: list[QueuedEvent]
    next_due_at: float | None


def plan_events(
    events: Sequence[QueuedEvent], running: int, now: float, *, retries: int, places: int
) -> EventPlan:
    """What to do with the events that do not run (earliest due first), while ``running`` others occupy places.

    An event whose last attempt was begun and never ended (the server died) is not run once more than ``retries`` allows.
    """
    run: list[QueuedEvent] = []
    give_up: list[QueuedEvent] = []
    next_due_at: float | None = None
    for event in events:
        if event.attempts > retries or now - event.accepted_at > MAX_AGE_S:
            give_up.append(event)
        elif event.due_at > now:
            next_due_at = event.due_at
            break
        elif running + len(run) < places:
            run.append(event)
    return EventPlan(run, give_up, next_due_at)


def next_attempt_at(attempts: int, delays_s: Sequence[float], now: float) -> float | None:
    """When an event that failed ``attempts`` times is due again; None when that was the last time."""
    return now + delays_s[attempts - 1] if attempts <= len(delays_s) else None


def after_throttle(accepted_at: float, now: float) -> float:
    """When an event that found no room is due again: the longer it waits already, the later."""
    pause_s = min(max(_THROTTLED_PAUSE_S, (now - accepted_at) / 2), _LONGEST_THROTTLED_PAUSE_S)
    return now + pause_s
