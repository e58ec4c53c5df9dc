"""The model server: loads one model, answers calls in batches of what had arrived.

Place in the flow: the entry of workloads of kind ``model``. ``traffic.channel`` connects, waits for the HELLO and calls.
There is no artificial waiting unless the model's spec asks for it: while a batch is computed further calls arrive, and they are
the next batch. So batches are of one request when there is little traffic and grow with the load.
"""

import gc
import importlib
import json
import re
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, cast

from stagedoor.worker import archives, connections, frames
from stagedoor.worker.connections import Connection, Connections
from stagedoor.worker.job import EnvironmentWanted
from stagedoor.worker.model import Algorithm, Fault, Model, Request, Result
from stagedoor.worker.process import Process
from stagedoor.worker.specs import ModelSpec

_MAX_BATCH_COUNT = 256
_MAX_BATCH_BYTES = 32 * 1024 * 1024
_MAX_MODEL_BYTES = 64 * 1024**3
# Who is called into being for a request gets that within milliseconds, and answers it first.
_SETTLE_AFTER_S = 0.5
_MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

Call = tuple[Connection, frames.Frame]


def serve(process: Process) -> int:
    """Load and serve until killed. Exit code 1 when the model cannot be loaded."""
    assert process.listener is not None
    spec = cast(ModelSpec, process.assignment.spec)
    began = time.monotonic()
    try:
        model = load(spec, process.scratch)
    except EnvironmentWanted as wanted:
        text = "the model's script has a requirements.txt, and its environment was not made for it"
        connections.refuse(process.listener, {"reason": text, "requirements": wanted.requirements})
        return 1
    except Exception as error:  # noqa: BLE001 - whatever loading raises is why the model failed
        traceback.print_exc()
        fault = {"reason": describe(error), "traceback": traceback.format_exc()}
        connections.refuse(process.listener, fault)
        return 1
    # What lives now lives until the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    hello: dict[str, Any] = {
        "ready": True,
        "load_s": round(time.monotonic() - began, 6),
        "rungs": process.rungs,
        "details": getattr(model, "details", {}),
    }
    server = Connections(
        process.listener,
        hello,
        process.assignment.server_pid,
        stays_awake=process.assignment.stays_awake,
    )
    if (concurrency := getattr(model, "concurrency", None)) is not None:
        from stagedoor.worker import concurrent_calls

        concurrent_calls.answer(model, server, concurrency)
    return answer_calls(model, server, spec)


def load(spec: ModelSpec, scratch: Path) -> Model:
    """Extract the archive and hand it to the algorithm."""
    model_dir = scratch / "model"
    model_dir.mkdir(exist_ok=True)
    archive = spec.get("model_archive")
    if archive is not None:
        archives.extract_tar(
            scratch / archive, model_dir, max_bytes=spec.get("max_model_bytes", _MAX_MODEL_BYTES)
        )
    algorithm = cast(Algorithm, algorithm_module(spec["algorithm"]))
    return algorithm.load(spec, model_dir)


def algorithm_module(name: str) -> ModuleType:
    """The module of an algorithm: a built-in one by its plain name, any other by its full name."""
    if not _MODULE_NAME.fullmatch(name):
        raise ValueError(f"not the name of an algorithm: {name!r}")
    return importlib.import_module(name if "." in name else f"stagedoor.worker.algorithms.{name}")


