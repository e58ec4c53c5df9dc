"""What an invocation costs, counted instead of timed: ``python -m bench.counted``; ``--write`` renews ``bench/counted.json``.

Calls (of Python and of C functions) and bytecode instructions that this Python executes for one InvokeEndpoint: in the front, from
the bytes of a socket to the answer's (as ``front.py`` times it), and in the model's worker, from a request to its result. The same
code gives the same counts on every machine, so a test compares them with the committed ones. Calls differ by a few in a hundred between
Python versions, instructions by more: those are compared in the version they were counted with.
"""

import argparse
import functools
import json
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from bench import authorise, front

COUNTS = Path(__file__).parent / "counted.json"
ROUNDS = 25
_WARM_ROUNDS = 10

Counts = dict[str, dict[str, int]]


class _Counter:
    """Counts what is executed in this thread while it is on."""

    def __init__(self) -> None:
        self.count = 0

    def profile(self, frame: FrameType, event: str, given: Any) -> None:
        if event in ("call", "c_call"):
            self.count += 1

    def trace(self, frame: FrameType, event: str, given: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.count += 1
        return self.trace


async def _each(once: Callable[[], Awaitable[None]], counter: _Counter) -> int:
    """The count of one round: the middle of many, since now and then a buffer is written or a minute ends."""
    found = []
    for _ in range(ROUNDS):
        before = counter.count
        await once()
        found.append(counter.count - before)
    return round(statistics.median(found))


async def _counted(once: Callable[[], Awaitable[None]]) -> dict[str, int]:
    for _ in range(_WARM_ROUNDS):
        await once()
    counter = _Counter()
    sys.setprofile(counter.profile)
    try:
        calls = await _each(once, counter)
    finally:
        sys.setprofile(None)
    before = sys.gettrace()  # a debugger or a measurement of coverage gets its own back
    sys.settrace(counter.trace)
    try:
        instructions = await _each(once, counter)
    finally:
        sys.settrace(before)
    return {"calls": calls, "instructions": instructions}


async def _front(folder: Path) -> Counts:
    found: Counts = {}
    listener, house = front.arranged(folder)
    for title, keys in authorise.callers(house).items():
        data = front.bytes_of(keys)
        connection, socket = front.connected(listener)
        found[f"front, {title}"] = await _counted(functools.partial(front.exchange, connection, socket, data))
    return found


async def _worker() -> Counts:
    """One review of 40 columns: what is done around numpy and the trees, whose own work is not Python's."""
    import numpy as np
    import xgboost

    from stagedoor.worker.algorithms import xgboost_serving
    from stagedoor.worker.model import Request

    random = np.random.default_rng(3)
    rows = random.poisson(1.0, (200, 40)).astype(np.float32)
    matrix = xgboost.DMatrix(rows, (rows[:, 0] > 1).astype(np.float32))
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 10)
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as name:
        booster.save_model(Path(name) / "xgboost-model.ubj")
        model = xgboost_serving.load({"algorithm": "xgboost_serving"}, Path(name))
    model.settle()  # as the model server lets it after its first answer
    request = Request({"content_type": "text/csv"}, b",".join([b"1"] * 40))

    async def once() -> None:
        model.predict([request])

    return {"worker, one review": await _counted(once)}


def measure() -> Counts:
    """All counts, of this Python."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        found = uvloop.run(_front(Path(folder)))
    return found | uvloop.run(_worker())


def version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def committed() -> tuple[Counts, str]:
    """The counts that the code had when they were kept last, and the Python version of their instructions."""
    kept = json.loads(COUNTS.read_text())
    return kept["counts"], kept["python"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.counted", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep them in {COUNTS.name}")
    given = parser.parse_args()
    found = measure()
    for title, counts in found.items():
        print(f"{title:<45}{counts['calls']:>8} calls{counts['instructions']:>8} instructions")
    if given.write:
        COUNTS.write_text(json.dumps({"python": version(), "counts": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
