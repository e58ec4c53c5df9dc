"""Unmodified boto3 clients that invoke an endpoint, each in a process of its own: ``python -m bench.boto3_clients ENDPOINT SECONDS``.

The keys and the address come from the environment, the body from standard input.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from bench import load
from bench.load import BenchError
from bench.stage import Stage
from bench.work import Work


def measure(made: Stage, one: Work, count: int, seconds: float) -> dict[str, Any]:
    """So many clients at once: calls a second of all, and the times of one call."""
    keys = {"AWS_ACCESS_KEY_ID": made.caller.access_key, "AWS_SECRET_ACCESS_KEY": made.caller.secret_key}
    command = [sys.executable, "-m", "bench.boto3_clients", one.name, str(seconds)]
    started = [
        subprocess.Popen(
            command,
            env=dict(os.environ) | made.server.environment | keys,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    try:
        for client in started:
            assert client.stdin is not None
            client.stdin.write(one.bodies[0])
            client.stdin.close()
        times_ms = [json.loads(client.stdout.read()) for client in started if client.stdout is not None]
    finally:
        for client in started:
            client.terminate()
            client.wait(30)
    every = [value for times in times_ms for value in times]
    if not every:
        raise BenchError("the boto3 clients ended without a call")
    return {
        "clients": count,
        "calls_per_s": round(sum(len(times) / seconds for times in times_ms), 1),
        "p50_ms": round(load.percentile(every, 0.5), 3),
        "p99_ms": round(load.percentile(every, 0.99), 3),
    }


def main() -> None:
    import boto3

    endpoint, seconds, body = sys.argv[1], float(sys.argv[2]), sys.stdin.buffer.read()
    runtime = boto3.client("sagemaker-runtime")
    times_ms: list[float] = []
    runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body)["Body"].read()
    end_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < end_s:
        runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body)["Body"].read()
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    print(json.dumps(times_ms))


if __name__ == "__main__":
    main()
