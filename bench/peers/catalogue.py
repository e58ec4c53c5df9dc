"""Every peer that serves the boosters: how it is started, and how it wants to be asked.

Each runs as its documentation recommends for a model on the CPU: processes for two cores, its own protocol, no waiting for
batches unless that is its default. Each reads a review by public means: what its protocol has for numbers, or, where it takes the
raw CSV, the fastest way of numpy (AWS's toolkit in AWS's server). Two of them run once more, with stagedoor's own reader handed to
them (``GIVEN``). Each sees to it that being stopped while others are measured is no reason to end its workers. The versions are
those of ``NAME/requirements.txt``.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.environments import Unavailable
from bench.processes import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HAND_WRITTEN, FRAMEWORK, GIVEN = "hand-written", "framework", "given our reader"
"""Kinds of peers; the last one is what nobody outside stagedoor has, and counts as no peer when the best one is looked for."""
_NEVER_S = 100_000
"""How long a supervisor waits for its workers: they may be stopped for minutes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is started: its Python, its port, a folder of its own."""

    python: Path
    port: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Question:
    """How one kind of work is asked: the path, the content type, and the body made of the plain one."""

    path: str
    content_type: str
    body: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to serve the boosters."""

    name: str
    title: str
    kind: str
    """``HAND_WRITTEN``, ``FRAMEWORK`` or ``GIVEN``."""
    folder: str
    """Below ``bench/peers`` and ``bench/.peers``; several peers may share one."""
    packages: tuple[str, ...]
    """Whose versions are told."""
    command: Callable[[Place], list[str]]
    questions: Mapping[str, Question]
    """By the name of the work; a work that is not among them is not asked."""
    environment: Callable[[Place], Mapping[str, str]] = lambda place: {}


def score(answer: bytes) -> float:
    """The one number with a fraction that every peer's answer has, whatever JSON is around it. ValueError when there is none."""
    found = list(_fractions(orjson.loads(answer)))
    if len(found) != 1:
        raise ValueError(f"no single score in {answer[:200]!r}")
    return found[0]


def _fractions(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _fractions(inner)


def _as_json(made: Callable[[bytes], object]) -> Callable[[bytes], bytes]:
    return lambda body: orjson.dumps(made(body))


def _counts(body: bytes) -> list[int]:
    return [int(field) for field in body.split(b",")]


def _features(body: bytes) -> list[list[float]]:
    return [instance["features"] for instance in orjson.loads(body)["instances"]]


_REVIEW_CSV = {"review": Question("/review", "text/csv")}
_PLAIN = _REVIEW_CSV | {"row": Question("/row", "application/json")}


def _uvicorn(workers: int) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(place.port), "--workers", str(workers)]
        quiet = ["--no-access-log", "--log-level", "warning"]
        patient = ["--timeout-worker-healthcheck", str(_NEVER_S)]
        return [str(place.python), "-m", "uvicorn", "bench.peers.fastapi.app:app", *address, *quiet, *patient]

    return command


def _gunicorn(place: Place) -> list[str]:
    workers = ["--worker-class", "gthread", "--workers", "2", "--threads", "4", "--keep-alive", "5"]
    patient = ["--timeout", "0"]
    return [
        str(place.python),
        "-m",
        "gunicorn",
        *workers,
        *patient,
        "-b",
        f"127.0.0.1:{place.port}",
        "bench.peers.flask.app:app",
    ]


def _bentoml(place: Place) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(place.port)]
    return [str(place.python), "-m", "bentoml", "serve", "bench.peers.bentoml.app:Scorer", *address]


def _litserve(place: Place) -> list[str]:
    return [str(place.python), "-m", "bench.peers.litserve.app", str(place.port)]


def _mlserver(place: Place) -> list[str]:
    return [str(place.python.with_name("mlserver")), "start", str(HERE / "mlserver")]


def _mlserver_settings(parallel_workers: int) -> Callable[[Place], Mapping[str, str]]:
    def settings(place: Place) -> Mapping[str, str]:
        return {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(place.port),
            "MLSERVER_GRPC_PORT": str(free_port()),
            "MLSERVER_METRICS_PORT": str(free_port()),
            "MLSERVER_PARALLEL_WORKERS": str(parallel_workers),
            "MLSERVER_METRICS_DIR": str(place.folder / "metrics"),
            "MLSERVER_DEBUG": "false",
        }

    return settings


def _v2(name: str, body: bytes) -> object:
    rows = [_counts(body)] if name == "review" else _features(body)
    tensor = {"name": name, "shape": [len(rows), len(rows[0])], "datatype": "FP32", "data": rows}
    return {"inputs": [tensor]}


_V2 = {
    name: Question(
        "/v2/models/scorer/infer", "application/json", _as_json(lambda body, name=name: _v2(name, body))
    )
    for name in ("review", "row")
}


def _ray_serve(place: Place) -> list[str]:
    # Ray's sockets lie below its folder, and their paths may not be long.
    return [str(place.python), "-m", "bench.peers.ray_serve.app", str(place.port), str(place.folder)]


