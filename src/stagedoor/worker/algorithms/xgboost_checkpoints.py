"""Checkpoints of an XGBoost job: the model so far, to go on from when the job begins anew.

Place in the flow: ``xgboost_training`` asks ``latest`` before the first round and adds ``KeepCheckpoints`` to the callbacks when the job has
a CheckpointConfig. Files are named as SageMaker's container names them, ``xgboost-checkpoint.ROUND``, from 0.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xgboost
from xgboost.callback import TrainingCallback
from xgboost.core import XGBoostError

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.job import Job

_KEPT = 5
_PAUSE_S = 5.0
_NAME = re.compile(r"xgboost-checkpoint\.(\d+)")


def folder(job: Job) -> Path | None:
    """Where checkpoints are; None for a job that wants none."""
    name = job.options.get("checkpoints")
    return job.root / name if name else None


def latest(place: Path) -> tuple[xgboost.Booster, int] | None:
    """The newest model and how many rounds it has had; None when there is none yet. ClientError for what is no model."""
    found = _rounds(place)
    if not found:
        return None
    path = place / f"xgboost-checkpoint.{found[-1]}"
    booster: Any = xgboost.Booster()  # whose types are not known as a whole
    try:
        booster.load_model(bytearray(path.read_bytes()))
    except XGBoostError as error:
        raise ClientError(f"The checkpoint {path.name} cannot be read: {error}") from error
    return booster, found[-1] + 1


def _rounds(place: Path) -> list[int]:
    names = (path.name for path in place.iterdir()) if place.is_dir() else ()
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)) is not None)


class KeepCheckpoints(TrainingCallback):
    """The model after the first round, the last one, and every few seconds; the oldest ones go. ``done`` rounds were before."""

    def __init__(self, place: Path, done: int, rounds: int) -> None:
        super().__init__()
        self._place = place
        self._done = done
        self._rounds = rounds
        self._next_at = 0.0

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        now = time.monotonic()
        if now >= self._next_at or self._done + epoch + 1 == self._rounds:
            self._next_at = now + _PAUSE_S
            self._save(model, self._done + epoch)
        return False

    def _save(self, model: xgboost.Booster, number: int) -> None:
        self._place.mkdir(parents=True, exist_ok=True)
        path = self._place / f"xgboost-checkpoint.{number}"
        # Written elsewhere first: what is here is stored as it is, at any time.
        partial = Path(tempfile.gettempdir(), path.name)
        partial.write_bytes(model.save_raw("ubj"))
        shutil.move(partial, path)
        for old in _rounds(self._place)[:-_KEPT]:
            (self._place / f"xgboost-checkpoint.{old}").unlink(missing_ok=True)
