"""InvokeEndpoint against every other way to serve the same booster, in one run: a review of 10 KB, and a small JSON row.

stagedoor's requests are signed by a user whose policy is read each time, one in a hundred is forged and one in a hundred comes
from a user who may not (each must be refused); its model runs in a process of its own. The peers check nothing. Repeats are
interleaved: in each, every server has its turn, while the others stand still.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import contestants, load, processes, turns, work
from bench.contestants import OURS, Contestant
from bench.load import BenchError
from bench.options import Options
from bench.peers.catalogue import PEERS
from bench.turns import Take

IDLE_S = 3.0


def run(options: Options) -> dict[str, Any]:
    """Start all, check all, measure all."""
    load.require_wrk()
    processes.adopt_orphans()
    with (
        tempfile.TemporaryDirectory(prefix="sd-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        options.say("training the boosters")
        works = work.make(folder)
        servers = [contestants.ours(stack, works, options)]
        servers += [
            contestants.peer(stack, chosen, works, folder / chosen.name, options)
            for chosen in PEERS
            if options.has_peer(chosen.name)
        ]
        live = [server for server in servers if not server.reason]
        idle = _idle(live)
        with turns.among([server.pid for server in live]) as take:
            runs = [
                measured
                for one in works.values()
                for connections in options.connections
                for measured in _rounds(live, one, connections, take, folder, options)
            ]
        told = []
        for server in servers:
            raw = server.raw() | idle.get(server.name, {})
            if not server.reason:
                raw["pss_bytes"], raw["processes"] = processes.memory_bytes(server.pid)
            told.append(raw)
    titles = {one.name: one.title for one in works.values()}
    return {"works": titles, "servers": told, "runs": runs}


def _idle(live: Sequence[Contestant]) -> dict[str, dict[str, Any]]:
    """What each costs while nobody asks: the share of a core."""
    before = {server.name: processes.cpu_s(server.pid) for server in live}
    time.sleep(IDLE_S)
    return {
        server.name: {"idle_cores": round((processes.cpu_s(server.pid) - before[server.name]) / IDLE_S, 4)}
        for server in live
    }


def _rounds(
    live: Sequence[Contestant],
    one: work.Work,
    connections: int,
    take: Take,
    folder: Path,
    options: Options,
) -> list[dict[str, Any]]:
    options.say(f"{one.title}, {connections} connections")
    found = []
    asked = [server for server in live if one.name in server.works]
    for repeat in range(options.repeats):
        # Another one begins each time, so that nobody always follows the same neighbour.
        first = repeat % len(asked)
        for server in [*asked[first:], *asked[:first]]:
            take(server.pid)
            base = {"work": one.name, "connections": connections, "repeat": repeat, "server": server.name}
            found.append(base | _measure(server, one, connections, folder, options))
    return found


def _measure(
    server: Contestant, one: work.Work, connections: int, folder: Path, options: Options
) -> dict[str, Any]:
    url, asked = server.ask(one)
    requests = load.write(folder / "requests", asked)
    try:
        contestants.wake(server, one)
        before_s, before_front_s = processes.cpu_s(server.pid), processes.server_cpu_s(server.pid)
        seen = load.wrk(url, requests, connections, options.seconds)
    except BenchError as error:
        options.say(f"{server.title}: {error}")
        return {"error": str(error)}
    answers = seen.accepted + seen.refused
    told = {
        "requests_per_s": round(seen.requests_per_s, 1),
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "accepted": seen.accepted,
        "cpu_us": round((processes.cpu_s(server.pid) - before_s) / answers * 1e6, 1),
    }
    if server.name == OURS:
        told["refused"], told["refusals_due"] = seen.refused, seen.refusals_due
        told["front_cpu_us"] = round((processes.server_cpu_s(server.pid) - before_front_s) / answers * 1e6, 1)
    return told
