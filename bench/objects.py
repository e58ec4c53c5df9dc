"""What a large object costs the server in memory and time: ``python -m bench.objects [--size-gib 5]``.

A server of its own gets one file as one PUT, gives it back, gets it again in parts by ten connections at once (boto3's
``upload_file``) and gives it back in ranges (``download_file``). After each step: wall time, the server's own CPU time, resident memory and
its highest value so far.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from bench.processes import own_cpu_s

BLOCK_BYTES = 64 * 1024 * 1024
PORTS = ("--api", "127.0.0.1:0", "--public", "127.0.0.1:0")


def _start(data: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    command = [sys.executable, "-m", "stagedoor"]
    server = subprocess.Popen([*command, "up", "--data", str(data), *PORTS], stdout=subprocess.DEVNULL)
    while not (data / "stagedoor.json").exists():
        if server.poll() is not None:
            raise SystemExit("the server did not start")
        time.sleep(0.1)
    environment = subprocess.run(
        [*command, "env", "--json", "--data", str(data)], capture_output=True, check=True
    ).stdout
    time.sleep(3)  # it reads its service models beside the first requests
    return server, json.loads(environment)


def _memory_mb(pid: int) -> tuple[float, float]:
    status = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(kb) for name, kb in re.findall(r"Vm(HWM|RSS):\s+(\d+)", status)}
    return found["RSS"] * 1024 / 1e6, found["HWM"] * 1024 / 1e6


def _steps(s3: Any, source: Path, target: Path) -> list[tuple[str, Callable[[], object]]]:
    def get() -> None:
        received = sum(
            len(piece) for piece in s3.get_object(Bucket="bench", Key="one")["Body"].iter_chunks(1 << 20)
        )
        assert received == source.stat().st_size

    def put() -> None:
        with source.open("rb") as body:
            s3.put_object(Bucket="bench", Key="one", Body=body)

    return [
        ("PutObject", put),
        ("GetObject", get),
        ("upload_file", lambda: s3.upload_file(str(source), "bench", "parts")),
        ("download_file", lambda: s3.download_file("bench", "parts", str(target))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gib", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=None, help="where four times that size is free")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source = Path(folder) / "source"
        with source.open("wb") as file:
            block = os.urandom(BLOCK_BYTES)
            for _ in range(round(arguments.size_gib * 1024**3 / BLOCK_BYTES)):
                file.write(block)
        server, environment = _start(Path(folder) / "data")
        try:
            os.environ.update(environment)
            s3 = boto3.client("s3")
            s3.create_bucket(Bucket="bench")
            print(f"{'':16}{'s':>8}{'CPU s':>8}{'RSS MB':>10}{'most MB':>10}")
            print(f"{'at rest':16}{'':>16}{_memory_mb(server.pid)[0]:10.1f}{_memory_mb(server.pid)[1]:10.1f}")
            for name, step in _steps(s3, source, Path(folder) / "target"):
                begun, cpu_s = time.monotonic(), own_cpu_s(server.pid)
                step()
                took_s, cpu_s = time.monotonic() - begun, own_cpu_s(server.pid) - cpu_s
                now, most = _memory_mb(server.pid)
                print(f"{name:16}{took_s:8.1f}{cpu_s:8.2f}{now:10.1f}{most:10.1f}", flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
