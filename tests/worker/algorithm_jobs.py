"""One built-in algorithm without a server: its training in a job's directory, its model, and questions to it."""

import importlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stagedoor.worker.job import Job
from stagedoor.worker.model import Fault, Request, Result


class AlgorithmJob:
    """A job's directory, filled as the reconciler fills it."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self.model_dir = root / "model"
        self._channels: dict[str, dict[str, str]] = {}
        self.model_dir.mkdir(parents=True)

    def channel(self, name: str, content_type: str | None, *files: bytes) -> None:
        self._channels[name] = {"TrainingInputMode": "File"}
        if content_type is not None:
            self._channels[name]["ContentType"] = content_type
        for number, content in enumerate(files):
            path = self.root / "input" / "data" / name / f"part-{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def train(self, is_stopping: Callable[[], bool] = lambda: False, **hyperparameters: Any) -> None:
        texts = {name: str(value) for name, value in hyperparameters.items()}
        config = {"hyperparameters": texts, "inputdataconfig": self._channels}
        module = importlib.import_module(f"stagedoor.worker.algorithms.{self.name}_training")
        module.train(Job({"entry": "train", "config": config}, self.root, 1, is_stopping))

    def load(self) -> Any:
        module = importlib.import_module(f"stagedoor.worker.algorithms.{self.name}_serving")
        return module.load({"algorithm": f"{self.name}_serving"}, self.model_dir)

    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.model_dir / "model_algo-1", allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def csv(*columns: Any) -> bytes:
    text = io.StringIO()
    np.savetxt(text, np.column_stack(columns), delimiter=",", fmt="%.9g")
    return text.getvalue().encode()


def ask(model: Any, body: bytes | str, content_type: str = "text/csv", **meta: Any) -> Result | Fault:
    content = body.encode() if isinstance(body, str) else body
    [answer] = model.predict([Request({"content_type": content_type, **meta}, content)])
    return answer


def answered(model: Any, rows: np.ndarray) -> list[dict[str, Any]]:
    """The answers for some rows, through CSV and JSON lines."""
    found = ask(model, csv(rows), accept="application/jsonlines")
    assert isinstance(found, Result), found
    return [json.loads(line) for line in found.body.splitlines()]


def logged(printed: str, metric: str, channel: str) -> list[float]:
    """The values of a metric's lines in the log, one for each epoch or one for the finished model."""
    parts = [line.partition("#quality_metric: host=algo-1, ")[2] for line in printed.splitlines()]
    return [float(part.rpartition("=")[2]) for part in parts if f"{channel} {metric} <" in part]
