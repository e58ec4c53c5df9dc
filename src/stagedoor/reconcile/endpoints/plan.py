"""What to do next for one endpoint: a pure function of what is wanted and what is there.

Place in the flow: ``act`` looks at the record and at its workers, asks ``plan``, and carries the answer out. The same view
always gives the same plan, and a plan that was carried out gives an empty one, so nothing depends on what a crashed
server was doing.

An endpoint has at most two fleets: the one that serves and the one that is coming (the first fleet, the new fleet of an
update, or the same fleet with other counts and weights). Workers wanted are the union of both; everything else is drained. A fleet
takes over only when all its workers are ready, so an endpoint in service never loses a ready worker to an update.

An endpoint that nobody has used for a while rests: the fleet that serves is wanted no more, its routes stay published, without a
worker. It stays in service. Whoever asks then moves ``View.rest_at`` into the future, and the same plan brings the fleet back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Phase = Literal["starting", "ready", "draining"]


class Slot(NamedTuple):
    """A place for one worker. Fleets of the same generation share places: they run the same models."""

    generation: int
    variant: str
    number: int


@dataclass(frozen=True, slots=True)
class Variant:
    """A production variant of a fleet: its share of the traffic and its number of workers."""

    name: str
    weight: float
    count: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """Workers that go into service together."""

    generation: int
    variants: tuple[Variant, ...]

    def slots(self) -> list[Slot]:
        """A place for each worker."""
        return [
            Slot(self.generation, variant.name, number)
            for variant in self.variants
            for number in range(variant.count)
        ]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it is now. One that failed is no worker any more but a ``Failure`` of its slot."""

    id: str
    slot: Slot
    phase: Phase


@dataclass(frozen=True, slots=True)
class Failure:
    """What last went wrong in a slot: why, and when (monotonic seconds) to try again."""

    reason: str
    retry_at: float


@dataclass(frozen=True, slots=True)
class View:
    """All that matters about one endpoint. ``serving`` and ``coming`` as the record has them; ``deleting`` wins.

    ``rest_at`` is when (monotonic seconds) the serving fleet is wanted no more, unless it is used before; None: never.
    """

    serving: Fleet | None
    coming: Fleet | None
    deleting: bool
    workers: Sequence[Worker]
    failures: Mapping[Slot, Failure] = field(default_factory=dict[Slot, Failure])
    now: float = 0.0
    rest_at: float | None = None

    @property
    def rests(self) -> bool:
        """Whether nobody has used the endpoint for long enough."""
        return self.rest_at is not None and self.rest_at <= self.now


@dataclass(frozen=True, slots=True)
class Route:
    """A published variant: its weight and the ids of its ready workers."""

    variant: str
    weight: float
    worker_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A change of the record. ``takeover``: the coming fleet serves now. ``failure``: it never will, and why.

    ``gone``: nothing of a deleted endpoint is left.
    """

    kind: Literal["takeover", "failure", "gone"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """In this order: publish ``routes`` (None: take no invocations), write ``outcome``, then stop and start workers.

    ``due`` is when (monotonic seconds) to look again although nothing happened.
    """

    routes: tuple[Route, ...] | None
    outcome: Outcome | None = None
    stop: tuple[str, ...] = ()
    start: tuple[Slot, ...] = ()
    due: float | None = None


def plan(view: View) -> Plan:
    """The next step for one endpoint."""
    if view.deleting:
        stop = tuple(worker.id for worker in view.workers if worker.phase != "draining")
        return Plan(None, None if view.workers else Outcome("gone"), stop)
    wanted = dict.fromkeys(view.serving.slots() if view.serving and not view.rests else ())
    if view.coming is not None:
        wanted |= dict.fromkeys(view.coming.slots())
    taken = {worker.slot: worker for worker in view.workers if worker.phase != "draining"}
    ready = {slot: worker for slot, worker in taken.items() if worker.phase == "ready"}
    outcome = _outcome(view, ready)
    in_service = view.coming if outcome is not None and outcome.kind == "takeover" else view.serving
    routed = {slot: worker for slot, worker in ready.items() if slot in wanted}
    stop = tuple(worker.id for slot, worker in taken.items() if slot not in wanted)
    start: list[Slot] = []
    due: list[float] = []
    if view.serving is not None and view.rest_at is not None and not view.rests:
        due.append(view.rest_at)
    if outcome is None:
        for slot in wanted:
            if slot in taken:
                continue
            failure = view.failures.get(slot)
            if failure is not None and failure.retry_at > view.now:
                due.append(failure.retry_at)
            else:
                start.append(slot)
    return Plan(
        routes=None if in_service is None else _routes(in_service, routed),
        outcome=outcome,
        stop=stop,
        start=tuple(start),
        due=min(due, default=None),
    )


def _outcome(view: View, ready: Mapping[Slot, Worker]) -> Outcome | None:
    coming = view.coming
    if coming is None:
        return None
    slots = coming.slots()
    if all(slot in ready for slot in slots):
        return Outcome("takeover")
    # A worker that serves already is started again however often it fails; one that only the coming fleet has must
    # come up at the first attempt.
    serving = set(view.serving.slots()) if view.serving else set[Slot]()
    for slot in slots:
        if slot not in serving and slot in view.failures:
            return Outcome("failure", view.failures[slot].reason)
    return None


def _routes(fleet: Fleet, ready: Mapping[Slot, Worker]) -> tuple[Route, ...]:
    """Ready workers of the fleet's variants; while a variant shrinks, only those that stay."""
    return tuple(
        Route(
            variant.name,
            variant.weight,
            tuple(
                ready[slot].id
                for number in range(variant.count)
                if (slot := Slot(fleet.generation, variant.name, number)) in ready
            ),
        )
        for variant in fleet.variants
    )