def _mlflow(place: Place) -> list[str]:
    model = place.folder / "model"
    environment = dict(os.environ) | base_environment(place) | _mlflow_environment(place)
    done = subprocess.run(
        [str(place.python), "-m", "bench.peers.mlflow.save", str(model)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise Unavailable(f"its model cannot be saved: {done.stderr.strip().splitlines()[-1:]}")
    address = ["--host", "127.0.0.1", "--port", str(place.port)]
    serve = [str(place.python.with_name("mlflow")), "models", "serve", "-m", str(model), *address]
    return [*serve, "--env-manager", "local", "--workers", "2"]


def _mlflow_environment(place: Place) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"sqlite:///{place.folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "UVICORN_ACCESS_LOG": "false",
        "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": str(_NEVER_S),
    }


def _multi_model_server(place: Place) -> list[str]:
    if shutil.which("java") is None:
        raise Unavailable(
            "it needs Java, which is missing (Debian, Ubuntu: apt-get install default-jre-headless)"
        )
    store = place.folder / "models"
    shutil.copytree(HERE / "multi_model_server" / "scorer", store / "scorer")
    addresses = [
        f"{name}_address=http://127.0.0.1:{port}"
        for name, port in (("inference", place.port), ("management", free_port()))
    ]
    configuration = place.folder / "config.properties"
    configuration.write_text(
        (HERE / "multi_model_server" / "config.properties").read_text() + "\n".join(addresses) + "\n"
    )
    serve = [str(place.python.with_name("multi-model-server")), "--start", "--foreground"]
    return [
        *serve,
        "--mms-config",
        str(configuration),
        "--log-config",
        str(HERE / "multi_model_server" / "log4j2.xml"),
        "--model-store",
        str(store),
        "--models",
        "scorer=scorer",
    ]


def _logs_apart(place: Place) -> dict[str, str]:
    return {"LOG_LOCATION": str(place.folder / "logs"), "METRICS_LOCATION": str(place.folder / "logs")}


_FASTAPI = ("fastapi", "uvicorn", "uvloop", "httptools")
_MMS_REVIEW = {"review": Question("/predictions/scorer", "text/csv")}
_MMS = _MMS_REVIEW | {"row": Question("/predictions/scorer", "application/json")}
_MMS_PACKAGES = ("multi-model-server", "sagemaker-inference")
_LITSERVE = {
    "review": Question("/predict", "application/json", _as_json(lambda body: {"review": _counts(body)})),
    "row": Question("/predict", "application/json"),
}
_BENTOML = {
    "review": Question("/review", "application/json", _as_json(lambda body: {"counts": [_counts(body)]})),
    "row": Question("/row", "application/json"),
}
_MLFLOW = {
    "review": Question(
        "/invocations", "application/json", _as_json(lambda body: {"inputs": {"review": [_counts(body)]}})
    ),
    "row": Question(
        "/invocations", "application/json", _as_json(lambda body: {"inputs": {"row": _features(body)}})
    ),
}

PEERS = (
    Peer("fastapi-2", "FastAPI + uvicorn, 2 workers", HAND_WRITTEN, "fastapi", _FASTAPI, _uvicorn(2), _PLAIN),
    Peer("fastapi-1", "FastAPI + uvicorn, 1 worker", HAND_WRITTEN, "fastapi", _FASTAPI, _uvicorn(1), _PLAIN),
    Peer("flask", "Flask + gunicorn, 2 workers", HAND_WRITTEN, "flask", ("flask", "gunicorn"), _gunicorn, _PLAIN),
    Peer("mlserver-2", "MLServer, 2 parallel workers", FRAMEWORK, "mlserver", ("mlserver",), _mlserver, _V2, _mlserver_settings(2)),
    Peer("mlserver-0", "MLServer, in process", FRAMEWORK, "mlserver", ("mlserver",), _mlserver, _V2, _mlserver_settings(0)),
    Peer("litserve", "LitServe, 2 workers", FRAMEWORK, "litserve", ("litserve",), _litserve, _LITSERVE),
    Peer("multi-model-server", "AWS multi-model-server, 2 workers", FRAMEWORK, "multi_model_server", _MMS_PACKAGES, _multi_model_server, _MMS, _logs_apart),
    Peer("bentoml", "BentoML, 2 workers", FRAMEWORK, "bentoml", ("bentoml",), _bentoml, _BENTOML),
    Peer("mlflow", "MLflow models serve, 2 workers", FRAMEWORK, "mlflow", ("mlflow",), _mlflow, _MLFLOW, _mlflow_environment),
    Peer("ray-serve", "Ray Serve, 2 replicas", FRAMEWORK, "ray_serve", ("ray",), _ray_serve, _PLAIN),
    Peer("fastapi-2-given", "FastAPI + uvicorn, 2 workers, given stagedoor's reader", GIVEN, "fastapi", _FASTAPI, _uvicorn(2), _REVIEW_CSV),
    Peer("multi-model-server-given", "AWS multi-model-server, 2 workers, given stagedoor's reader", GIVEN, "multi_model_server", _MMS_PACKAGES, _multi_model_server, _MMS_REVIEW, _logs_apart),
)  # fmt: skip


def environment_of(peer: Peer, place: Place) -> dict[str, str]:
    """What this peer is started with."""
    reader = {"BENCH_READER": "stagedoor"} if peer.kind == GIVEN else {}
    return base_environment(place) | reader | dict(peer.environment(place))


def base_environment(place: Place) -> dict[str, str]:
    """What every peer gets: its own tools first on PATH, this checkout's modules, one thread a process, no reports home."""
    return {
        "PATH": f"{place.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
        "VIRTUAL_ENV": str(place.python.parents[1]),
        "TMPDIR": str(place.folder),
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
