"""How long a person waits: the server's start, an endpoint's first answer, one from zero, deploys a minute, writes a second.

``up`` is from the command to the ready answer, first on a fresh data directory, then on one with an endpoint. A deploy is what a
person does: CreateModel, CreateEndpointConfig, CreateEndpoint, the first answer, then all deleted.
"""

import contextlib
import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench import load, processes, stage, work
from bench.load import BenchError
from bench.options import Options
from bench.stage import Stage
from stagedoor.settings import Settings

WRITES = 2_000
UP_TIMEOUT_S = 60.0
ZERO_TIMEOUT_S = 30.0
IDLE_SETTING = "endpoint_idle_s"


def can_go_to_zero() -> bool:
    """Whether this server gives an idle endpoint's workers back."""
    return IDLE_SETTING in {field.name for field in dataclasses.fields(Settings)}


def run(options: Options) -> dict[str, Any]:
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name:
        folder = Path(name)
        options.say("training the boosters")
        works = work.make(folder, "review")
        told: dict[str, Any] = {"up": _up(folder, options)}
        with stage.running() as made:
            made.model(works["review"])
            first = made.ask(works["review"])[0]
            told["create_to_first_200_s"] = [
                _create(made, f"created-{number}", first.raw) for number in range(max(3, options.repeats))
            ]
            told["deploys"] = _deploys(made, works["review"], options)
            told["writes"] = _writes(made, options)
        told["from_zero"] = _from_zero(works["review"], options) if can_go_to_zero() else None
    return told


# Start ------------------------------------------------------------------------------------------------------------


def _up(folder: Path, options: Options) -> dict[str, list[float]]:
    options.say("stagedoor up")
    times: dict[str, list[float]] = {"fresh_s": [], "again_s": []}
    for repeat in range(max(3, options.repeats)):
        data = folder / f"up-{repeat}"
        for found in times.values():
            found.append(_up_once(data))
    return times


def _up_once(data: Path) -> float:
    port = processes.free_port()
    command = [sys.executable, "-m", "stagedoor", "up", "--data", str(data)]
    addresses = ["--api", f"127.0.0.1:{port}", "--public", f"127.0.0.1:{processes.free_port()}"]
    began_s = time.perf_counter()
    server = subprocess.Popen([*command, *addresses], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _is_healthy(port):
            if server.poll() is not None or time.perf_counter() - began_s > UP_TIMEOUT_S:
                raise BenchError("stagedoor up did not become ready")
            time.sleep(0.002)
        return round(time.perf_counter() - began_s, 4)
    finally:
        processes.end(server)


def _is_healthy(port: int) -> bool:
    address = f"http://127.0.0.1:{port}/_stagedoor/health"
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


# Endpoints --------------------------------------------------------------------------------------------------------


def _create(made: Stage, name: str, like: bytes) -> float:
    """From CreateEndpoint to the first 200, in seconds; then the endpoint is deleted."""
    sagemaker = made.client("sagemaker")
    made.configuration(name, "review")
    asked = _requests(made, name, like, 2_000)
    began_s = time.perf_counter()
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    took_s = _first_answer(asked, began_s)
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    return round(took_s, 4)


def _requests(made: Stage, endpoint: str, like: bytes, count: int) -> list[load.Asked]:
    body = like.partition(b"\r\n\r\n")[2]
    headers = {"Content-Type": "text/csv"}
    one = load.request("POST", made.invocations_url(endpoint), body, headers, credentials=made.caller)
    return [one] * count


def _first_answer(asked: list[load.Asked], began_s: float) -> float:
    for one in asked:
        if load.send_all([one], 1)[0][0].status == 200:
            return time.perf_counter() - began_s
        time.sleep(0.005)
    raise BenchError("the endpoint did not answer")


def _deploys(made: Stage, one: work.Work, options: Options) -> dict[str, Any]:
    options.say(f"deploys, for {options.deploy_seconds:.0f} s")
    sagemaker = made.client("sagemaker")
    like = made.ask(one)[0].raw
    container = sagemaker.describe_model(ModelName=one.name)["PrimaryContainer"]
    done, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < options.deploy_seconds:
        name = f"deploy-{done}"
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=made.role, PrimaryContainer=container)
        made.configuration(name, name)
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        _first_answer(_requests(made, name, like, 2_000), time.perf_counter())
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName=name)
        done += 1
    took_s = time.perf_counter() - began_s
    return {"done": done, "took_s": round(took_s, 2), "per_minute": round(done / took_s * 60, 1)}


def _from_zero(one: work.Work, options: Options) -> list[dict[str, float]]:
    """An endpoint whose workers were given back: the first request, and one more."""
    options.say("from zero")
    found = []
    with stage.running({"STAGEDOOR_ENDPOINT_IDLE_S": "1"}) as made:
        made.endpoint(one)
        asked = made.ask(one)
        for _ in range(max(3, options.repeats)):
            load.send_all(asked[:1], 1)
            began_s, awake = time.perf_counter(), len(processes.descendants(made.server.pid))
            while len(processes.descendants(made.server.pid)) >= awake:
                if time.perf_counter() - began_s > ZERO_TIMEOUT_S:
                    raise BenchError("the endpoint kept its workers")
                time.sleep(0.05)
            answers, first_s = load.send_all(asked[:1], 1)
            again, second_s = load.send_all(asked[1:2], 1)
            if answers[0].status != 200 or again[0].status != 200:
                raise BenchError(f"from zero: {answers[0]}")
            found.append({"first_ms": round(first_s * 1e3, 3), "second_ms": round(second_s * 1e3, 3)})
    return found


# Writes -----------------------------------------------------------------------------------------------------------


def _writes(made: Stage, options: Options) -> dict[str, Any]:
    """CreateModel over eight connections, each with a name of its own and committed to disk before its answer."""
    options.say(f"{WRITES} control-plane writes")
    url = made.server.api + "/"
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.CreateModel"}
    container = f'{{"Image": "{stage.IMAGE}", "ModelDataUrl": "s3://{stage.BUCKET}/review.tar.gz"}}'
    numbers = itertools.count()
    rates = []
    for _ in range(options.repeats):
        asked = []
        for number in itertools.islice(numbers, WRITES):
            body = f'{{"ModelName": "write-{number}", "ExecutionRoleArn": "{made.role}", "PrimaryContainer": {container}}}'
            asked.append(load.request("POST", url, body.encode(), headers, credentials=made.root))
        answers, took_s = load.send_all(asked, 8)
        bad = [answer for answer in answers if answer.status != 200]
        if bad:
            raise BenchError(f"CreateModel answered {bad[0].status}: {bad[0].body[:300]!r}")
        rates.append(round(WRITES / took_s, 1))
    return {"writes": WRITES, "connections": 8, "per_s": rates, "fsync_us": _fsync_us(made)}


def _fsync_us(made: Stage) -> float:
    """What one fsync costs on this disk: the floor of a write that is on disk before its answer."""
    path = made.server.data.parent / "fsync"
    with path.open("wb") as file:
        began_s = time.perf_counter()
        for _ in range(200):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    return round((time.perf_counter() - began_s) / 200 * 1e6, 1)
