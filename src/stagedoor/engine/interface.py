"""The engine boundary: start a workload somewhere, say how it is, stop it. Six methods, JSON placements.

Place in the flow: ``reconcile.*.act`` calls it; ``traffic`` then reaches the worker by ``Placement.address`` and never
through the engine, so an engine outage does not stop serving. ``tests/engine`` is the contract every engine passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Workload:
    """What should run: one worker process (model server or function worker) or one job.

    ``runtime`` names a local runtime (``xgboost``, ``python``): which warm parent to fork from. ``spec`` is JSON that the
    worker's entry for ``kind`` understands (see ``stagedoor.worker``). ``environment`` is the whole environment of the
    user's code besides what the engine itself needs. ``files`` are links the engine makes in the scratch directory before
    the start: name -> path of an existing file, to be read only.
    """

    id: str
    kind: Literal["model", "function", "job"]
    runtime: str
    spec: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    memory_limit_bytes: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a workload runs: JSON-able, survives in a record. ``address`` is ``unix:PATH`` or ``tcp:HOST:PORT``."""

    workload_id: str
    address: str
    scratch: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """How a workload is. ``exit_code`` is negative for a signal, as in ``subprocess``; ``unknown``: never heard of it."""

    state: Literal["running", "exited", "unknown"]
    exit_code: int | None = None


class EngineError(Exception):
    """A workload could not be started; the text is fit for a FailureReason."""


OutputListener = Callable[[str, bytes], None]
"""``(workload_id, data)``: what the workload wrote to stdout or stderr, in order, as it came. On the event loop."""

ExitListener = Callable[[str, int], None]
"""``(workload_id, exit_code)``: once, after the last output. On the event loop."""


class Engine(Protocol):
    """Runs workloads. All methods are coroutines on the server's event loop; none blocks it."""

    async def open(self, on_output: OutputListener, on_exit: ExitListener) -> None:
        """Get ready (start warm parents in the background). Called once, before anything else."""
        ...

    async def start(self, workload: Workload) -> Placement:
        """Start it, or return the placement it already has under that id. EngineError when it cannot be started.

        Returns as soon as the process exists; readiness is the worker's HELLO on its address (``traffic.channel``).
        """
        ...

    async def inspect(self, workload_id: str) -> Condition:
        """How it is now."""
        ...

    async def stop(self, workload_id: str, grace_s: float) -> None:
        """SIGTERM to its process group, SIGKILL after ``grace_s``; returns when it is gone and its scratch removed.

        No error for an id that is gone or unknown. A job's scratch directory stays until ``stop`` is called for it.
        """
        ...

    async def list(self) -> list[Placement]:
        """Everything that runs here, for finding orphans."""
        ...

    async def close(self) -> None:
        """Stop everything that this engine started and cannot outlive the server."""
        ...
