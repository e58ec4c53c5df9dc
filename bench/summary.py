"""Medians and ratios of the raw numbers: what the report and the plots show.

Place in the flow: ``report`` and ``figures`` ask here; nothing here measures or formats.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.contestants import OURS
from bench.peers.catalogue import FRAMEWORK, GIVEN, HAND_WRITTEN

Raw = Mapping[str, Any]


def median_of(runs: Sequence[Raw], name: str, **like: object) -> float | None:
    """The median of one number over the runs that are like this; None when none has it."""
    values = [
        run[name] for run in runs if name in run and all(run.get(key) == value for key, value in like.items())
    ]
    return statistics.median(values) if values else None


class Invoke:
    """The section of invocations, by server, work and connections."""

    def __init__(self, section: Raw) -> None:
        self.section = section
        self.servers: Sequence[Raw] = section["servers"]
        self.live = [server for server in self.servers if "reason" not in server]
        self.connections: list[int] = section["settings"]["connections"]
        self.works: Mapping[str, str] = section["works"]
        self._runs: Sequence[Raw] = section["runs"]

    def median(self, server: str, work: str, connections: int, name: str) -> float | None:
        return median_of(self._runs, name, server=server, work=work, connections=connections)

    def ratio(self, other: str, work: str, connections: int, name: str = "requests_per_s") -> float | None:
        """stagedoor's number by the other's: the median of the ratios within each repeat."""
        found = [
            run[name] / beside[name]
            for run in self._matching(OURS, work, connections)
            for beside in self._matching(other, work, connections)
            if beside["repeat"] == run["repeat"] and name in run and beside.get(name)
        ]
        return statistics.median(found) if found else None

    def best(self, kind: str | None, work: str, connections: int, name: str) -> str | None:
        """The peer of a kind (None: hand-written or framework) with the most throughput, or the least of a time."""
        choose: Callable[..., Any] = max if name == "requests_per_s" else min
        kinds = (HAND_WRITTEN, FRAMEWORK) if kind is None else (kind,)
        numbers = {
            server["name"]: value
            for server in self.live
            if server["kind"] in kinds
            if (value := self.median(server["name"], work, connections, name)) is not None
        }
        return choose(numbers, key=lambda one: numbers[one]) if numbers else None

    def title(self, name: str) -> str:
        return next(str(server["title"]) for server in self.servers if server["name"] == name)

    def ordered(self, work: str, connections: int) -> list[Raw]:
        """Those that run and are asked this work, the fastest first."""
        return sorted(
            (server for server in self.live if self._is_asked(server, work)),
            key=lambda one: -(self.median(one["name"], work, connections, "requests_per_s") or 0),
        )

    def missing(self, work: str) -> list[Raw]:
        """Those that could not be had for this work."""
        return [server for server in self.servers if "reason" in server and self._is_asked(server, work)]

    def is_live(self, name: str) -> bool:
        return any(server["name"] == name for server in self.live)

    def has_given(self) -> bool:
        """Whether one runs with stagedoor's own reader."""
        return any(server["kind"] == GIVEN for server in self.live)

    def _is_asked(self, server: Raw, work: str) -> bool:
        return work in server.get("works", self.works)  # earlier raw files: every server, every work

    def error(self, server: str, work: str, connections: int) -> str | None:
        found = [run["error"] for run in self._matching(server, work, connections) if "error" in run]
        return str(found[0]) if found else None

    def refusals(self) -> tuple[int, int, int]:
        """Of stagedoor's runs: how many were due to be refused, how many were, how many were answered well."""
        ours = [run for run in self._runs if run["server"] == OURS and "accepted" in run]
        return (
            sum(run["refusals_due"] for run in ours),
            sum(run["refused"] for run in ours),
            sum(run["accepted"] for run in ours),
        )

    def _matching(self, server: str, work: str, connections: int) -> list[Raw]:
        wanted = (server, work, connections)
        return [run for run in self._runs if (run["server"], run["work"], run["connections"]) == wanted]
