"""The isolation ladder: what takes rights away from a workload's process before the user's code runs, rung by rung.

Place in the flow: ``process.become`` calls ``confine`` once, after files and sockets are in place and before the entry.
Each rung is a function that takes the standing and either is in force when it returns, or raises ``Unavailable`` with the
reason. The names of those in force go to the server in the HELLO. Rungs are climbed in the order of ``_RUNGS``: what needs
rights (namespaces, another user) goes before what gives them up. ``isolation`` decides about a rung that is missing: ``auto``
goes on without it, ``strict`` ends the workload, ``none`` does not try what is not ``_ALWAYS`` there.
"""

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from stagedoor.worker import grants
from stagedoor.worker.assignment import Assignment
from stagedoor.worker.division import Division

MAX_PROCESSES = {"function": 1024, "model": 4096, "job": 4096}
"""Processes and threads that one workload may have; the first is AWS's own limit for a function."""

_MAX_OPEN_FILES = {"function": 1024, "model": 4096, "job": 65_536}
_MAX_FUNCTION_FILE_BYTES = 10_240 * 1024 * 1024
_THREAD_STACKS_BYTES = 512 * 1024 * 1024


class Unavailable(Exception):
    """The system cannot give a rung; the text says what is missing."""


class NotRequired(Exception):
    """A rung that has no meaning for this workload, so that it is neither in force nor missing."""


class IsolationError(Exception):
    """A workload may not start: a rung that must be there is not. ``rung`` names it."""

    def __init__(self, rung: str, reason: str, *, strict: bool) -> None:
        super().__init__(
            f"the isolation rung {rung} is not available ({reason}), and isolation is strict: provide it, or start the server "
            "with --isolation auto"
            if strict
            else f"the isolation rung {rung} was available when the server started, and failed now ({reason})"
        )
        self.rung = rung
        self.reason = reason


@dataclass(slots=True)
class Standing:
    """How far up the ladder a process is. ``missing``: rung -> reason.

    ``own_port``: where the workload may listen, if it wanted to. ``relaying``: this process is not the workload but its relay
    (``own_loopback``), with these sockets.
    """

    assignment: Assignment
    division: Division
    rungs: list[str] = field(default_factory=list[str])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    landlock_abi: int = 0
    own_port: int | None = None
    relaying: list[socket.socket] | None = None


Rung = Callable[[Standing], None]


