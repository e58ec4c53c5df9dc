"""Which running trials of a tuning job are not worth their end: the median rule and Hyperband's successive halving.

Place in the flow: ``tuning.plan`` asks with the objectives that trials have reported so far, one after each epoch (``series``).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, median

_ENDED_AT_LEAST = 3
"""The median rule waits for so many trials to compare with."""

REDUCTION = 3
"""Hyperband lets the best third of the trials that reached a rung go on to the next one."""


def behind_median(
    running: Mapping[str, Sequence[float]], ended: Sequence[Sequence[float]], *, maximize: bool
) -> list[str]:
    """The running trials whose objective is worse than the median of the others' running averages up to the same epoch.

    That is the last epoch that enough of the others have reached: one that went beyond it between two looks is judged by it, too.
    """
    lengths = sorted((len(other) for other in ended), reverse=True)
    comparable = lengths[_ENDED_AT_LEAST - 1] if len(lengths) >= _ENDED_AT_LEAST else 0
    stopped: list[str] = []
    for name, series in running.items():
        epoch = min(len(series), comparable)
        if not epoch:
            continue
        middle = median(fmean(other[:epoch]) for other in ended if len(other) >= epoch)
        value = series[epoch - 1]
        if value < middle if maximize else value > middle:
            stopped.append(name)
    return stopped


def rungs(min_resource: int, max_resource: int) -> list[int]:
    """The epochs at which trials are compared, below the last one."""
    found: list[int] = []
    resource = min_resource
    while resource < max_resource:
        found.append(resource)
        resource *= REDUCTION
    return found


def halved(
    running: Mapping[str, int],
    series: Mapping[int, Sequence[float]],
    min_resource: int,
    max_resource: int,
    *,
    maximize: bool,
) -> list[str]:
    """The running trials (name -> number) that Hyperband ends: at their last epoch, or not in the best third at their rung.

    ``series`` has the objectives of all trials by their number. Trials are dealt to brackets by their number; a bracket's first
    rung is the later the higher it is, so that a part of the trials is left alone for long.
    """
    steps = rungs(min_resource, max_resource)
    stopped: list[str] = []
    for name, number in running.items():
        mine = series.get(number, ())
        if len(mine) >= max_resource:
            stopped.append(name)
            continue
        bracket = number % max(1, len(steps))
        reached = [step for step in steps[bracket:] if step <= len(mine)]
        if not reached:
            continue
        rung = reached[-1]
        peers = sorted(
            (
                values[rung - 1]
                for other, values in series.items()
                if other % max(1, len(steps)) == bracket and len(values) >= rung
            ),
            reverse=maximize,
        )
        kept = len(peers) // REDUCTION
        if kept and (mine[rung - 1] < peers[kept - 1] if maximize else mine[rung - 1] > peers[kept - 1]):
            stopped.append(name)
    return stopped
