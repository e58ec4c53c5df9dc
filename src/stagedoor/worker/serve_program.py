"""A model that a program of the user's own serves over HTTP: the contract of every inference container of SageMaker.

Place in the flow: ``model_server`` loads this module for models whose SAGEMAKER_PROGRAM is no Python script. The program is what a container's
entry point is to ``docker run IMAGE serve``: it listens on port 8080 (SAGEMAKER_BIND_TO_PORT), GET /ping tells with 200 that it is ready,
POST /invocations answers. What it prints is the endpoint's log; when it ends, so does this worker, and another one is started.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from stagedoor.worker import script_packages, script_requirements, script_source, script_variables
from stagedoor.worker.model import Fault, Model, Request, Result
from stagedoor.worker.process import OWN_PORT
from stagedoor.worker.script_serving import code_folder, place
from stagedoor.worker.specs import ModelSpec

_SERVE = "serve"
_PING_TIMEOUT_S = 2.0
_PING_PAUSE_S = 0.05
_CONCURRENCY = 64
_REASON_BYTES = 4096
_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_REQUEST_HEADERS = {
    "content_type": "Content-Type",
    "accept": "Accept",
    "custom_attributes": _ATTRIBUTES,
    "inference_id": "X-Amzn-SageMaker-Inference-Id",
}


class ServeError(Exception):
    """The program does not serve; the text says what it did instead."""


class ServedModel:
    """A program that is ready."""

    concurrency = _CONCURRENCY

    def __init__(self, port: int) -> None:
        self._port = port

    def predict(self, requests: Sequence[Request]) -> list[Result | Fault]:
        """Each as POST /invocations."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Result | Fault:
        headers = {
            header: str(request.meta[name])
            for name, header in _REQUEST_HEADERS.items()
            if request.meta.get(name)
        }
        # No time-out: the server knows how long an invocation may take, and replaces a worker that does not answer.
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            connection.request("POST", "/invocations", request.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return Fault(500, f"the program did not answer: {type(error).__name__}: {error}")
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            return Fault(answer.status, body[:_REASON_BYTES].decode(errors="replace") or answer.reason)
        content_type = answer.getheader("Content-Type") or "application/octet-stream"
        return Result(body, content_type, answer.getheader(_ATTRIBUTES))


def load(spec: ModelSpec, model_dir: Path) -> Model:
    """Start the program and wait until it is ready. ServeError when it ends before; who waits for this knows for how long."""
    options = spec.get("options", {})
    scratch = model_dir.parent
    program = os.environ.get("SAGEMAKER_PROGRAM", _SERVE)
    code = code_folder(scratch, model_dir, str(options.get("source") or ""))
    if code is None or not (code / program).is_file():
        there = (
            ", ".join(sorted(path.name for path in code.iterdir())) if code is not None else "no code at all"
        )
        raise FileNotFoundError(
            f"the model has no {program} (SAGEMAKER_PROGRAM): there is {there or 'nothing'}"
        )
    wanted = script_requirements.read(script_requirements.in_folder(code))
    packages = script_packages.ready(
        wanted, code, scratch / script_packages.FOLDER, options.get("prepared_for")
    )
    print(
        script_source.version_line(str(options.get("framework", "python")), str(options.get("version", "")))
    )
    port = int(os.environ[OWN_PORT])
    child = _started(code / program, packages, scratch, model_dir)
    _wait_until_ready(child, port, program)
    signal.signal(signal.SIGTERM, _leave_it_to_the_program)
    threading.Thread(target=_end_with, args=(child, program), daemon=True).start()
    return ServedModel(port)


def _started(
    path: Path, packages: Sequence[Path], scratch: Path, model_dir: Path
) -> "subprocess.Popen[bytes]":
    """As a container's entry point: by itself when it says with what, else by the shell; told to serve unless its name says that."""
    folder = path.parent
    shown = place(folder, "code") if folder == scratch / "code" else str(folder)
    environment = os.environ | script_variables.variables({"model_dir": place(model_dir, "model")})
    searched = [
        str(script_source.command_folder(scratch)),
        *(f"{each}/bin" for each in packages),
        os.environ.get("PATH", os.defpath),
    ]
    environment |= {
        "PYTHONPATH": script_variables.python_path(shown, *packages),
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join(searched),
    }
    with path.open("rb") as file:
        names_its_interpreter = file.read(2) == b"#!"
    path.chmod(0o700)
    command = [f"./{path.name}"] if names_its_interpreter else ["/bin/sh", f"./{path.name}"]
    if path.name != _SERVE:
        command.append(_SERVE)
    try:
        return subprocess.Popen(command, cwd=shown, env=environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ServeError(f"the program {path.name} cannot be run: {error.strerror or error}") from error


def _wait_until_ready(child: "subprocess.Popen[bytes]", port: int, program: str) -> None:
    said = ""
    while True:
        if child.poll() is not None:
            raise ServeError(
                f"the program {program} ended {_how(child.returncode)} before GET /ping gave 200"
            )
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PING_TIMEOUT_S)
        try:
            connection.request("GET", "/ping")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        if status == 200:
            return
        if status and said != str(status):  # for who reads the log of an endpoint that does not become ready
            said = str(status)
            print(f"stagedoor: GET /ping gives {status}, and 200 means ready")
        time.sleep(_PING_PAUSE_S)


def _end_with(child: "subprocess.Popen[bytes]", program: str) -> None:
    """Without the program this worker is nothing."""
    code = child.wait()
    with contextlib.suppress(OSError):
        print(f"stagedoor: the program {program} ended {_how(code)}", flush=True)
    os._exit(code if code > 0 else 1)


def _leave_it_to_the_program(_number: int, _frame: FrameType | None) -> None:
    """It got the signal, too, and this process ends when it has."""


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"