def confine(assignment: Assignment, division: Division) -> Standing:
    """Climb the ladder. IsolationError when the assignment is strict and a rung is missing, or one breaks half-way."""
    standing = Standing(assignment, division)
    for name, rung in _RUNGS:
        if assignment.isolation == "none" and name not in _ALWAYS:
            continue
        strict = assignment.isolation == "strict"
        try:
            if name in assignment.known_missing:
                raise Unavailable(assignment.known_missing[name])
            rung(standing)
        except NotRequired:
            continue
        except (Unavailable, OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if strict or (name in _ALL_OR_NOTHING and name not in assignment.known_missing):
                raise IsolationError(name, reason, strict=strict) from error
            standing.missing[name] = reason
        else:
            standing.rungs.append(name)
    if standing.own_port is None:  # no Landlock has asked for it
        standing.own_port = _own_port(standing)
    return standing


def _linux_only() -> None:
    if sys.platform != "linux":
        raise Unavailable("only Linux has it")


# Limits -------------------------------------------------------------------------------------------------------------


def _own_session(_: Standing) -> None:
    if os.getsid(0) != os.getpid():
        raise Unavailable("the process leads no session of its own")


def _no_core_dumps(_: Standing) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _killed_first(_: Standing) -> None:
    """When the machine runs out of memory, the kernel ends workers before the server."""
    _linux_only()
    Path("/proc/self/oom_score_adj").write_text("500")


def _open_files(standing: Standing) -> None:
    _lower(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES[standing.assignment.kind])


def _file_size(standing: Standing) -> None:
    """A function's files, as its /tmp on AWS may have 10,240 MB at most. Models and results may have any size."""
    if standing.assignment.kind != "function":
        raise NotRequired
    _lower(resource.RLIMIT_FSIZE, _MAX_FUNCTION_FILE_BYTES)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _memory(standing: Standing) -> None:
    """Bound what the process may allocate itself, on top of what it shares with its warm parent.

    RLIMIT_DATA and not RLIMIT_AS: numeric libraries reserve much more address space than they use. The stacks of threads
    count, too (8 MiB each, hardly used), so there is room for them; the engine watches what is really in use.
    """
    limit_bytes = standing.assignment.memory_limit_bytes
    if limit_bytes is None:
        raise NotRequired
    _linux_only()
    limit = _data_bytes() + limit_bytes + _THREAD_STACKS_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise Unavailable("/proc does not say how much memory is in use")


def _process_limit(standing: Standing) -> None:
    """The kernel counts per user, and per user namespace: exact for a workload that has one of these to itself."""
    _linux_only()
    count = MAX_PROCESSES[standing.assignment.kind]
    if os.getuid() == 0:
        raise Unavailable("the kernel does not count the processes of root")
    if not standing.division.in_user_namespace and standing.assignment.uid is None:
        count += _processes_of_this_user()
    _lower(resource.RLIMIT_NPROC, count)


def _processes_of_this_user() -> int:
    me, count = os.getuid(), 0
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == me:
                count += sum(1 for _ in os.scandir(f"/proc/{entry.name}/task"))
    return count


# Namespaces and users -----------------------------------------------------------------------------------------------


def _bubblewrap(standing: Standing) -> None:
    """Who makes the namespaces, if not the workload's process itself."""
    if not standing.division.by_launcher:
        raise NotRequired


def _own_process_numbers(standing: Standing) -> None:
    if not standing.division.divided:
        raise Unavailable(standing.division.obstacle or standing.missing["own-process-numbers"])


def _private_root(standing: Standing) -> None:
    _linux_only()
    if not standing.division.divided:
        raise Unavailable(standing.division.obstacle or standing.missing["own-process-numbers"])
    from stagedoor.worker import own_root, private_root

    _refuse_exposure(standing.assignment)
    if not standing.division.by_launcher:  # else bwrap has made it
        made = own_root.of(standing.assignment)
        private_root.enter(made.steps, made.texts, with_proc=True)


def _refuse_exposure(assignment: Assignment) -> None:
    shown = grants.exposed(assignment.private)
    if shown is not None:
        raise Unavailable(f"{shown} lies in a folder that the runtime needs to read")


def _no_network(standing: Standing) -> None:
    """A network namespace with nothing but its own loopback, for a workload that has nobody to call."""
    if standing.assignment.connect_ports != []:
        raise NotRequired
    _linux_only()
    if not standing.division.divided:
        raise Unavailable(standing.division.obstacle or standing.missing["own-process-numbers"])
    if standing.division.by_launcher:
        return
    from stagedoor.worker import own_loopback

    own_loopback.leave_network()


def _own_loopback(standing: Standing) -> None:
    """The same for one that listens on a port of its own and calls the server: a relay leads there."""
    assignment = standing.assignment
    if assignment.own_port is None or not assignment.connect_ports:
        raise NotRequired
    _linux_only()
    if not standing.division.divided:
        raise Unavailable(standing.division.obstacle or standing.missing["own-process-numbers"])
    if standing.division.by_launcher:
        raise Unavailable("bwrap cannot lead to the server from a network of the workload's own")
    if "no-network" in assignment.known_missing:
        raise Unavailable(assignment.known_missing["no-network"])
    if not assignment.server_host.startswith("127."):
        raise Unavailable(f"the server listens on {assignment.server_host}, which is not in 127.0.0.0/8")
    from stagedoor.worker import own_loopback

    workload = os.getpid()
    try:
        standing.relaying = own_loopback.split(assignment.server_host, assignment.connect_ports)
    except OSError as error:  # maybe between two networks
        reason = error.strerror or str(error)
        raise IsolationError("own-loopback", reason, strict=assignment.isolation == "strict") from error
    if standing.relaying is not None:
        standing.division = replace(standing.division, parent_pid=workload)


def _own_port(standing: Standing) -> int | None:
    """The port that it wants where nobody else can have it, else one that is free."""
    wanted = standing.assignment.own_port
    if wanted is None or standing.relaying is not None:
        return None
    return wanted if {"own-loopback", "no-network"} & {*standing.rungs} else _free_port()


def _free_port() -> int:
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


def _separate_user(standing: Standing) -> None:
    """When the server is root: a user that nobody else is, for this one workload."""
    uid = standing.assignment.uid
    if os.getuid() != 0 or standing.division.in_user_namespace:
        raise NotRequired
    if uid is None:
        raise Unavailable("the engine has chosen none")
    if "private-root" not in standing.rungs:
        raise Unavailable(
            f"without a private root its files cannot be reached: {standing.missing['private-root']}"
        )
    if (path := _unreadable_for(uid)) is not None:
        raise Unavailable(f"other users may not read {path}, which the runtime needs")
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _unreadable_for(uid: int) -> str | None:
    """A file or folder of the runtime that ``uid`` cannot use, as seen from the private root, where /tmp is its own."""
    needed = {os.__file__, os.path.realpath(sys.executable), __file__, *_library_samples()}
    needed.update(entry for entry in sys.path if entry.startswith("/") and Path(entry).is_dir())
    for path in sorted(needed):
        for part in (Path(path), *Path(path).parents):
            status = part.stat()
            wanted = 0o005 if part.is_dir() else 0o004
            if (status.st_mode >> 6 if status.st_uid == uid else status.st_mode) & wanted != wanted:
                return str(part)
    return None


def _library_samples() -> list[str]:
    """Files of packages, which may have been installed under a narrower umask than the Python itself."""
    names = ("boto3", "botocore", "numpy", "xgboost", "sklearn", "faiss", "fasttext")
    return [
        module.__file__
        for name in names
        if (module := sys.modules.get(name)) is not None and module.__file__ is not None
    ]


# Rights -------------------------------------------------------------------------------------------------------------


def _no_capabilities(_: Standing) -> None:
    _linux_only()
    from stagedoor.worker import linux

    linux.drop_capabilities()


def _no_new_privileges(_: Standing) -> None:
    _linux_only()
    from stagedoor.worker import linux

    linux.gain_no_privileges()


def _dies_with_server(standing: Standing) -> None:
    """Anew, as a change of user forgets it."""
    _linux_only()
    from stagedoor.worker import linux

    parent = os.getppid()
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent or (standing.division.divided and parent != standing.division.parent_pid):
        os._exit(1)


def _hidden_memory(_: Standing) -> None:
    _linux_only()
    from stagedoor.worker import linux

    linux.hide_from_debuggers()


def _landlock_files(standing: Standing) -> None:
    _linux_only()
    from stagedoor.worker import landlock, own_root

    assignment = standing.assignment
    if "no-new-privileges" not in standing.rungs:
        raise Unavailable("it needs no-new-privileges")
    try:
        landlock.abi_version()
    except OSError as error:
        raise Unavailable("the kernel has no Landlock (Linux 5.13), or has it switched off") from error
    if "private-root" not in standing.rungs:
        _refuse_exposure(assignment)
    granted = grants.of(assignment)
    paths = [(path, landlock.READ) for path in granted.readable]
    paths += [(path, landlock.WRITE) for path in granted.writable]
    paths += [(path, landlock.DEVICE) for path in granted.devices]
    if "private-root" in standing.rungs:
        paths += [(path, landlock.WRITE) for path in own_root.aliases(assignment)]
        paths += [("/proc", landlock.READ), *((path, landlock.READ) for path in granted.account_files)]
    else:
        paths += [(path, landlock.READ) for path in (*granted.proc_files, *granted.account_files)]
    standing.own_port = _own_port(standing)
    standing.landlock_abi = landlock.enforce(
        paths, connect_ports=assignment.connect_ports, own_port=standing.own_port
    )


def _landlock_tcp(standing: Standing) -> None:
    if standing.assignment.connect_ports is None:
        raise NotRequired
    _landlock_at_least(standing, 4, "6.7")


def _landlock_signals(standing: Standing) -> None:
    _landlock_at_least(standing, 6, "6.12")


def _landlock_at_least(standing: Standing, abi: int, linux_version: str) -> None:
    _linux_only()
    if not standing.landlock_abi:
        raise Unavailable(standing.missing.get("landlock-files", "there is no Landlock"))
    if standing.landlock_abi < abi:
        raise Unavailable(
            f"Landlock has it from ABI {abi} on (Linux {linux_version}); here it is {standing.landlock_abi}"
        )


def _syscall_filter(standing: Standing) -> None:
    _linux_only()
    from stagedoor.worker import linux, syscall_filter

    if "no-new-privileges" not in standing.rungs:
        raise Unavailable("it needs no-new-privileges")
    linux.filter_syscalls(syscall_filter.program(network=standing.assignment.connect_ports is None))


_RUNGS: tuple[tuple[str, Rung], ...] = (
    ("own-session", _own_session),
    ("no-core-dumps", _no_core_dumps),
    ("killed-first", _killed_first),
    ("open-files-limit", _open_files),
    ("file-size-limit", _file_size),
    ("memory-limit", _memory),
    ("bubblewrap", _bubblewrap),
    ("own-process-numbers", _own_process_numbers),
    ("private-root", _private_root),
    ("no-network", _no_network),
    ("own-loopback", _own_loopback),
    ("separate-user", _separate_user),
    ("process-limit", _process_limit),
    ("no-capabilities", _no_capabilities),
    ("no-new-privileges", _no_new_privileges),
    ("dies-with-server", _dies_with_server),
    ("hidden-memory", _hidden_memory),
    ("landlock-files", _landlock_files),
    ("landlock-tcp", _landlock_tcp),
    ("landlock-signals", _landlock_signals),
    ("syscall-filter", _syscall_filter),
)
# What has begun and failed leaves a process in which nothing may run: half another file system, files of another user.
_ALL_OR_NOTHING = frozenset(("own-process-numbers", "private-root", "no-network", "separate-user"))
_ALWAYS = frozenset(
    ("own-session", "no-core-dumps", "killed-first", "open-files-limit", "memory-limit", "no-new-privileges")
)
