"""``python -m bench``: run the benchmarks and print one table with the machine it was measured on."""

import argparse
import sys

from bench import invoke, machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=invoke.__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of each run (5)")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats; medians are printed (5)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32], help="(1 8 32)")
    given = parser.parse_args()
    print(machine.describe(("xgboost-cpu", "numpy", "uvloop", "httptools")))
    try:
        for line in invoke.run(given.seconds, given.repeats, tuple(given.connections)):
            print(line, flush=True)
    except invoke.BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
