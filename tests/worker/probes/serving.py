"""Serving algorithms: each does one thing that a test wants to see. ``options["act"]`` chooses."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stagedoor.worker.model import Fault, Model, Request, Result
from stagedoor.worker.specs import ModelSpec


class Echo:
    """Answers with the body; some bodies make it misbehave."""

    def __init__(self, details: dict[str, object]) -> None:
        self.details = details

    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]:
        return [self._answer(request, len(requests)) for request in requests]

    def _answer(self, request: Request, batch: int) -> Result | Fault:
        body = request.body
        if body == b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if body == b"exit":
            os._exit(3)
        if body == b"raise":
            raise ValueError("this body cannot be")
        if body == b"refuse":
            return Fault(415, "no such content type")
        if body.startswith(b"gate "):  # says that it has come, and waits to be let through
            gate = Path(body[5:].decode())  # in the scratch directory: it can write nowhere else
            gate.with_suffix(".reached").touch()
            while not gate.exists():
                time.sleep(0.002)
        if body == b"batch":
            return Result(str(batch).encode(), "text/plain")
        if body.startswith(b"eval "):  # the tests look around inside the worker
            return Result(repr(eval(body[5:])).encode(), "text/plain")
        return Result(
            body, request.meta.get("content_type", "text/csv"), request.meta.get("custom_attributes")
        )


class Settling(Echo):
    """Counts how often it was settled, which always fails."""

    settled = 0

    def settle(self) -> None:
        self.settled += 1
        Path("settled").touch()
        raise RuntimeError("no faster way")

    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]:
        return [Result(str(self.settled).encode()) for _ in requests]


def load(spec: ModelSpec, model_dir: Path) -> Model:
    act = spec.get("options", {}).get("act")
    if act == "fail":
        raise RuntimeError("the file\nis not a model")
    if act == "exit":
        sys.exit(5)
    if act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if act == "slow":
        time.sleep(0.3)
    if act == "flood":
        for _ in range(spec["options"]["lines"]):
            sys.stdout.write("x" * 1023 + "\n")
    if act == "settle":
        return Settling({})
    print("loaded", *sorted(path.name for path in model_dir.iterdir()))
    return Echo({"files": sorted(path.name for path in model_dir.iterdir())})
