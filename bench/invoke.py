"""InvokeEndpoint of one review (10 KB of text/csv, 5,000 counts) against FastAPI+uvicorn, in one run.

Both evaluate the same booster of 200 trees with the same reader of the row. stagedoor's requests are signed and
authorised, and its model runs in a process of its own; FastAPI's two workers check nothing. Repeats are interleaved;
medians and the ratio are printed.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import xgboost
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stagedoor.testing import Server

HERE = Path(__file__).parent
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
COLUMNS = 5_000
TREES = 200
REQUESTS = 256
PEER_PACKAGES = ("fastapi==0.121.0", "uvicorn[standard]==0.38.0", "orjson>=3.10")


class BenchError(Exception):
    """The benchmark cannot run, or an answer was wrong: no number is better than a false one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of wrk."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def train() -> xgboost.Booster:
    """A model like the main job's: 200 trees over 5,000 word counts; the data is drawn, seeded."""
    random = np.random.default_rng(7)
    counts = random.poisson(0.02, (4_000, COLUMNS)).astype(np.float32)
    weights = random.normal(0, 1, COLUMNS) * (random.random(COLUMNS) < 0.1)
    labels = (counts @ weights + random.normal(0, 1, 4_000) > 0).astype(np.float32)
    data = xgboost.DMatrix(counts, labels)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 6, "eta": 0.2}, data, TREES)


def reviews() -> list[bytes]:
    """Rows as the function of the main job sends them."""
    random = np.random.default_rng(11)
    rows = random.poisson(0.02, (REQUESTS, COLUMNS))
    return [",".join(map(str, row)).encode() for row in rows.tolist()]


def requests_file(path: Path, url: str, bodies: list[bytes], credentials: Credentials | None) -> None:
    """Complete HTTP requests, signed when there are credentials, in the form ``signed.lua`` reads."""
    target = urlsplit(url)
    with path.open("wb") as file:
        for body in bodies:
            headers = {"Content-Type": "text/csv"}
            request = AWSRequest("POST", url, headers=headers, data=body)
            if credentials is not None:
                SigV4Auth(credentials, "sagemaker", "us-east-1").add_auth(request)
            lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.netloc}", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in request.headers.items()]
            whole = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
            file.write(b"%d\n" % len(whole) + whole)


def wrk(url: str, requests: Path, connections: int, seconds: int) -> Measured:
    """One run; BenchError when any answer was not 2xx or a socket failed."""
    target = urlsplit(url)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / "signed.lua")]
    command.append(f"http://{target.netloc}{target.path}")
    done = subprocess.run(
        command,
        env=os.environ | {"BENCH_REQUESTS": str(requests)},
        capture_output=True,
        text=True,
        check=True,
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise BenchError(f"not every request was answered well:\n{done.stdout}")

    def found(pattern: str) -> re.Match[str]:
        match = re.search(pattern, done.stdout)
        if match is None:
            raise BenchError(f"wrk said something else:\n{done.stdout}")
        return match

    def latency_ms(percentile: str) -> float:
        match = found(rf"{percentile}%\s+([\d.]+)(us|ms|s)")
        return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]

    return Measured(float(found(r"Requests/sec:\s+([\d.]+)")[1]), latency_ms("50"), latency_ms("99"))


