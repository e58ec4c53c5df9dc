"""Planning of endpoints: the steps one by one, then any history of events."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagedoor.reconcile.endpoints.plan import (
    Failure,
    Fleet,
    Outcome,
    Plan,
    Route,
    Slot,
    Variant,
    View,
    Worker,
    plan,
)

ONE = Fleet(1, (Variant("A", 1.0, 1),))
TWO = Fleet(2, (Variant("A", 1.0, 2),))


def worker(slot: Slot, phase: str = "ready") -> Worker:
    return Worker(f"{slot.generation}.{slot.variant}.{slot.number}", slot, phase)  # type: ignore[arg-type]


def view(
    serving: Fleet | None = None, coming: Fleet | None = None, *workers: Worker, deleting: bool = False
) -> View:
    return View(serving, coming, deleting, workers)


def test_a_new_endpoint_starts_its_workers_and_takes_no_invocations() -> None:
    assert plan(view(None, TWO)) == Plan(None, start=(Slot(2, "A", 0), Slot(2, "A", 1)))


def test_nothing_is_served_before_all_workers_are_ready() -> None:
    half = view(None, TWO, worker(Slot(2, "A", 0)), worker(Slot(2, "A", 1), "starting"))
    assert plan(half) == Plan(None)


def test_a_complete_fleet_takes_over_and_is_routed_in_the_same_step() -> None:
    found = plan(view(None, ONE, worker(Slot(1, "A", 0))))
    assert found == Plan((Route("A", 1.0, ("1.A.0",)),), Outcome("takeover"))


def test_a_first_fleet_that_fails_ends_the_creation_with_its_reason() -> None:
    failed = replace(view(None, ONE), failures={Slot(1, "A", 0): Failure("no such file", 5.0)})
    assert plan(failed) == Plan(None, Outcome("failure", "no such file"))


def test_the_old_fleet_serves_while_the_new_one_starts() -> None:
    found = plan(view(ONE, TWO, worker(Slot(1, "A", 0))))
    assert found.routes == (Route("A", 1.0, ("1.A.0",)),)
    assert found.start == (Slot(2, "A", 0), Slot(2, "A", 1))
    assert found.stop == ()


def test_the_old_fleet_is_stopped_only_after_the_record_says_that_the_new_one_serves() -> None:
    workers = (worker(Slot(1, "A", 0)), worker(Slot(2, "A", 0)), worker(Slot(2, "A", 1)))
    switching = plan(view(ONE, TWO, *workers))
    assert switching == Plan((Route("A", 1.0, ("2.A.0", "2.A.1")),), Outcome("takeover"))
    assert plan(view(TWO, None, *workers)).stop == ("1.A.0",)


def test_a_new_fleet_that_fails_leaves_the_old_one_alone() -> None:
    workers = (worker(Slot(1, "A", 0)), worker(Slot(2, "A", 0)))
    failed = replace(view(ONE, TWO, *workers), failures={Slot(2, "A", 1): Failure("bad model", 9.0)})
    assert plan(failed) == Plan((Route("A", 1.0, ("1.A.0",)),), Outcome("failure", "bad model"))
    assert plan(replace(failed, coming=None)).stop == ("2.A.0",)


def test_more_workers_and_other_weights_keep_the_workers_that_are_there() -> None:
    grown = Fleet(1, (Variant("A", 3.0, 2),))
    assert plan(view(ONE, grown, worker(Slot(1, "A", 0)))) == Plan(
        (Route("A", 1.0, ("1.A.0",)),), start=(Slot(1, "A", 1),)
    )
    complete = plan(view(ONE, grown, worker(Slot(1, "A", 0)), worker(Slot(1, "A", 1))))
    assert complete == Plan((Route("A", 3.0, ("1.A.0", "1.A.1")),), Outcome("takeover"))


def test_fewer_workers_are_no_longer_routed_to_before_they_are_stopped() -> None:
    big, small = Fleet(1, (Variant("A", 1.0, 2),)), Fleet(1, (Variant("A", 1.0, 1),))
    workers = (worker(Slot(1, "A", 0)), worker(Slot(1, "A", 1)))
    assert plan(view(big, small, *workers)) == Plan((Route("A", 1.0, ("1.A.0",)),), Outcome("takeover"))
    assert plan(view(small, None, *workers)).stop == ("1.A.1",)


def test_a_lost_worker_is_replaced_after_its_pause_while_the_others_serve() -> None:
    lost = replace(
        view(TWO, None, worker(Slot(2, "A", 1))), failures={Slot(2, "A", 0): Failure("killed", 7.0)}, now=5.0
    )
    assert plan(lost) == Plan((Route("A", 1.0, ("2.A.1",)),), due=7.0)
    assert plan(replace(lost, now=7.0)).start == (Slot(2, "A", 0),)


def test_after_a_restart_an_endpoint_in_service_is_routed_at_once_and_gets_its_workers_back() -> None:
    assert plan(view(ONE)) == Plan((Route("A", 1.0, ()),), start=(Slot(1, "A", 0),))


def test_an_endpoint_that_nobody_uses_gives_its_workers_back_and_stays_routed() -> None:
    workers = (worker(Slot(2, "A", 0)), worker(Slot(2, "A", 1)))
    used = replace(view(TWO, None, *workers), now=5.0, rest_at=8.0)
    assert plan(used) == Plan((Route("A", 1.0, ("2.A.0", "2.A.1")),), due=8.0)
    resting = plan(replace(used, now=8.0))
    assert resting == Plan((Route("A", 1.0, ()),), stop=("2.A.0", "2.A.1"))


def test_a_resting_endpoint_wakes_while_its_old_workers_still_go() -> None:
    going = (worker(Slot(2, "A", 0), "draining"), worker(Slot(2, "A", 1), "draining"))
    woken = replace(view(TWO, None, *going), now=8.0, rest_at=9.0)
    assert plan(woken) == Plan((Route("A", 1.0, ()),), start=(Slot(2, "A", 0), Slot(2, "A", 1)), due=9.0)


def test_a_resting_endpoint_is_updated_without_waking_what_is_replaced() -> None:
    resting = replace(view(ONE, TWO), now=8.0, rest_at=1.0)
    assert plan(resting) == Plan((Route("A", 1.0, ()),), start=(Slot(2, "A", 0), Slot(2, "A", 1)))


def test_a_resting_endpoint_does_not_try_again_what_failed() -> None:
    broken = replace(view(ONE), failures={Slot(1, "A", 0): Failure("broken", 9.0)}, now=8.0, rest_at=1.0)
    assert plan(broken) == Plan((Route("A", 1.0, ()),))


def test_a_deleted_endpoint_is_gone_when_its_last_worker_is() -> None:
    going = plan(view(ONE, TWO, worker(Slot(1, "A", 0)), worker(Slot(2, "A", 0), "starting"), deleting=True))
    assert going == Plan(None, stop=("1.A.0", "2.A.0"))
    assert plan(view(ONE, None, worker(Slot(1, "A", 0), "draining"), deleting=True)) == Plan(None)
    assert plan(view(ONE, None, deleting=True)) == Plan(None, Outcome("gone"))


def test_a_failed_endpoint_keeps_no_worker() -> None:
    assert plan(view(None, None, worker(Slot(1, "A", 0), "starting"))) == Plan(None, stop=("1.A.0",))


IDLE_S = 5.0

# Any history -------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """One endpoint's record and workers, changed by events and by carrying out plans."""

    serving: Fleet | None = None
    coming: Fleet | None = None
    status: str = "Creating"
    generation: int = 0
    workers: dict[str, Worker] = field(default_factory=dict)
    failures: dict[Slot, Failure] = field(default_factory=dict)
    routes: tuple[Route, ...] | None = None
    now: float = 0.0
    rest_at: float | None = None
    made: int = 0

    def view(self) -> View:
        return View(
            self.serving,
            self.coming,
            self.status == "Deleting",
            list(self.workers.values()),
            dict(self.failures),
            self.now,
            self.rest_at,
        )

    def carry_out(self) -> Plan:
        found = plan(self.view())
        before = self.routes
        self.routes = found.routes
        if found.outcome is not None:
            self.write(found.outcome)
        for worker_id in found.stop:
            assert all(worker_id not in route.worker_ids for route in self.routes or ()), (
                "a routed worker is stopped"
            )
            self.workers[worker_id] = replace(self.workers[worker_id], phase="draining")
        for slot in found.start:
            assert all(w.slot != slot or w.phase == "draining" for w in self.workers.values()), (
                "two in one slot"
            )
            self.made += 1
            self.workers[f"w{self.made}"] = Worker(f"w{self.made}", slot, "starting")
        if before and any(route.worker_ids for route in before) and self.serving is not None:
            alive = {w.id for w in self.workers.values()}
            survivors = [w for route in before for w in route.worker_ids if w in alive]
            if survivors and self.status != "Deleting" and not self.view().rests:
                assert self.routes is not None
                assert any(route.worker_ids for route in self.routes), "a plan left nobody to answer"
        return found

    def write(self, outcome: Outcome) -> None:
        if outcome.kind == "takeover":
            self.serving, self.coming, self.status = self.coming, None, "InService"
            if self.rest_at is not None:
                self.rest_at = self.now + IDLE_S
        elif outcome.kind == "failure":
            self.coming = None
            self.status = "InService" if self.serving else "Failed"
            self.failures.clear()
        else:
            assert not self.workers
            self.status = "Gone"

    def settle(self) -> None:
        """Carry out plans, let everything that was started succeed, until nothing is left to do."""
        for _ in range(50):
            if self.status == "Gone":
                return
            found = self.carry_out()
            moving = [each for each in self.workers.values() if each.phase != "ready"]
            for each in list(self.workers.values()):
                if each.phase == "draining":
                    del self.workers[each.id]
                elif each.phase == "starting":
                    self.workers[each.id] = replace(each, phase="ready")
                    self.failures.pop(each.slot, None)
            if found.due is not None and found.due != self.rest_at:
                self.now = found.due
            elif found.outcome is None and not found.stop and not found.start and not moving:
                return
        raise AssertionError("the endpoint never settles")


