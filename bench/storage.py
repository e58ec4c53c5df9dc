"""S3: PutObject and GetObject of 1 KB, 1 MB and 1 GB, beside other S3 servers that a registry has.

Small objects by wrk with requests signed beforehand over eight connections (a quarter of a second's worth of names, overwritten in
rotation), the large one by boto3 as a person sends it: ``upload_file`` in parts, ``download_file``. Every object is read back and
compared before anything is timed. While one server is measured, the others stand still.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from bench import environments, load, processes, stage, turns
from bench.environments import Unavailable
from bench.load import BenchError
from bench.options import Options
from bench.turns import Take

PEERS = ("moto", "s3rver", "nanio")
BUCKET = "bench"
SIZES = {"1 KB": 1_000, "1 MB": 1_000_000}
NAMES = {"1 KB": 64, "1 MB": 8}
CONNECTIONS = 8
BLOCK = 1 << 20
SETTLE_S = 0.5


@dataclass(slots=True)
class Store:
    """An S3 server that runs, or the reason why it does not."""

    name: str
    title: str
    url: str = ""
    credentials: Credentials | None = None
    pid: int = 0
    version: str = ""
    reason: str = ""


Starter = Callable[[Path, Options], AbstractContextManager[Store]]


def run(options: Options) -> dict[str, Any]:
    load.require_wrk()
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        stores = [_enter(stack, starter, folder, options) for starter in _starters(options)]
        live = [store for store in stores if not store.reason]
        for store in live:
            _client(store).create_bucket(Bucket=BUCKET)
        with turns.among([store.pid for store in live]) as take:
            runs = [
                told
                for size in SIZES
                for repeat in range(options.repeats)
                for store in live
                for told in _small(store, size, repeat, take, folder, options)
            ]
            runs += _large(live, take, folder, options)
        listed = [
            {"name": store.name, "title": store.title, "reason": store.reason}
            if store.reason
            else {
                "name": store.name,
                "title": store.title,
                "version": store.version,
                "pss_bytes": processes.memory_bytes(store.pid)[0],
            }
            for store in stores
        ]
    return {"stores": listed, "large_bytes": options.large_object_bytes, "runs": runs}


def _client(store: Store) -> Any:
    assert store.credentials is not None
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name=load.REGION,
        aws_access_key_id=store.credentials.access_key,
        aws_secret_access_key=store.credentials.secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": 1},
            read_timeout=600,
        ),
    )


# The servers ------------------------------------------------------------------------------------------------------


def _starters(options: Options) -> list[Starter]:
    starters: Mapping[str, Starter] = {"moto": _moto, "s3rver": _s3rver, "nanio": _nanio}
    return [_ours, *(starters[name] for name in PEERS if options.has_peer(name))]


def _enter(stack: ExitStack, starter: Starter, folder: Path, options: Options) -> Store:
    own = ExitStack()
    try:
        store = own.enter_context(starter(folder, options))
    except Unavailable as error:
        own.close()
        title = starter.__name__.lstrip("_")
        options.say(f"{title}: {error}")
        return Store(title, title, reason=str(error))
    except BaseException:
        own.close()
        raise
    stack.push(own)
    return store


@contextmanager
def _ours(folder: Path, options: Options) -> Iterator[Store]:
    options.say("starting stagedoor")
    with stage.running() as made:
        yield Store(
            "stagedoor",
            "stagedoor (signature and policy checked)",
            made.server.api,
            made.root,
            made.server.pid,
        )


@contextmanager
def _moto(folder: Path, options: Options) -> Iterator[Store]:
    python, port = environments.python_of("moto", options.say), processes.free_port()
    command = [str(python.with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    version = environments.versions_of(python, ("moto",))["moto"]
    keys = Credentials("testing", "testing")
    with _serving(
        "moto", "moto server (in memory, checks nothing)", command, port, keys, {}, folder, options
    ) as store:
        store.version = version
        yield store


@contextmanager
def _s3rver(folder: Path, options: Options) -> Iterator[Store]:
    modules, port = environments.node_of("s3rver", options.say), processes.free_port()
    script = modules / "node_modules" / "s3rver" / "bin" / "s3rver.js"
    command = [
        "node",
        str(script),
        "-d",
        str(folder / "s3rver"),
        "-a",
        "127.0.0.1",
        "-p",
        str(port),
        "--silent",
    ]
    (folder / "s3rver").mkdir()
    keys = Credentials("S3RVER", "S3RVER")
    with _serving(
        "s3rver", "s3rver (files, signature checked)", command, port, keys, {}, folder, options
    ) as store:
        store.version = environments.node_version(modules, "s3rver")
        yield store


@contextmanager
def _nanio(folder: Path, options: Options) -> Iterator[Store]:
    python, port = environments.python_of("nanio", options.say), processes.free_port()
    command = [
        str(python.with_name("nanio")),
        "serve",
        "--data-dir",
        str(folder / "nanio"),
        "--host",
        "127.0.0.1",
    ]
    command += ["--port", str(port), "--workers", "2", "--no-access-log", "--log-level", "warning"]
    keys = Credentials("benchbenchbench", "benchbenchbenchbench")
    environment = {"NANIO_ACCESS_KEY": keys.access_key, "NANIO_SECRET_KEY": keys.secret_key}
    (folder / "nanio").mkdir()
    version = environments.versions_of(python, ("nanio",))["nanio"]
    with _serving(
        "nanio",
        "nanio, 2 workers (files, signature checked)",
        command,
        port,
        keys,
        environment,
        folder,
        options,
    ) as store:
        store.version = version
        yield store


@contextmanager
def _serving(
    name: str,
    title: str,
    command: Sequence[str],
    port: int,
    keys: Credentials,
    environment: Mapping[str, str],
    folder: Path,
    options: Options,
) -> Iterator[Store]:
    options.say(f"starting {title}")
    store = Store(name, title, f"http://127.0.0.1:{port}", keys)

    def is_ready() -> bool:
        try:
            _client(store).list_buckets()
        except (BotoCoreError, ClientError, OSError):
            return False
        return True

    with processes.running(command, folder / f"{name}.log", environment, is_ready, folder) as (process, _):
        store.pid = process.pid
        yield store


# Small objects ----------------------------------------------------------------------------------------------------


def _content(size: str, number: int) -> bytes:
    return hashlib.shake_128(f"{size} {number}".encode()).digest(SIZES[size])


def _small(
    store: Store, size: str, repeat: int, take: Take, folder: Path, options: Options
) -> list[dict[str, Any]]:
    take(store.pid)
    options.say(f"{store.title}: {size}")
    url = f"{store.url}/{BUCKET}/"
    names = range(NAMES[size])
    # The digest of the body is signed, so a server that checks signatures has to hash what it gets.
    puts = [
        load.request(
            "PUT", f"{url}{SIZES[size]}-{number}", _content(size, number), {"Content-Type": "application/octet-stream"},
            credentials=store.credentials, service="s3",
        )
        for number in names
    ]  # fmt: skip
    gets = [
        load.request("GET", f"{url}{SIZES[size]}-{number}", credentials=store.credentials, service="s3")
        for number in names
    ]
    found = []
    for operation, asked in (("PUT", puts), ("GET", gets)):
        told: dict[str, Any] = {"store": store.name, "size": size, "operation": operation, "repeat": repeat}
        try:
            # What the end of a run cut off may still be written, and not every server writes at once.
            time.sleep(SETTLE_S)
            load.send_all(puts, CONNECTIONS)
            answers, _ = load.send_all(asked, CONNECTIONS)
            _check(operation, size, answers)
            seen = load.wrk(url, load.write(folder / "requests", asked), CONNECTIONS, options.seconds)
            told |= {
                "requests_per_s": round(seen.requests_per_s, 1),
                "bytes_per_s": round(seen.requests_per_s * SIZES[size]),
                "p50_ms": seen.p50_ms,
                "p99_ms": seen.p99_ms,
            }
        except (BenchError, OSError, EOFError, TimeoutError) as error:
            options.say(f"{store.title}: {error}")
            told["error"] = str(error) or type(error).__name__
        found.append(told)
    return found


def _check(operation: str, size: str, answers: Sequence[load.Answer]) -> None:
    for number, answer in enumerate(answers):
        if answer.status != 200:
            raise BenchError(f"{operation} answered {answer.status}: {answer.body[:200]!r}")
        if operation == "GET" and answer.body != _content(size, number):
            raise BenchError("GetObject gave other bytes")


# A large object ---------------------------------------------------------------------------------------------------


def _large(live: Sequence[Store], take: Take, folder: Path, options: Options) -> list[dict[str, Any]]:
    source, target = folder / "source", folder / "target"
    digest = _write_random(source, options.large_object_bytes)
    found = []
    for repeat in range(max(1, options.repeats // 2)):
        for store in live:
            options.say(f"{store.title}: {options.large_object_bytes / 1e9:.2f} GB")
            take(store.pid)
            found += _large_once(store, repeat, source, target, digest)
    return found


def _large_once(store: Store, repeat: int, source: Path, target: Path, digest: str) -> list[dict[str, Any]]:
    client, size = _client(store), source.stat().st_size
    steps: list[tuple[str, Callable[[], object]]] = [
        ("PUT", lambda: client.upload_file(str(source), BUCKET, "large")),
        ("GET", lambda: client.download_file(BUCKET, "large", str(target))),
    ]
    found: list[dict[str, Any]] = []
    for operation, step in steps:
        told: dict[str, Any] = {
            "store": store.name,
            "size": "large",
            "operation": operation,
            "repeat": repeat,
        }
        try:
            client.list_buckets()  # it may have stood still until now
            began_s = time.perf_counter()
            step()
        except (BotoCoreError, ClientError, OSError, boto3.exceptions.Boto3Error) as error:
            found.append(told | {"error": str(error)})
            break
        took_s = time.perf_counter() - began_s
        found.append(told | {"bytes_per_s": round(size / took_s), "took_s": round(took_s, 2)})
    else:
        if _digest(target) != digest:
            raise BenchError(f"{store.title} gave other bytes for the large object")
    target.unlink(missing_ok=True)
    return found


def _write_random(path: Path, size: int) -> str:
    whole = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // BLOCK):
            block = os.urandom(BLOCK)
            whole.update(block)
            file.write(block)
    return whole.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
