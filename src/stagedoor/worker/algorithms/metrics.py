"""The metrics of an algorithm as data: their names, directions, and how each is found in the job's log.

Place in the flow: ``specification`` reads ``NAME_metrics.toml`` with this; ``reconcile.training`` searches the log with the
definitions. The file holds groups of metrics:

    [[metrics]]
    channels = ["train", "validation"]      optional: the group is repeated, named CHANNEL:NAME
    objective = ["validation"]              optional: the channels whose metrics a tuning job may have as its objective
    maximize, minimize, neither             names by direction; neither: nothing that a tuner would look at
    regex                                   with {channel} and {name}; its first group is the value
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Metrics whose lines in the log look alike."""

    channels: tuple[str, ...]
    objective_channels: tuple[str, ...]
    maximize: frozenset[str]
    minimize: frozenset[str]
    neither: frozenset[str]
    regex: str

    @property
    def names(self) -> frozenset[str]:
        return self.maximize | self.minimize | self.neither

    @property
    def objectives(self) -> frozenset[str]:
        """The metrics, each with its channel, that a tuning job may have as its objective."""
        return frozenset(f"{channel}:{name}" for channel in self.objective_channels for name in self.names)

    def definitions(self) -> list[dict[str, str]]:
        """Name and Regex of each metric for each channel."""
        return [
            {
                "Name": f"{channel}:{name}",
                "Regex": self.regex.replace("{channel}", channel).replace("{name}", name),
            }
            for channel in self.channels
            for name in sorted(self.names)
        ]


def read_metrics(path: Path) -> tuple[MetricGroup, ...]:
    """The groups of one data file."""
    return tuple(_group(row) for row in tomllib.loads(path.read_text(encoding="utf-8"))["metrics"])


def _group(row: Mapping[str, Any]) -> MetricGroup:
    return MetricGroup(
        channels=tuple(row["channels"]),
        objective_channels=tuple(row.get("objective", ())),
        maximize=frozenset(row.get("maximize", ())),
        minimize=frozenset(row.get("minimize", ())),
        neither=frozenset(row.get("neither", ())),
        regex=row["regex"],
    )
