"""Load: HTTP requests made (and signed) beforehand, sent in rotation by wrk, or each once over a few connections.

wrk counts every answer by its status, so a forged request that was let through is seen, and so is a good one that failed.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SCRIPT = Path(__file__).parent / "signed.lua"
REGION = "us-east-1"


class BenchError(Exception):
    """The benchmark cannot run, or an answer was wrong: no number is better than a false one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it goes over the wire, and whether it has to be refused with 403."""

    raw: bytes
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of wrk. Only what was answered well counts as throughput; times are those of all answers."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    accepted: int
    refused: int
    refusals_due: int
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def request(
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    credentials: Credentials | None = None,
    service: str = "sagemaker",
    is_refused: bool = False,
) -> Asked:
    """A complete request, signed as botocore signs it when there are credentials."""
    target = urlsplit(url)
    made = AWSRequest(method, url, headers=dict(headers or {}), data=body)
    if credentials is not None:
        auth = S3SigV4Auth if service == "s3" else SigV4Auth
        auth(credentials, service, REGION).add_auth(made)
    path = target.path + (f"?{target.query}" if target.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in made.headers.items()]
    return Asked("\r\n".join(lines).encode() + b"\r\n\r\n" + body, is_refused)


def forged(asked: Asked) -> Asked:
    """The same request with another digit at the end of its signature: it has to be refused."""
    head, separator, body = asked.raw.partition(b"\r\n\r\n")
    at = head.index(b"Signature=") + len(b"Signature=") + 63
    digit = b"0" if head[at : at + 1] != b"0" else b"1"
    return Asked(head[:at] + digit + head[at + 1 :] + separator + body, is_refused=True)


def write(path: Path, requests: Sequence[Asked]) -> Path:
    """The file that ``signed.lua`` reads."""
    with path.open("wb") as file:
        for one in requests:
            file.write(b"%d %d\n" % (len(one.raw), one.is_refused) + one.raw)
    return path


def require_wrk() -> None:
    if shutil.which("wrk") is None:
        raise BenchError("wrk is missing (Debian, Ubuntu: apt-get install wrk; macOS: brew install wrk)")


def wrk(url: str, requests: Path, connections: int, seconds: float) -> Measured:
    """One run. BenchError when an answer was neither good nor the refusal that was due, or a connection failed."""
    target = urlsplit(url)
    whole_seconds = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole_seconds}s", "--timeout", "60s", "-s", str(SCRIPT)]
    try:
        done = subprocess.run(
            [*command, f"http://{target.netloc}{target.path}"],
            env=os.environ | {"BENCH_REQUESTS": str(requests)},
            capture_output=True,
            text=True,
            check=False,
            timeout=whole_seconds + 90,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError("wrk did not come to an end: connections hang") from error
    _, found, told = done.stdout.rpartition("BENCH ")
    if done.returncode or not found:
        raise BenchError(f"wrk failed:\n{done.stdout}{done.stderr}")
    seen = json.loads(told)
    measured = Measured(
        requests_per_s=seen["accepted"] / seen["duration_s"],
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        accepted=seen["accepted"],
        refused=seen["refused"],
        refusals_due=seen["refusals_due"],
        bytes_per_s=seen["bytes"] / seen["duration_s"],
    )
    # The last request of each connection is cut off by the end of the run; one more is made before the run.
    missing = measured.refusals_due - measured.refused
    if seen["other"] or seen["failed"] or not 0 <= missing <= connections + 1 or not measured.accepted:
        raise BenchError(f"not every request was answered as it should be: {told.strip()}")
    return measured


def send_all(
    requests: Sequence[Asked], connections: int, timeout_s: float = 300.0
) -> tuple[list[Answer], float]:
    """Send each request once over so many connections: the answers in order, and the seconds it took."""
    return asyncio.run(asyncio.wait_for(_send_all(requests, connections), timeout_s))


async def _send_all(requests: Sequence[Asked], connections: int) -> tuple[list[Answer], float]:
    answers: list[Answer | None] = [None] * len(requests)
    numbers = iter(range(len(requests)))

    async def one_connection() -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for number in numbers:
            raw = requests[number].raw
            if streams is None:
                streams = await _connect(raw)
            answers[number], keeps = await _exchange(*streams, raw)
            if not keeps:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    began_s = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(connections)))
    took_s = time.perf_counter() - began_s
    return [answer for answer in answers if answer is not None], took_s


async def _connect(raw: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = raw.partition(b"Host: ")[2].partition(b"\r\n")[0].decode().partition(":")
    return await asyncio.open_connection(host, int(port), limit=1 << 24)


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes
) -> tuple[Answer, bool]:
    """One request and its answer, and whether the connection may be used again."""
    writer.write(raw)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status_line, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    keeps = headers.get("connection", "keep-alive") != "close" and status_line.startswith("http/1.1")
    return Answer(int(status_line.split()[1]), body), keeps


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which so much of all lie (the nearest one)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