fleets = st.builds(
    lambda counts: tuple(Variant(name, weight, count) for name, (weight, count) in counts.items()),
    st.dictionaries(
        st.sampled_from(["A", "B"]),
        st.tuples(st.sampled_from([0.0, 1.0, 2.5]), st.integers(1, 3)),
        min_size=1,
    ),
)


def create(world: World, variants: tuple[Variant, ...]) -> None:
    world.generation = 1
    world.coming = Fleet(1, variants)


def update(world: World, variants: tuple[Variant, ...]) -> None:
    if world.status == "InService":
        world.generation += 1
        world.coming, world.status = Fleet(world.generation, variants), "Updating"


def resize(world: World, variants: tuple[Variant, ...]) -> None:
    if world.status == "InService" and world.serving is not None:
        changed = {variant.name: variant for variant in variants}
        world.coming = Fleet(
            world.serving.generation,
            tuple(
                replace(v, weight=changed[v.name].weight, count=changed[v.name].count)
                if v.name in changed
                else v
                for v in world.serving.variants
            ),
        )
        world.status = "Updating"


def delete(world: World, _: tuple[Variant, ...]) -> None:
    if world.status in ("InService", "Failed"):
        world.status = "Deleting"


def restart(world: World, _: tuple[Variant, ...]) -> None:
    world.workers, world.failures, world.routes = {}, {}, None


