"""Control-plane writes a second, each on the disk before its answer: ``python -m bench.writes``.

Eight clients with requests signed beforehand create small records. Beside the rate: the server's CPU time for each write,
and the rate of plain fsyncs of the same disk, one after the other, as a yardstick.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.signed_load import Connection, running, send, signed
from stagedoor.testing import Server

CONNECTIONS = 8
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _sagemaker(server: Server, operation: str, document: dict[str, Any]) -> bytes:
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"SageMaker.{operation}"}
    return signed(server, "sagemaker", "/", json.dumps(document).encode(), headers)


def _create_user(server: Server, name: str) -> bytes:
    return signed(server, "iam", "/", f"Action=CreateUser&Version=2010-05-08&UserName={name}".encode(), _FORM)


def _create_experiment(server: Server, name: str) -> bytes:
    return _sagemaker(server, "CreateExperiment", {"ExperimentName": name})


def _create_group(server: Server, name: str) -> bytes:
    return _sagemaker(server, "CreateModelPackageGroup", {"ModelPackageGroupName": name})


def _create_log_group(server: Server, name: str) -> bytes:
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.CreateLogGroup"}
    return signed(server, "logs", "/", json.dumps({"logGroupName": name}).encode(), headers)


def _put_object(server: Server, name: str) -> bytes:
    return signed(server, "s3", f"/writes/{name}", b"x" * 1024, method="PUT")


WRITES: dict[str, Callable[[Server, str], bytes]] = {
    "CreateExperiment": _create_experiment,
    "CreateModelPackageGroup": _create_group,
    "CreateUser": _create_user,
    "CreateLogGroup": _create_log_group,
    "PutObject of 1 KB": _put_object,
}


def fsyncs_per_second(folder: Path, count: int = 500) -> float:
    """Appends of 4 KB, each followed by an fsync, a second."""
    with tempfile.TemporaryFile(dir=folder) as file:
        begun_s = time.perf_counter()
        for _ in range(count):
            os.write(file.fileno(), b"x" * 4096)
            os.fsync(file.fileno())
        return count / (time.perf_counter() - begun_s)


def measure(count: int = 2000, connections: int = CONNECTIONS) -> dict[str, Any]:
    """The figures by operation: writes a second, CPU µs of the server for each, latencies."""
    with running() as server:
        found: dict[str, Any] = {"fsyncs_per_second": round(fsyncs_per_second(server.data))}
        connection = Connection(server)
        connection.ask(signed(server, "s3", "/writes", method="PUT"))
        connection.close()
        for title, request in WRITES.items():
            send(server, [request(server, f"warm-{number}") for number in range(20)], 2)
            requests = [request(server, f"w-{number}") for number in range(count)]
            found[title] = send(server, requests, connections).as_json()
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.writes", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="of each operation (2000)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="(8)")
    given = parser.parse_args()
    found = measure(given.count, given.connections)
    print(f"one fsync after the other: {found.pop('fsyncs_per_second')} a second")
    print(f"{'':28}{'per second':>12}{'CPU µs':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for title, load in found.items():
        print(f"{title:28}{load['per_second']:12}{load['cpu_us']:10}{load['p50_ms']:10}{load['p99_ms']:10}")


if __name__ == "__main__":
    main()
