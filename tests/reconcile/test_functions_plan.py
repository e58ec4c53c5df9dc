from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.reconcile.functions.event_plan import (
    MAX_AGE_S,
    QueuedEvent,
    after_throttle,
    next_attempt_at,
    plan_events,
)
from stagedoor.reconcile.functions.plan import Action, Limits, Reject, Renew, Start, Stop, next_idle_end, plan
from stagedoor.store.records import Key
from stagedoor.traffic.function_pools import Demand, State
from stagedoor.traffic.function_routes import VersionKey

LIMITS = Limits(concurrency=4, idle_s=300)
FAR = 1e9


@dataclass(frozen=True)
class Worker:
    id: str
    key: VersionKey
    revision: str = "r1"
    state: State = "idle"
    since: float = 0.0
    expires: float = FAR


def key(name: str, version: str = "$LATEST") -> VersionKey:
    return VersionKey("000000000000", "us-east-1", name, version)


A, B = key("a"), key("b")


def test_nothing_to_do_starts_and_stops_nothing() -> None:
    workers = [Worker("1", A), Worker("2", A, state="busy")]
    assert plan(workers, [], {A: "r1"}, LIMITS, now=10) == []


def test_demand_starts_what_is_not_starting_already() -> None:
    workers = [Worker("1", A, state="starting"), Worker("2", A, state="busy")]
    assert plan(workers, [Demand(A, "r1", 2)], {A: "r1"}, LIMITS, now=0) == [Start(A, "r1")]
    assert plan(workers, [Demand(A, "r1", 1)], {A: "r1"}, LIMITS, now=0) == []


def test_starts_stay_within_the_limit() -> None:
    workers = [Worker(str(n), A, state="busy") for n in range(3)]
    assert plan(workers, [Demand(A, "r1", 9)], {A: "r1"}, LIMITS, now=0) == [Start(A, "r1")]


def test_a_waiting_function_takes_the_place_of_the_longest_idle_worker_of_another() -> None:
    workers = [Worker(str(n), B, since=float(n)) for n in (3, 1, 2)] + [Worker("4", B, state="busy")]
    assert plan(workers, [Demand(A, "r1", 1)], {A: "r1", B: "r1"}, LIMITS, now=10) == [Stop("1")]


def test_a_burst_of_one_function_does_not_keep_another_out() -> None:
    demand = [Demand(A, "r1", 50), Demand(B, "r1", 1)]
    started = plan([], demand, {A: "r1", B: "r1"}, LIMITS, now=0)
    assert Counter(action.key for action in started if isinstance(action, Start)) == {A: 3, B: 1}


def test_an_idle_worker_is_stopped_in_the_end() -> None:
    assert plan([Worker("1", A, since=0)], [], {A: "r1"}, LIMITS, now=299) == []
    assert plan([Worker("1", A, since=0)], [], {A: "r1"}, LIMITS, now=300) == [Stop("1")]


def test_idle_workers_may_be_kept_for_ever() -> None:
    for_ever = Limits(concurrency=4, idle_s=0)
    assert plan([Worker("1", A, since=-1e6)], [], {A: "r1"}, for_ever, 1000) == []
    assert next_idle_end([Worker("1", A)], 0) is None


def test_the_next_look_is_when_the_first_idle_worker_has_to_go() -> None:
    workers = [Worker("1", A, since=900), Worker("2", B, since=800), Worker("3", A, state="busy", since=1)]
    assert next_idle_end(workers, 300) == 1100


def test_an_idle_worker_of_an_older_revision_is_stopped_and_a_busy_one_finishes() -> None:
    workers = [Worker("1", A), Worker("2", A, state="busy")]
    assert plan(workers, [], {A: "r2"}, LIMITS, now=0) == [Stop("1")]


def test_workers_of_a_deleted_function_are_stopped_and_who_waits_is_told() -> None:
    actions = plan([Worker("1", A)], [Demand(A, "r1", 1)], {}, LIMITS, now=0)
    assert actions == [Reject(A), Stop("1")]


def test_who_waits_for_an_older_revision_gets_the_current_one() -> None:
    workers = [Worker("1", A, state="starting")]
    assert plan(workers, [Demand(A, "r1", 1)], {A: "r2"}, LIMITS, now=0) == [Renew(A, "r2"), Start(A, "r2")]


def test_a_worker_is_recycled_before_its_credentials_run_out() -> None:
    assert plan([Worker("1", A, expires=1000)], [], {A: "r1"}, LIMITS, now=30) == []
    assert plan([Worker("1", A, expires=1000)], [], {A: "r1"}, LIMITS, now=100) == [Stop("1")]


def test_condemned_workers_are_stopped() -> None:
    assert plan([Worker("1", A, state="condemned")], [], {A: "r1"}, LIMITS, now=0) == [Stop("1")]


KEYS = st.sampled_from([A, B, key("a", "1"), key("c")])
REVISIONS = st.sampled_from(["r1", "r2"])
WORKERS = st.lists(
    st.builds(
        Worker,
        id=st.uuids().map(str),
        key=KEYS,
        revision=REVISIONS,
        state=st.sampled_from(["starting", "idle", "busy", "condemned"]),
        since=st.floats(0, 400),
        expires=st.floats(0, 5000),
    ),
    max_size=12,
    unique_by=lambda worker: worker.id,
)
DEMAND = st.lists(
    st.builds(Demand, KEYS, REVISIONS, st.integers(1, 20)),
    max_size=5,
    unique_by=lambda d: (d.key, d.revision),
)
CURRENT = st.dictionaries(KEYS, REVISIONS)


