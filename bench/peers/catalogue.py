"""Every peer that serves the boosters: how it is started, and how it wants to be asked.

Each runs as its documentation recommends for a model on the CPU: processes for two cores, its own protocol, no waiting for
batches unless that is its default. The versions are those of ``NAME/requirements.txt``.
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
    """``hand-written``, or ``framework``."""
    folder: str
    """Below ``bench/peers`` and ``bench/.peers``; several peers may share one."""
    packages: tuple[str, ...]
    """Whose versions are told."""
    command: Callable[[Place], list[str]]
    review: Question
    row: Question
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


def _features(body: bytes) -> list[list[float]]:
    return [instance["features"] for instance in orjson.loads(body)["instances"]]


_PLAIN = (Question("/review", "text/csv"), Question("/row", "application/json"))


def _uvicorn(workers: int) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(place.port), "--workers", str(workers)]
        quiet = ["--no-access-log", "--log-level", "warning"]
        return [str(place.python), "-m", "uvicorn", "bench.peers.fastapi.app:app", *address, *quiet]

    return command


def _gunicorn(place: Place) -> list[str]:
    workers = ["--worker-class", "gthread", "--workers", "2", "--threads", "4", "--keep-alive", "5"]
    return [
        str(place.python),
        "-m",
        "gunicorn",
        *workers,
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
    if name == "review":
        given = {
            "shape": [1],
            "datatype": "BYTES",
            "parameters": {"content_type": "str"},
            "data": [body.decode()],
        }
    else:
        rows = _features(body)
        given = {"shape": [len(rows), len(rows[0])], "datatype": "FP32", "data": rows}
    return {"inputs": [{"name": name, **given}]}


_V2 = tuple(
    Question("/v2/models/scorer/infer", "application/json", _as_json(lambda body, name=name: _v2(name, body)))
    for name in ("review", "row")
)


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
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{place.folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}


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
        "--model-store",
        str(store),
        "--models",
        "scorer=scorer",
    ]


def _logs_apart(place: Place) -> dict[str, str]:
    return {"LOG_LOCATION": str(place.folder / "logs"), "METRICS_LOCATION": str(place.folder / "logs")}


_FASTAPI = ("fastapi", "uvicorn", "uvloop", "httptools")
_MMS = (Question("/predictions/scorer", "text/csv"), Question("/predictions/scorer", "application/json"))
_LITSERVE = (
    Question("/predict", "application/json", _as_json(lambda body: {"review": body.decode()})),
    Question("/predict", "application/json"),
)
_BENTOML = (
    Question("/review", "text/plain"),
    Question("/row", "application/json"),
)
_MLFLOW = (
    Question("/invocations", "application/json", _as_json(lambda body: {"inputs": [body.decode()]})),
    Question("/invocations", "application/json", _as_json(lambda body: {"inputs": _features(body)})),
)

PEERS = (
    Peer("fastapi-2", "FastAPI + uvicorn, 2 workers", "hand-written", "fastapi", _FASTAPI, _uvicorn(2), *_PLAIN),
    Peer("fastapi-1", "FastAPI + uvicorn, 1 worker", "hand-written", "fastapi", _FASTAPI, _uvicorn(1), *_PLAIN),
    Peer("flask", "Flask + gunicorn, 2 workers", "hand-written", "flask", ("flask", "gunicorn"), _gunicorn, *_PLAIN),
    Peer("mlserver-2", "MLServer, 2 parallel workers", "framework", "mlserver", ("mlserver",), _mlserver, *_V2, _mlserver_settings(2)),
    Peer("mlserver-0", "MLServer, in process", "framework", "mlserver", ("mlserver",), _mlserver, *_V2, _mlserver_settings(0)),
    Peer("litserve", "LitServe, 2 workers", "framework", "litserve", ("litserve",), _litserve, *_LITSERVE),
    Peer("multi-model-server", "AWS multi-model-server, 2 workers", "framework", "multi_model_server", ("multi-model-server",), _multi_model_server, *_MMS, _logs_apart),
    Peer("bentoml", "BentoML, 2 workers", "framework", "bentoml", ("bentoml",), _bentoml, *_BENTOML),
    Peer("mlflow", "MLflow models serve, 2 workers", "framework", "mlflow", ("mlflow",), _mlflow, *_MLFLOW, _mlflow_environment),
    Peer("ray-serve", "Ray Serve, 2 replicas", "framework", "ray_serve", ("ray",), _ray_serve, *_PLAIN),
)  # fmt: skip


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
