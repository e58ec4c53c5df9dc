"""What stagedoor promises about its speed, and what a run found: the first table of the report.

The bars are those of the design for a machine of two cores; each line says how it was measured.
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.contestants import OURS
from bench.peers.catalogue import FRAMEWORK, GIVEN, HAND_WRITTEN, PEERS
from bench.summary import Invoke, median_of

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promise:
    """A bar, what was found, and whether it held; None where it is told without a bar."""

    what: str
    bar: str
    found: str
    is_held: bool | None


def all_of(sections: Mapping[str, Raw]) -> list[Promise]:
    """The promises that the measured sections can tell about."""
    found: list[Promise] = []
    if "invoke" in sections:
        found += _invoke(Invoke(sections["invoke"]))
    if "deploys" in sections:
        found += _deploys(sections["deploys"])
    if "functions" in sections:
        found += _functions(sections["functions"])
    if "growth" in sections:
        found += _growth(sections["growth"])
    return found


def _at_least(what: str, bar: float, value: float | None, unit: str) -> Iterator[Promise]:
    if value is not None:
        yield Promise(
            what,
            f"≥ {bar:g}{unit}",
            f"{value:.2f}{unit}" if value < 100 else f"{value:,.0f}{unit}",
            value >= bar,
        )


def _at_most(what: str, bar: float, value: float | None, unit: str) -> Iterator[Promise]:
    if value is not None:
        yield Promise(
            what,
            f"≤ {bar:g}{unit}",
            f"{value:.2f}{unit}" if value < 100 else f"{value:,.0f}{unit}",
            value <= bar,
        )


def _invoke(invoke: Invoke) -> Iterator[Promise]:
    kinds = (
        (HAND_WRITTEN, "the best hand-written peer", 3.0),
        (FRAMEWORK, "the best serving framework", 8.0),
    )
    for connections in (8, 32):
        for kind, name, bar in kinds:
            best = invoke.best(kind, "review", connections, "requests_per_s")
            if best and connections in invoke.connections:
                what = f"review, {connections} connections: throughput, beside {name} ({invoke.title(best)})"
                yield from _at_least(what, bar, invoke.ratio(best, "review", connections), "x")
    yield from _given(invoke)
    if 1 in invoke.connections and (best := invoke.best(None, "review", 1, "p50_ms")):
        what = f"review, 1 connection: p50, beside the best peer ({invoke.title(best)})"
        yield from _at_most(what, 0.65, invoke.ratio(best, "review", 1, "p50_ms"), "x")
    if 8 not in invoke.connections:
        return
    if best := invoke.best(None, "review", 8, "p99_ms"):
        what = f"review, 8 connections: p99, beside the best peer ({invoke.title(best)})"
        yield from _at_most(what, 1.0, invoke.ratio(best, "review", 8, "p99_ms"), "x")
    if best := invoke.best(None, "row", 8, "requests_per_s"):
        what = f"small JSON row, 8 connections: throughput, beside the best peer ({invoke.title(best)})"
        yield from _at_least(what, 3.0, invoke.ratio(best, "row", 8), "x")
    front = invoke.median(OURS, "review", 8, "front_cpu_us")
    yield from _at_most("the server process's CPU for one review, system calls included", 90, front, " µs")


def _given(invoke: Invoke) -> Iterator[Promise]:
    """Beside peers with a reader that they do not have, which tells what the rest of the way is worth; nothing is promised of that."""
    for connections in (8, 32):
        for peer in PEERS:
            if peer.kind != GIVEN or not invoke.is_live(peer.name):
                continue
            ratio = invoke.ratio(peer.name, "review", connections)
            if ratio is not None:
                what = f"review, {connections} connections: throughput, beside {invoke.title(peer.name)}"
                yield Promise(what, "-", f"{ratio:.2f}x", None)


def _deploys(section: Raw) -> Iterator[Promise]:
    create_ms = statistics.median(section["create_to_first_200_s"]) * 1e3
    yield from _at_most("CreateEndpoint to the first 200 (XGBoost, warm server)", 300, create_ms, " ms")
    if section.get("from_zero"):
        zero_ms = statistics.median(one["first_ms"] for one in section["from_zero"])
        yield from _at_most("the first answer of an endpoint from zero", 60, zero_ms, " ms")
    yield from _at_most("`stagedoor up` to ready", 0.8, statistics.median(section["up"]["again_s"]), " s")
    rate = statistics.median(section["writes"]["per_s"])
    yield from _at_least("control-plane writes with fsync, 8 connections", 300, rate, " a second")


def _functions(section: Raw) -> Iterator[Promise]:
    yield from _at_most(
        "cold start of a function with boto3", 40, statistics.median(section["cold_ms"]), " ms"
    )
    warm = median_of(section["warm"], "p50_ms", connections=1)
    yield from _at_most("what a warm function call takes that does nothing, p50", 1, warm, " ms")
    runs = section["web_app"]["runs"]
    yield from _at_most(
        "web app, public POST to verdict, 1 connection, p50",
        4,
        median_of(runs, "p50_ms", connections=1),
        " ms",
    )
    rate = median_of(runs, "requests_per_s", connections=8)
    yield from _at_least("web app, 8 connections", 300, rate, " a second")
    memory = section["web_app"]["pss_bytes"] / 1e6
    yield from _at_most("memory of server, endpoint, function and API (PSS)", 250, memory, " MB")


def _growth(section: Raw) -> Iterator[Promise]:
    for name, what in (
        ("invoke", f"invocation cost, 1 to {section['endpoints']:,} endpoints registered (CPU)"),
        ("function", f"function call cost, 1 to {section['functions']:,} functions registered (CPU)"),
    ):
        alone, beside = (median_of(section[name], "cpu_us", way=way) for way in ("1 of 1", "1 of all"))
        if alone and beside:
            ratio = beside / alone
            yield Promise(what, "± 10 %", f"{(ratio - 1) * 100:+.1f} %", abs(ratio - 1) <= 0.10)
