"""``python -m bench.waiting``: how long people wait with each SDK for a job of four seconds, a transform and an endpoint.

Most of it is the SDKs' own sleeping between two questions, so each runs against a server that holds its Describe answers and against one that
does not (the setting ``describe_hold_s``). The clients are unmodified, in environments of their own, with what `stagedoor env --notebook` prints.
The promise: version 1 returns from ``fit`` in less than 6 s and from ``transform`` in less than 5 s.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import machine
from stagedoor.testing import Server

# The environments of the clients are the tests' own.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from journeys import client_environments, notebooks

STEPS = ("fit", "transform", "deploy")
SCRIPTS = Path(__file__).with_name("clients")


def measure(version: str, hold_s: int, seconds: float) -> dict[str, float]:
    """Seconds of each step, on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder) / "data", {"STAGEDOOR_DESCRIBE_HOLD_S": str(hold_s)}).start()
        work = Path(folder) / "work"
        work.mkdir()
        try:
            script = SCRIPTS / f"waiting_{version}.py"
            return notebooks.run(server, f"sagemaker-{version}", script, work, [str(seconds)]).result
        finally:
            server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__)
    parser.add_argument("--sdk", nargs="+", default=["v1", "v2", "v3"], choices=["v1", "v2", "v3"])
    parser.add_argument("--seconds", type=float, default=4, help="length of the training job (4)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        help="interleaved repeats, four minutes each; medians are printed (1)",
    )
    given = parser.parse_args()
    print(machine.describe(("boto3",)))
    for version in given.sdk:
        client_environments.python_of(f"sagemaker-{version}")
    ways = [(version, hold_s) for version in given.sdk for hold_s in (10, 0)]
    found: dict[tuple[str, int], list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(given.repeats):
        for way in ways:
            try:
                found[way].append(measure(*way, given.seconds))
            except (AssertionError, subprocess.TimeoutExpired) as error:
                print(f"bench: {way}: {error}", file=sys.stderr)
                return 1
    print(f"{f'seconds, job of {given.seconds:g} s':<28}" + "".join(f"{step:>12}" for step in STEPS))
    for (version, hold_s), runs in found.items():
        title = f"{version}, answers {'held' if hold_s else 'at once'}"
        print(
            f"{title:<28}"
            + "".join(f"{statistics.median(run[step] for run in runs):>12.1f}" for step in STEPS)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
