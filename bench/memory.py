"""Memory of a server with the web-app path live on it, in MB of PSS: ``python -m bench.memory``.

PSS counts a page that several processes share in equal parts, so that the sum is what the machine really gives. Linux only.
"""

import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from bench.deployed import HANDLER, Deployed, deployed, pids_of, review

_MEMBERS = ("Pss:", "Pss_Anon:", "Rss:", "Private_Dirty:")


def sizes_mb(pid: int) -> dict[str, float] | None:
    """PSS and its neighbours; None for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    found = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return {member: found[member] for member in _MEMBERS if member in found}


def title(pid: int) -> str:
    """What the process calls itself."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"
    return "server" if " up " in f"{text} " else text


def table(live: Deployed) -> list[str]:
    """A line for each process and one for all."""
    lines = [f"{'PSS':>7} {'of it anon':>11} {'RSS':>7}  process"]
    total = 0.0
    for pid in pids_of(live.server):
        sizes = sizes_mb(pid)
        if sizes is None:
            continue
        total += sizes["Pss:"]
        lines.append(f"{sizes['Pss:']:7.1f} {sizes['Pss_Anon:']:11.1f} {sizes['Rss:']:7.1f}  {title(pid)}")
    return [*lines, f"{total:7.1f} {'':11} {'':7}  in all"]


def main() -> int:
    print(machine.describe(("xgboost-cpu", "numpy", "boto3")))
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder)) as live:
        live.model()
        live.endpoint("bench")
        live.function("app", HANDLER, ENDPOINT_NAME="bench")
        url = live.api("app")
        from urllib.request import Request, urlopen

        for _ in range(20):
            with urlopen(Request(url, review().encode(), method="POST")) as answer:
                answer.read()
        time.sleep(2)
        print("\n".join(table(live)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