@contextmanager
def stagedoor_endpoint(directory: Path, model: Path) -> Iterator[tuple[str, Credentials]]:
    """A server with the model live on an endpoint; gives its invocations URL and the root credentials."""
    server = Server(directory / "data").start()
    try:
        archive = directory / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(model, "xgboost-model")
        s3, iam, sagemaker = (server.client(name) for name in ("s3", "iam", "sagemaker"))
        s3.create_bucket(Bucket="bench-models")
        s3.upload_file(str(archive), "bench-models", "model.tar.gz")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        role = iam.create_role(
            RoleName="bench",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]["Arn"]
        iam.attach_role_policy(RoleName="bench", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
        sagemaker.create_model(
            ModelName="bench",
            ExecutionRoleArn=role,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://bench-models/model.tar.gz"},
        )
        variant = {"VariantName": "AllTraffic", "ModelName": "bench", "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(
            EndpointConfigName="bench", ProductionVariants=[variant | {"InitialInstanceCount": 1}]
        )
        sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
        deadline_s = time.monotonic() + 60
        while (status := sagemaker.describe_endpoint(EndpointName="bench"))["EndpointStatus"] != "InService":
            if status["EndpointStatus"] == "Failed" or time.monotonic() > deadline_s:
                raise BenchError(f"the endpoint did not start: {status}")
            time.sleep(0.05)
        yield (
            f"{server.api}/endpoints/bench/invocations",
            Credentials(server.access_key_id, server.secret_access_key),
        )
    finally:
        server.stop()


def peer_python() -> Path:
    """The peers' own environment under ``bench/.peers``: made once."""
    folder = HERE / ".peers" / "fastapi"
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        print("making the peer's environment", file=sys.stderr)
        subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        own = [f"numpy=={np.__version__}", "scipy", f"xgboost-cpu=={xgboost.__version__}"]
        subprocess.run(
            ["uv", "pip", "install", "-q", "--python", str(python), *PEER_PACKAGES, *own], check=True
        )
        (folder / ".made").touch()
    return python


@contextmanager
def fastapi_service(python: Path, model: Path, workers: int) -> Iterator[str]:
    """uvicorn with so many workers; gives the URL that takes rows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(str(python), "-m", "uvicorn", "bench.peers.fastapi_app:app"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)),
            *("--no-access-log", "--log-level", "warning"),
        ],
        cwd=HERE.parent,
        env=os.environ
        | {"BENCH_MODEL": str(model), "PYTHONPATH": str(HERE.parent / "src"), "OMP_NUM_THREADS": "1"},
    )
    try:
        _wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        process.terminate()
        process.wait()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations", b",".join([b"0"] * COLUMNS)
            )
            urllib.request.urlopen(request, timeout=5).read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise BenchError("the FastAPI service did not start") from error
            time.sleep(0.1)


def check_answers(requests: Path, bodies: list[bytes], booster: xgboost.Booster) -> float:
    """Send each request once; the largest difference from the booster called directly."""
    rows = np.array([[float(x) for x in body.split(b",")] for body in bodies], np.float32)
    wanted = booster.inplace_predict(rows)
    worst = 0.0
    with requests.open("rb") as file:
        for value in wanted.tolist():
            raw = file.read(int(file.readline()))
            head, _, body = raw.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            url = f"http://{headers.pop('Host')}{lines[0].split()[1]}"
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
                worst = max(worst, abs(float(answer.read()) - value))
    if worst > 1e-6:
        raise BenchError(f"answers differ from the booster's by {worst}")
    return worst


def run(seconds: int, repeats: int, connections: tuple[int, ...]) -> Iterator[str]:
    """Measure; yields the lines of the result."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is missing (Debian, Ubuntu: apt-get install wrk; macOS: brew install wrk)")
    python = peer_python()
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as name:
        directory = Path(name)
        booster, bodies = train(), reviews()
        model = directory / "xgboost-model"
        booster.save_model(model)
        ours, theirs = directory / "stagedoor.requests", directory / "fastapi.requests"
        with (
            stagedoor_endpoint(directory, model) as (our_url, credentials),
            fastapi_service(python, model, workers=2) as their_url,
        ):
            requests_file(ours, our_url, bodies, credentials)
            requests_file(theirs, their_url, bodies, None)
            worst = max(check_answers(path, bodies, booster) for path in (ours, theirs))
            yield f"answers equal the booster called directly to {worst:.1e}"
            yield f"{'connections':>11}  {'stagedoor':>26}  {'FastAPI+uvicorn, 2 workers':>26}  {'ratio':>6}"
            for count in connections:
                pairs = [
                    (wrk(our_url, ours, count, seconds), wrk(their_url, theirs, count, seconds))
                    for _ in range(repeats)
                ]
                yield _row(count, pairs)


def _row(connections: int, pairs: list[tuple[Measured, Measured]]) -> str:
    def median(which: int, name: str) -> float:
        return statistics.median(getattr(pair[which], name) for pair in pairs)

    def cell(which: int) -> str:
        return (
            f"{median(which, 'requests_per_s'):,.0f}/s p50 {median(which, 'p50_ms'):.2f} "
            f"p99 {median(which, 'p99_ms'):.2f}"
        )

    ratio = statistics.median(ours.requests_per_s / theirs.requests_per_s for ours, theirs in pairs)
    return f"{connections:>11}  {cell(0):>26}  {cell(1):>26}  {ratio:>5.2f}x"
