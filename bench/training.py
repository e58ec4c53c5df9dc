"""``python -m bench.training``: time and memory of an XGBoost training job on the course's CSV, beside plain xgboost.

15,000 rows of 5,000 word counts (a CSV of about 150 MB), 100 rounds at depth 5, every core. Three processes take turns:

    job      the built-in algorithm as a training job runs it: from the CSV file to the model file
    library  plain xgboost on the matrix that is already in memory: ``DMatrix`` and ``train``, no file read
    script   what a person writes: read the same CSV (pandas where it is installed, else numpy), then as above

Memory is the peak of the process above what it had after its imports, in matrices of 4-byte floats (300 MB).
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine

ROWS, COLUMNS, ROUNDS = 15_000, 5_000, 100
PARAMETERS = {"objective": "binary:logistic", "max_depth": 5, "eta": 0.2}
WAYS = ("job", "library", "script")


def write_data(path: Path, rows: int, columns: int) -> None:
    """Counts as in bags of words: most are 0, a few words occur often."""
    import numpy as np

    random = np.random.default_rng(0)
    rates = 0.6 / np.arange(1, columns + 1) ** 0.7
    with path.open("wb") as file:
        for _ in range(0, rows, 500):
            counts = random.poisson(rates, (500, columns))
            labels = (counts[:, :40].sum(axis=1) + random.normal(0, 1.5, 500) > 3).astype(int)
            for label, row in zip(labels, counts, strict=True):
                file.write((",".join([str(label), *map(str, row)]) + "\n").encode())


def peak_bytes() -> int:
    """The most this process has had at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(way: str, data: Path, rounds: int) -> dict[str, float]:
    """In a process of its own: seconds, and the peak above the imports."""
    import numpy as np
    import xgboost

    threads = os.cpu_count() or 1
    parameters: dict[str, Any] = {**PARAMETERS, "nthread": threads}
    if way == "job":
        from stagedoor.worker.algorithms import xgboost_training
        from stagedoor.worker.job import Job

        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "model").mkdir()
            (root / "input" / "data" / "train").mkdir(parents=True)
            (root / "input" / "data" / "train" / "data.csv").symlink_to(data)
            texts = {**{name: str(value) for name, value in PARAMETERS.items()}, "num_round": str(rounds)}
            config = {"hyperparameters": texts, "inputdataconfig": {"train": {"ContentType": "text/csv"}}}
            before, began = peak_bytes(), time.perf_counter()
            xgboost_training.train(Job({"entry": "train", "config": config}, root, threads, lambda: False))
            return {"seconds": time.perf_counter() - began, "bytes": peak_bytes() - before}
    before, began = peak_bytes(), time.perf_counter()
    if way == "script" and importlib.util.find_spec("pandas") is not None:
        import pandas as pd

        table = pd.read_csv(data, header=None, dtype=np.float32).to_numpy()
    else:
        table = np.loadtxt(data, delimiter=",", dtype=np.float32)
    if way == "library":
        began = time.perf_counter()
    matrix = xgboost.DMatrix(table[:, 1:], label=table[:, 0], nthread=threads)
    # A training job reports its metric each round, so this does, too.
    xgboost.train(parameters, matrix, rounds, evals=[(matrix, "train")], verbose_eval=False)
    return {"seconds": time.perf_counter() - began, "bytes": peak_bytes() - before}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repeats; medians are printed (3)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"({ROWS})")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print("RESULT " + json.dumps(measure(given.one[0], Path(given.one[1]), given.rounds)))
        return 0
    print(machine.describe(("xgboost-cpu", "numpy")))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "counts.csv"
        write_data(data, given.rows, COLUMNS)
        print(
            f"{given.rows} x {COLUMNS} counts, {data.stat().st_size / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}"
        )
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(given.repeats):
            for way in WAYS:
                command = [sys.executable, "-m", "bench.training", "--rounds", str(given.rounds)]
                done = subprocess.run(
                    [*command, "--one", way, str(data)], check=True, capture_output=True, text=True
                )
                results[way].append(json.loads(done.stdout.rpartition("RESULT ")[2]))
    matrix_bytes = given.rows * COLUMNS * 4
    medians = {way: statistics.median(one["seconds"] for one in found) for way, found in results.items()}
    for way, found in results.items():
        peak = max(one["bytes"] for one in found)
        print(
            f"{way:8} {medians[way]:7.2f} s (best {min(one['seconds'] for one in found):.2f})   {medians[way] / medians['library']:5.2f} x library   "
            f"peak {peak / 1e6:5.0f} MB = {peak / matrix_bytes:.2f} matrices"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