def describe(error: BaseException) -> str:
    """An exception as one line for a person."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def answer_calls(model: Model, server: Connections, spec: ModelSpec) -> NoReturn:
    """The serving loop."""
    max_count = spec.get("max_batch_count", _MAX_BATCH_COUNT)
    max_bytes = spec.get("max_batch_bytes", _MAX_BATCH_BYTES)
    max_delay_s = spec.get("max_batch_delay_s", 0.0)
    taken_at = 0.0  # when the last batch was taken: what is pending had come just before
    pending: deque[Call] = deque()
    pending_bytes = 0
    server.counters["batches"] = 0
    settle: Callable[[], None] | None = getattr(model, "settle", None)
    if settle is not None:
        pending.extend(_calls_within(spec.get("settle_after_s", _SETTLE_AFTER_S), server, max_bytes))
        pending_bytes = sum(len(frame.body) for _, frame in pending)
        taken_at = time.monotonic()
        if not pending:  # nobody waits: who comes later need not, either
            _try(settle)
            settle = None
    while True:
        block = not pending
        if pending_bytes < max_bytes:
            arrived = server.wait(max_bytes - pending_bytes, block=block)
            pending.extend(arrived)
            pending_bytes += sum(len(frame.body) for _, frame in arrived)
        if max_delay_s:
            until = (time.monotonic() if block else taken_at) + max_delay_s
            while len(pending) < max_count and pending_bytes < max_bytes:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    break
                arrived = server.wait(max_bytes - pending_bytes, block=True, timeout_s=left_s)
                pending.extend(arrived)
                pending_bytes += sum(len(frame.body) for _, frame in arrived)
            taken_at = time.monotonic()
        batch, batch_bytes = _take(pending, max_count, max_bytes)
        pending_bytes -= batch_bytes
        server.counters["batches"] += 1
        answers = predict(model, [Request(frame.meta, frame.body) for _, frame in batch])
        for (connection, frame), answer in zip(batch, answers, strict=True):
            server.answer(connection, encoded(frame.id, answer))
        server.flush()
        if settle is not None:
            _try(settle)
            settle = None


def _calls_within(limit_s: float, server: Connections, max_bytes: int) -> list[Call]:
    """The first calls to arrive in that time."""
    until = time.monotonic() + limit_s
    while (left_s := until - time.monotonic()) > 0:
        if arrived := server.wait(max_bytes, block=True, timeout_s=left_s):
            return arrived
    return []


def _try(settle: Callable[[], None]) -> None:
    try:
        settle()
    except Exception:  # noqa: BLE001 - the answers stay as they were
        traceback.print_exc()


def _take(pending: deque[Call], max_count: int, max_bytes: int) -> tuple[list[Call], int]:
    """The next batch and the size of its bodies; at least one call, however large."""
    batch: list[Call] = []
    size_bytes = 0
    while pending and len(batch) < max_count:
        next_bytes = len(pending[0][1].body)
        if batch and size_bytes + next_bytes > max_bytes:
            break
        size_bytes += next_bytes
        batch.append(pending.popleft())
    return batch, size_bytes


def predict(model: Model, requests: list[Request]) -> Sequence[Result | Fault]:
    """Answers for a batch. When the batch as a whole fails, each request is tried alone: only the culprit fails then."""
    try:
        answers = model.predict(requests)
        if len(answers) != len(requests):
            raise ValueError(f"the model gave {len(answers)} answers to {len(requests)} requests")
        return answers
    except Exception as error:  # noqa: BLE001 - whatever the model raises is its answer
        if len(requests) > 1:
            return [predict(model, [request])[0] for request in requests]
        traceback.print_exc()
        return [Fault(500, describe(error), traceback.format_exc())]


def encoded(request_id: int, answer: Result | Fault) -> bytes:
    """An answer as a frame."""
    if isinstance(answer, Fault):
        meta = {"status": answer.status, "reason": answer.reason, "traceback": answer.traceback}
        return frames.encode(frames.FAULT, request_id, meta)
    try:
        meta = _meta(answer.content_type, answer.custom_attributes)
        return frames.head(frames.RESULT, request_id, meta, len(answer.body)) + answer.body
    except frames.FrameError as error:
        return frames.encode(frames.FAULT, request_id, {"status": 500, "reason": str(error)})


@lru_cache(256)
def _meta(content_type: str, custom_attributes: str | None) -> bytes:
    """The meta of a result. A model's answers say nearly always the same."""
    meta = {"content_type": content_type}
    if custom_attributes is not None:
        meta["custom_attributes"] = custom_attributes
    return json.dumps(meta).encode()
