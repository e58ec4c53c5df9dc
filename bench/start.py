"""What starting costs: ``python -m bench.start [--repeats 9]``.

``stagedoor up`` on an empty data directory, from the process's beginning to the file that says it is ready: CPU time (user and system,
children that have ended counted apart) and wall time, medians; and the memory when it has come to rest.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.s3 import memory_mb
from bench.signed_load import cpu_s
from stagedoor.testing import Server

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_REST_S = 3.0


def _children_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_S


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


def start_once() -> dict[str, float]:
    """One start: seconds of wall and CPU time to ready, then MB at rest."""
    with TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        server = Server(Path(folder) / "data")
        begun_s = time.perf_counter()
        server.start()
        found = {
            "wall_s": time.perf_counter() - begun_s,
            "cpu_s": cpu_s(server.pid),
            "children_cpu_s": _children_cpu_s(server.pid),
        }
        time.sleep(_REST_S)
        found |= {"rss_mb": memory_mb(server.pid, "VmRSS"), "pss_mb": _pss_mb(server.pid)}
        server.stop()
        return found


def measure(repeats: int = 9) -> dict[str, float]:
    """Medians of so many starts."""
    runs = [start_once() for _ in range(repeats)]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="(9)")
    for name, value in measure(parser.parse_args().repeats).items():
        print(f"{name:16}{value}")


if __name__ == "__main__":
    main()
