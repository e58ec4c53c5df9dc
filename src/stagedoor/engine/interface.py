"""The engine boundary: start a workload somewhere, say how it is, stop it. Eight methods, JSON placements.

Place in the flow: ``reconcile.*.act`` calls it; ``traffic`` then reaches the worker by ``Placement.address`` and never
through the engine, so an engine outage does not stop serving. ``tests/engine`` is the contract every engine passes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

HOUSE = "stagedoor: "
"""How lines of the house's own begin in a workload's output."""
ENDED_FOR = f"{HOUSE}ended, since it uses "
"""The last line of a model or job that the engine killed for using more than it may; goes on with how much."""
LOST_EXIT = -1000
"""The exit code, no process has it, of a job that ended because what it ran on did: nothing that it did itself."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What should run: one worker process (model server or function worker) or one job.

    ``id`` names one run: a worker that is started anew gets a new id. ``runtime`` names a local runtime (``xgboost``,
    ``python``, or what ``prepare`` gave): which warm parent to fork from. ``spec`` is a ``ModelSpec``, ``FunctionSpec`` or ``JobSpec`` of
    ``stagedoor.worker.specs``, by ``kind``. ``environment`` is the whole environment of the user's code besides what
    the engine itself sets (PATH, HOME, TMPDIR, LANG, OMP_NUM_THREADS), and wins over that. ``files`` are links the
    engine makes in the scratch directory before the start: relative name (folders allowed) -> absolute path of an
    existing file, to be read only. ``copies`` are the same as files of its own, which it may change. ``pipes`` are names of named pipes
    that are there when it starts. ``memory_limit_bytes`` is what it may use on top of what it shares with its
    warm parent: beyond it, it is killed (exit code -9), and far beyond it, its allocations fail. ``connect_ports`` are the TCP
    ports that it may connect to: none, those of the server that it calls (on ``server_host``), or None for the whole network.
    ``own_port`` is one that it wants to listen on; SAGEMAKER_BIND_TO_PORT tells it which one it got: another where it has no loopback of
    its own.
    """

    id: str
    kind: Literal["model", "function", "job"]
    runtime: str
    spec: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    copies: Mapping[str, Path] = field(default_factory=dict[str, Path])
    pipes: Sequence[str] = ()
    memory_limit_bytes: int | None = None
    threads: int = 1
    connect_ports: tuple[int, ...] | None = ()
    own_port: int | None = None
    server_host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a workload runs: JSON-able, survives in a record.

    ``address`` is ``unix:PATH`` or ``tcp:HOST:PORT``, and empty for a job. It can be connected to as soon as ``start``
    returned. ``scratch`` is the workload's working directory.
    """

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


class RuntimeUnavailableError(EngineError):
    """A runtime's Python or packages are not there, or requirements cannot be installed. The text says what to do."""


OutputListener = Callable[[str, bytes], Awaitable[None] | None]
"""``(workload_id, data)``: what the workload wrote to stdout or stderr, in order, as it came. On the event loop.

When it returns an awaitable, nothing more is read from this workload until that is done: the workload's own writes then
block, so output never piles up in the server.
"""

ExitListener = Callable[[str, int], None]
"""``(workload_id, exit_code)``: once, after the last output. On the event loop. ``LOST_EXIT`` for jobs only."""


class Engine(Protocol):
    """Runs workloads. All methods are coroutines on the server's event loop; none blocks it."""

    async def open(self, on_output: OutputListener, on_exit: ExitListener) -> None:
        """Get ready (start warm parents in the background). Called once, before anything else.

        Workers of an earlier server are gone by then, and their scratch directories are removed here.
        """
        ...

    async def start(self, workload: Workload) -> Placement:
        """Start it, or return the placement it already has under that id, also when it has exited meanwhile.

        EngineError when it cannot be started; nothing is left of it then. Returns as soon as the process exists;
        readiness is the worker's HELLO on its address (``traffic.channel``).
        """
        ...

    async def prepare(self, runtime: str, requirements: str) -> str:
        """The name of a runtime that is ``runtime`` with the packages of a requirements.txt; made once, then kept.

        RuntimeUnavailableError says what is wrong with the requirements, or why they cannot be installed.
        """
        ...

    async def inspect(self, workload_id: str) -> Condition:
        """How it is now. What exited stays ``exited`` until ``stop`` is called for it."""
        ...

    async def terminate(self, workload_id: str, *, kill: bool = False) -> None:
        """SIGTERM to the workload, at once: it may finish what it does. Its exit is told as always; ``stop`` follows.

        With ``kill`` it is SIGKILL; a job's scratch directory stays all the same.

        Nothing happens for what has exited, is gone or unknown.
        """
        ...

    async def stop(self, workload_id: str, grace_s: float) -> None:
        """SIGTERM to its process group, SIGKILL after ``grace_s``; returns when it is gone and its scratch removed.

        Forgets the id: to be called for what exited by itself, too. No error for an id that is gone or unknown. A
        job's scratch directory stays until then (its results are in there); others lose theirs when they exit.
        """
        ...

    async def list(self) -> list[Placement]:
        """Everything that runs here, for finding orphans, and what exited and was not stopped yet."""
        ...

    async def close(self) -> None:
        """Stop everything that this engine started and cannot outlive the server."""
        ...
