"""What a warm parent is told about one workload: everything its new process needs, as JSON.

Place in the flow: ``engine.local`` writes it on the control socket, ``parent`` reads it and makes a process,
``process.become`` follows it. Messages are JSON objects, one a line; those of ``op`` ``start`` carry one file descriptor
(the output pipe's writing end).

    to the parent                                    from the parent
    {"op": "open", "runtime": {...}}                 {"event": "ready", "threads": 1} | {"event": "failed", "reason", "traceback"}
    {"op": "start", "assignment": {...}}  + fd       {"event": "started", "id", "pid"} | {"event": "refused", "id", "reason"}
    {"op": "signal", "id", "signal": 15}             {"event": "exited", "id", "exit_code"}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class RuntimeSetup:
    """How a parent gets ready: modules to import, modules that must look absent meanwhile, folders for ``sys.path``.

    ``start`` is ``fork`` (the warm way) or ``spawn`` (a new Python for each workload, where fork is unsafe).
    """

    name: str
    modules: tuple[str, ...] = ()
    hidden_modules: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    start: Literal["fork", "spawn"] = "fork"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RuntimeSetup":
        return cls(
            name=document["name"],
            modules=tuple(document["modules"]),
            hidden_modules=tuple(document["hidden_modules"]),
            path=tuple(document["path"]),
            start=document["start"],
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    """One workload for one process. ``address`` is empty for jobs. ``environment`` is the whole environment.

    ``read_only`` are the real paths behind the links in the scratch directory. ``tag`` is a number that no other living
    workload of this server has; descendants inherit it (``worker.descendants``).

    ``isolation`` is ``auto``, ``strict`` or ``none`` (``worker.confine``). ``connect_ports`` are the TCP ports it may connect
    to; None: it may go anywhere. ``private`` are folders that it must never see. ``uid`` is the user (and group) that it has to
    itself, when the server is root. ``known_missing``: rungs not to be tried, and why (``engine.isolation`` found out).
    ``server_pid``: the one process that may connect to it. ``packages`` is a virtual environment with packages that the user chose,
    empty for none: nothing of it may run before the process is confined.
    ``launcher`` is the program that starts the workload in namespaces (``worker.bubblewrap``), empty where its process makes them
    itself; ``namespaces`` are the server's own (``worker.division``).
    ``own_port`` is a port that the workload wants to listen on, whoever else does (``worker.own_loopback``); ``server_host`` is where the
    server listens on ``connect_ports``. ``stays_awake``: it may use time on its processor while it waits (``engine.processors``).
    """

    id: str
    kind: Literal["model", "function", "job"]
    spec: dict[str, Any]
    environment: dict[str, str]
    scratch: str
    address: str
    read_only: list[str]
    memory_limit_bytes: int | None
    threads: int
    tag: int
    isolation: Literal["auto", "strict", "none"] = "none"
    connect_ports: list[int] | None = None
    private: list[str] = field(default_factory=list[str])
    uid: int | None = None
    known_missing: dict[str, str] = field(default_factory=dict[str, str])
    server_pid: int | None = None
    packages: str = ""
    launcher: str = ""
    own_port: int | None = None
    server_host: str = "127.0.0.1"
    stays_awake: bool = False
    namespaces: dict[str, str] = field(default_factory=dict[str, str])

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Assignment":
        return cls(**document)