@given(WORKERS, DEMAND, CURRENT, st.integers(1, 12))
def test_every_plan_keeps_the_rules(
    workers: list[Worker], demand: list[Demand], current: dict[VersionKey, str], concurrency: int
) -> None:
    actions = plan(workers, demand, current, Limits(concurrency, 300), now=400)
    by_id = {worker.id: worker for worker in workers}
    starts = [action for action in actions if isinstance(action, Start)]
    stops = [by_id[action.worker_id] for action in actions if isinstance(action, Stop)]
    assert len(workers) + len(starts) <= max(concurrency, len(workers))
    assert all(worker.state in ("idle", "condemned") for worker in stops), (
        "busy and starting ones are left alone"
    )
    assert len({worker.id for worker in stops}) == len(stops)
    wanted = Counter[VersionKey]()
    for one in demand:
        wanted[one.key] += one.waiting
    for start in starts:
        assert current[start.key] == start.revision
    for started, count in Counter(start.key for start in starts).items():
        under_way = sum(
            w.key == started and w.state == "starting" and w.revision == current[started] for w in workers
        )
        assert count + under_way <= wanted[started], "nothing is started that nobody waits for"
    assert {action.key for action in actions if isinstance(action, Reject)} == {
        one.key for one in demand if one.key not in current
    }


@given(WORKERS, DEMAND, CURRENT, st.integers(1, 6))
def test_carrying_out_plans_ends_with_a_worker_for_everyone_there_is_room_for(
    workers: list[Worker], demand: list[Demand], current: dict[VersionKey, str], concurrency: int
) -> None:
    limits = Limits(concurrency, 300)
    for _ in range(100):
        actions = plan(workers, demand, current, limits, now=400)
        if not actions:
            break
        workers, demand = _carried_out(workers, demand, actions)
    else:
        raise AssertionError("the plans never come to rest")
    if demand and len(workers) < concurrency:
        raise AssertionError(f"there is room, and somebody waits: {demand}")


def _carried_out(
    workers: list[Worker], demand: list[Demand], actions: list[Action]
) -> tuple[list[Worker], list[Demand]]:
    """What is left when every action was done, started workers took an event each, and no event ended."""
    waiting = Counter({(one.key, one.revision): one.waiting for one in demand})
    stopped = {action.worker_id for action in actions if isinstance(action, Stop)}
    workers = [worker for worker in workers if worker.id not in stopped]
    for action in actions:
        if isinstance(action, Reject):
            for one in list(waiting):
                if one[0] == action.key:
                    del waiting[one]
        elif isinstance(action, Renew):
            for one in list(waiting):
                if one[0] == action.key and one[1] != action.revision:
                    waiting[action.key, action.revision] += waiting.pop(one)
        elif isinstance(action, Start):
            workers.append(
                Worker(f"new{len(workers)}{action}", action.key, action.revision, "starting", 400, FAR)
            )
    still: list[Worker] = []
    for worker in workers:
        if worker.state == "starting":
            state: State = "idle"
            if waiting[worker.key, worker.revision] > 0:
                waiting[worker.key, worker.revision] -= 1
                state = "busy"
            still.append(Worker(worker.id, worker.key, worker.revision, state, 400, FAR))
        else:
            still.append(worker)
    return still, [Demand(*one, count) for one, count in waiting.items() if count > 0]


def event(name: str, *, due: float = 0, accepted: float = 0, attempts: int = 0) -> QueuedEvent:
    return QueuedEvent(Key("lambda.event", "000000000000", "us-east-1", name), accepted, due, attempts)


def names(events: list[QueuedEvent]) -> list[str]:
    return [one.key.name for one in events]


def test_due_events_run_in_order_within_the_places() -> None:
    planned = plan_events(
        [event("a", due=1), event("b", due=2), event("c", due=3)], 1, 5, retries=2, places=3
    )
    assert names(planned.run) == ["a", "b"]
    assert planned.give_up == []


def test_an_event_that_is_not_due_tells_when_to_look_again() -> None:
    planned = plan_events([event("a", due=60), event("b", due=90)], 0, 5, retries=2, places=3)
    assert (planned.run, planned.next_due_at) == ([], 60)


def test_an_event_has_one_run_and_its_retries() -> None:
    assert plan_events([event("a", attempts=2)], 0, 5, retries=2, places=3).run
    planned = plan_events([event("a", attempts=3)], 0, 5, retries=2, places=3)
    assert (planned.run, names(planned.give_up)) == ([], ["a"])


def test_an_event_that_waited_too_long_is_given_up() -> None:
    planned = plan_events([event("a", accepted=0)], 0, MAX_AGE_S + 1, retries=2, places=3)
    assert names(planned.give_up) == ["a"]


def test_retries_come_after_their_delays_and_then_no_more() -> None:
    assert next_attempt_at(1, (60, 120), 1000) == 1060
    assert next_attempt_at(2, (60, 120), 1000) == 1120
    assert next_attempt_at(3, (60, 120), 1000) is None


def test_throttled_events_come_back_ever_later() -> None:
    pauses = [after_throttle(0, now) - now for now in (0.0, 10.0, 100.0, 10_000.0)]
    assert pauses == [1.0, 5.0, 50.0, 300.0]
