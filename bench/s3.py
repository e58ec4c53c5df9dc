"""What S3's GetObject and PutObject cost: ``python -m bench.s3 [--large-mib 1024]``.

Small, medium and large objects over plain sockets with requests signed beforehand; the server's CPU time for each request, and, beside
the large one, what the disk and the hash functions alone take for the same bytes.
"""

import argparse
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.signed_load import Connection, cpu_s, running, send, signed
from stagedoor.testing import Server

KIB, MIB = 1024, 1024 * 1024


def memory_mb(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return round(int(found[1]) * 1024 / 1e6, 1)


def _put(server: Server, key: str, body: bytes) -> bytes:
    return signed(server, "s3", f"/bench/{key}", body, method="PUT")


def _get(server: Server, key: str) -> bytes:
    return signed(server, "s3", f"/bench/{key}", method="GET")


def _timed(act: Callable[[], object], pid: int | None = None) -> tuple[float, float]:
    """Wall and CPU seconds: of the process ``pid``, else of this one."""
    cpu_before_s = cpu_s(pid) if pid else time.process_time()
    begun_s = time.perf_counter()
    act()
    wall_s = time.perf_counter() - begun_s
    return wall_s, (cpu_s(pid) if pid else time.process_time()) - cpu_before_s


def _yardsticks(folder: Path, data: bytes) -> dict[str, dict[str, float]]:
    """The same bytes without a server: copied and synced, and hashed."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)

    def copy() -> None:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())

    found = {
        "cp and fsync": _timed(copy),
        "sha256": _timed(lambda: hashlib.sha256(data).digest()),
        "md5": _timed(lambda: hashlib.md5(data, usedforsecurity=False).digest()),
    }
    return {title: {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3)} for title, (wall, cpu) in found.items()}


def measure(large_mib: int = 256, count: int = 1000) -> dict[str, Any]:
    """The figures: small and medium ones by request, the large one in seconds, the server's memory in MB."""
    with running() as server:
        connection = Connection(server)
        connection.ask(signed(server, "s3", "/bench", method="PUT"))
        found: dict[str, Any] = {"at_rest_rss_mb": memory_mb(server.pid, "VmRSS")}
        for title, size, number, connections in (("1 KB", KIB, count, 8), ("1 MB", MIB, count // 10, 4)):
            body = os.urandom(size)
            send(server, [_put(server, f"warm-{index}", body) for index in range(16)], 4)
            puts = [_put(server, f"{title[2:]}-{index}", body) for index in range(number)]
            found[f"PUT {title}"] = send(server, puts, connections).as_json()
            gets = [_get(server, f"{title[2:]}-{index}") for index in range(number)]
            found[f"GET {title}"] = send(server, gets, connections).as_json()
        data = os.urandom(16 * MIB) * (large_mib // 16)
        put, get = _put(server, "large", data), _get(server, "large")
        for title, act in (
            ("PUT large", lambda: connection.ask(put)),
            ("GET large", lambda: connection.ask(get)),
        ):
            wall, cpu = _timed(act, server.pid)
            found[title] = {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}
        found["most_rss_mb"] = memory_mb(server.pid, "VmHWM")
        connection.close()
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        return found | _yardsticks(Path(folder), data)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.s3", description=__doc__)
    parser.add_argument("--large-mib", type=int, default=256, help="size of the large object (256)")
    parser.add_argument("--count", type=int, default=1000, help="small requests of each kind (1000)")
    given = parser.parse_args()
    for title, figures in measure(given.large_mib, given.count).items():
        text = (
            "  ".join(f"{name} {value}" for name, value in figures.items())
            if isinstance(figures, dict)
            else figures
        )
        print(f"{title:16}{text}")


if __name__ == "__main__":
    main()
