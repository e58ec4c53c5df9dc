"""A job, and a model, that run the code they are given; see ``tests/isolation``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stagedoor.worker.job import Job
from stagedoor.worker.model import Fault, Model, Request, Result
from stagedoor.worker.specs import ModelSpec


def run(job: Job) -> None:
    names: dict[str, Any] = {"job": job}
    exec(job.options["code"], names)
    print("result " + json.dumps(names["result"]), flush=True)


class Obedient:
    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]:
        return [
            Result(json.dumps(_result(request.body.decode())).encode(), "text/plain") for request in requests
        ]


def _result(code: str) -> Any:
    names: dict[str, Any] = {}
    exec(code, names)
    return names["result"]


def load(_spec: ModelSpec, _model_dir: Path) -> Model:
    return Obedient()