def ready(world: World, _: tuple[Variant, ...]) -> None:
    for each in world.workers.values():
        if each.phase == "starting":
            world.workers[each.id] = replace(each, phase="ready")
            world.failures.pop(each.slot, None)
            return


def fail(world: World, _: tuple[Variant, ...]) -> None:
    for each in world.workers.values():
        if each.phase != "draining":
            del world.workers[each.id]
            world.failures[each.slot] = Failure("broken", world.now + 1)
            return


def stopped(world: World, _: tuple[Variant, ...]) -> None:
    for each in world.workers.values():
        if each.phase == "draining":
            del world.workers[each.id]
            return


def reconcile(world: World, _: tuple[Variant, ...]) -> None:
    if world.status != "Gone":
        world.carry_out()


def use(world: World, _: tuple[Variant, ...]) -> None:
    if world.rest_at is not None:
        world.rest_at = world.now + IDLE_S


def forget(world: World, _: tuple[Variant, ...]) -> None:
    """Nobody comes for a long time."""
    world.now += 2 * IDLE_S


Event = Callable[[World, tuple[Variant, ...]], None]
events: list[Event] = [
    *(update, resize, delete, restart, ready, ready, fail, stopped, reconcile, reconcile),
    *(use, forget),
]


@settings(max_examples=300, deadline=None)
@given(
    first=fleets,
    history=st.lists(st.tuples(st.sampled_from(events), fleets), max_size=40),
    may_rest=st.booleans(),
)
def test_whatever_happens_every_endpoint_settles_with_exactly_the_workers_it_wants(
    first: tuple[Variant, ...], history: list[tuple[Event, tuple[Variant, ...]]], may_rest: bool
) -> None:
    world = World(rest_at=IDLE_S if may_rest else None)
    create(world, first)
    for event, variants in history:
        event(world, variants)
    if may_rest:
        world.settle()
        forget(world, first)
        world.settle()
        if world.status == "InService":
            assert world.workers == {}
            assert world.serving is not None
            assert [(r.variant, r.worker_ids) for r in world.routes or ()] == [
                (variant.name, ()) for variant in world.serving.variants
            ]
        use(world, first)
    world.settle()
    assert world.status in ("InService", "Failed", "Gone")
    assert world.coming is None or world.status == "Gone"
    if world.status == "InService":
        assert world.serving is not None
        assert sorted(w.slot for w in world.workers.values()) == sorted(world.serving.slots())
        assert world.routes is not None
        routed = sorted(worker_id for route in world.routes for worker_id in route.worker_ids)
        assert routed == sorted(world.workers)
        again = plan(world.view())
        assert (again.outcome, again.stop, again.start) == (None, (), ())
    else:
        assert world.workers == {}
        assert world.routes is None


@given(
    first=fleets,
    second=fleets,
    history=st.lists(st.sampled_from([ready, fail, reconcile, stopped]), max_size=25),
)
def test_an_update_never_costs_the_old_fleet_a_worker_before_the_new_one_serves(
    first: tuple[Variant, ...], second: tuple[Variant, ...], history: list[Event]
) -> None:
    world = World()
    create(world, first)
    world.settle()
    old = set(world.workers)
    update(world, second)
    for event in history:
        if event is fail and any(w.id in old for w in list(world.workers.values())[:1]):
            continue  # the old fleet itself stays healthy here
        event(world, second)
        if world.status == "Updating":
            assert old <= {w.id for w in world.workers.values() if w.phase == "ready"}
            assert world.routes is not None
            assert {w for route in world.routes for w in route.worker_ids} == old


@pytest.mark.parametrize("deleting", [True, False])
def test_planning_is_a_function_of_the_view_alone(deleting: bool) -> None:
    some = view(ONE, TWO, worker(Slot(1, "A", 0)), worker(Slot(2, "A", 0), "starting"), deleting=deleting)
    assert plan(some) == plan(some)
