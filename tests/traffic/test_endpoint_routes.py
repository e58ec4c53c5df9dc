"""Choosing a variant and a worker, and waiting for one."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from stagedoor.traffic.channel import Answer
from stagedoor.traffic.endpoint_routes import (
    EndpointKey,
    EndpointRoutes,
    NoWorkerError,
    OverloadedError,
    UnknownEndpointError,
    UnknownVariantError,
    VariantRoute,
)

KEY = EndpointKey("000000000000", "us-east-1", "words")


class Line:
    """A channel as far as routing looks at it."""

    def __init__(self, in_flight: int = 0, *, is_closed: bool = False) -> None:
        self.in_flight = in_flight
        self.is_closed = is_closed

    def call(self, meta: Mapping[str, object], body: bytes, timeout_s: float) -> "asyncio.Future[Answer]":
        raise NotImplementedError


def routes(*variants: VariantRoute, loaded: bool = True) -> EndpointRoutes:
    table = EndpointRoutes()
    if variants:
        table.publish(KEY, variants)
    if loaded:
        table.loaded()
    return table


def test_the_least_busy_worker_is_chosen_and_idle_ones_take_turns() -> None:
    idle, other, busy = Line(), Line(), Line(3)
    table = routes(VariantRoute("A", 1, (busy, idle, other)))
    chosen = Counter(id(choice.channel) for _ in range(30) if (choice := table.choose_now(KEY)))
    assert chosen[id(busy)] == 0
    assert min(chosen[id(idle)], chosen[id(other)]) >= 10


def test_lost_workers_are_passed_over() -> None:
    alive = Line(900)
    table = routes(VariantRoute("A", 1, (Line(is_closed=True), alive)))
    choice = table.choose_now(KEY)
    assert choice is not None
    assert choice.channel is alive


def test_variants_get_their_share_and_none_for_no_weight() -> None:
    table = routes(
        VariantRoute("A", 3, (Line(),)), VariantRoute("B", 1, (Line(),)), VariantRoute("C", 0, (Line(),))
    )
    shares = Counter(choice.variant for _ in range(4000) if (choice := table.choose_now(KEY)))
    assert 2700 < shares["A"] < 3300
    assert shares["C"] == 0


def test_a_target_variant_is_taken_whatever_its_weight() -> None:
    table = routes(VariantRoute("A", 1, (Line(),)), VariantRoute("B", 0, (Line(),)))
    choice = table.choose_now(KEY, "B")
    assert choice is not None
    assert choice.variant == "B"
    with pytest.raises(UnknownVariantError) as caught:
        table.choose_now(KEY, "C")
    assert caught.value.variants == ("A", "B")


def test_variants_without_a_ready_worker_leave_their_share_to_the_others() -> None:
    table = routes(VariantRoute("A", 9, ()), VariantRoute("B", 1, (Line(),)))
    assert {choice.variant for _ in range(20) if (choice := table.choose_now(KEY))} == {"B"}


def test_full_workers_refuse_at_once() -> None:
    table = routes(VariantRoute("A", 1, (Line(EndpointRoutes.IN_FLIGHT_AT_MOST),)))
    with pytest.raises(OverloadedError):
        table.choose_now(KEY)


def test_unknown_endpoints_are_unknown_but_not_before_all_are_loaded() -> None:
    async def story() -> None:
        with pytest.raises(UnknownEndpointError):
            await routes().choose(KEY, None, 1)
        table = routes(loaded=False)
        waiting = asyncio.ensure_future(table.choose(KEY, None, 5))
        await asyncio.sleep(0)
        table.publish(KEY, [VariantRoute("A", 1, (Line(),))])
        assert (await waiting).variant == "A"
        other = asyncio.ensure_future(table.choose(KEY._replace(name="other"), None, 5))
        await asyncio.sleep(0)
        table.loaded()
        with pytest.raises(UnknownEndpointError):
            await other

    asyncio.run(story())


def test_invocations_wait_for_the_first_worker_and_no_longer_than_allowed() -> None:
    async def story() -> None:
        table = routes(VariantRoute("A", 1, ()))
        waiting = [asyncio.ensure_future(table.choose(KEY, None, 5)) for _ in range(3)]
        await asyncio.sleep(0)
        table.publish(KEY, [VariantRoute("A", 2, ())])
        await asyncio.sleep(0)
        table.publish(KEY, [VariantRoute("A", 1, (Line(),))])
        assert [choice.variant for choice in await asyncio.gather(*waiting)] == ["A"] * 3
        table.publish(KEY, [VariantRoute("A", 1, ())])
        with pytest.raises(NoWorkerError):
            await table.choose(KEY, None, 0.01)
        assert table._waiting == {}

    asyncio.run(story())


def test_those_who_wait_for_a_deleted_endpoint_are_told() -> None:
    async def story() -> None:
        table = routes(VariantRoute("A", 1, ()))
        waiting = asyncio.ensure_future(table.choose(KEY, None, 5))
        await asyncio.sleep(0)
        table.withdraw(KEY)
        with pytest.raises(UnknownEndpointError):
            await waiting

    asyncio.run(story())


def test_a_worker_that_hangs_is_reported() -> None:
    table = routes()
    table.report_unresponsive(Line())
    told: list[object] = []
    table.on_unresponsive(told.append)
    line = Line()
    table.report_unresponsive(line)
    assert told == [line]
