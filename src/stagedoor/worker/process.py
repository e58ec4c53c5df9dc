"""How a fresh process (forked or spawned) becomes the process of one workload, and how it ends.

Place in the flow: ``parent`` (after fork) and ``spawned`` call ``become``; it runs the entry of the workload's kind:
``model_server``, ``function_worker`` or ``job_runner``. Nothing of the server is left by then: no open file but standard
input (empty), the output pipe and the listening socket, no environment variable but the assignment's.
"""

import atexit
import contextlib
import fcntl
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

from stagedoor.worker import threads
from stagedoor.worker.assignment import Assignment
from stagedoor.worker.confine import IsolationError, confine
from stagedoor.worker.division import Division

EXIT_BEFORE_ENTRY = 70
OWN_PORT = "SAGEMAKER_BIND_TO_PORT"
"""AWS's variable that tells a container where to listen."""
_LISTEN_BACKLOG = 64
_FIRST_PRIVATE_FD = 100


@dataclass(frozen=True, slots=True)
class Process:
    """What an entry gets. ``listener`` is None for jobs. ``output_fd`` is a private copy of the output pipe's end.

    ``rungs`` names the isolation in force.
    """

    assignment: Assignment
    listener: socket.socket | None
    output_fd: int
    rungs: list[str]

    @property
    def scratch(self) -> Path:
        return Path(self.assignment.scratch)


def listen(address: str) -> socket.socket | None:
    """The listening socket for ``unix:PATH`` or ``tcp:HOST:PORT``; None without an address."""
    if not address:
        return None
    scheme, _, place = address.partition(":")
    if scheme == "unix":
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(place)
            listener.listen(_LISTEN_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener
    if scheme == "tcp":
        host, _, port = place.rpartition(":")
        return socket.create_server((host, int(port)), backlog=_LISTEN_BACKLOG)
    raise ValueError(f"cannot listen on {address!r}")


def lead_group() -> None:
    """Leave the parent's process group and session, and its way of handling signals."""
    with contextlib.suppress(PermissionError):  # a spawned process leads its session already
        os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, where it can (Linux)."""
    if sys.platform == "linux":
        from stagedoor.worker import linux

        linux.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before the kernel knew
            os._exit(EXIT_BEFORE_ENTRY)


def become(
    assignment: Assignment,
    listener: socket.socket | None,
    output_fd: int,
    keep: frozenset[int],
    division: Division,
) -> NoReturn:
    """Be the workload's process from here on. Never returns. ``keep`` are further file descriptors to leave open."""
    exit_code = EXIT_BEFORE_ENTRY
    try:
        output_fd = _settle_files(output_fd, keep if listener is None else keep | {listener.fileno()})
        _settle_environment(assignment)
        standing = confine(assignment, division)
        rungs = standing.rungs
        if standing.relaying is not None:
            _relay(standing.relaying, listener)
        if standing.own_port is not None:
            os.environ[OWN_PORT] = str(standing.own_port)
        _settle_temporary(assignment, rungs)
        if assignment.packages:
            from stagedoor.worker import packages

            packages.enter(Path(assignment.packages))
        exit_code = _run(Process(assignment, listener, output_fd, rungs))
    except IsolationError as error:
        exit_code = _refuse(assignment, listener, error)
    except SystemExit as ending:
        exit_code = _exit_code(ending.code)
    except BaseException:  # noqa: BLE001 - the end of the process
        traceback.print_exc()
    _leave(exit_code, wait_for_threads=assignment.kind == "job")


def _relay(relaying: list[socket.socket], listener: socket.socket | None) -> NoReturn:
    """What is left of this process is its workload's way to the server."""
    from stagedoor.worker import own_loopback

    if listener is not None:
        listener.close()
    own_loopback.relay(relaying)


def _refuse(assignment: Assignment, listener: socket.socket | None, error: IsolationError) -> int:
    """Say why there is no workload, where the server looks for it."""
    print(error)
    if assignment.kind == "job":
        from stagedoor.worker.job_runner import write_failure

        write_failure(Path(assignment.scratch, "opt", "ml", "output"), str(error))
    elif listener is not None:
        from stagedoor.worker import connections

        connections.refuse(listener, {"reason": str(error)})
    return 1


def _settle_files(output_fd: int, keep: frozenset[int]) -> int:
    """Standard input empty, both outputs into the pipe, all else closed; gives the private copy of the pipe's end."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for standard in (1, 2):
        os.dup2(output_fd, standard)
    private = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_FD)
    last = 2
    for descriptor in sorted(keep | {private}):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, _descriptors_end())
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for life
    sys.stdout = sys.__stdout__ = _text_output(1)
    sys.stderr = sys.__stderr__ = _text_output(2)
    return private


def _descriptors_end() -> int:
    """A number above every open descriptor."""
    if sys.platform == "linux":
        return os.sysconf("SC_OPEN_MAX")
    # Where there may be no limit, or one of billions that would be closed one by one: those that are open.
    return max(int(entry.name) for entry in os.scandir("/dev/fd")) + 1


def _text_output(descriptor: int) -> TextIO:
    """Line by line, so that a log is read while it is written; whatever a program prints can be encoded."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _settle_environment(assignment: Assignment) -> None:
    os.umask(0o077)
    os.chdir(assignment.scratch)
    os.environ.clear()
    os.environ.update(assignment.environment)
    time.tzset()
    name = assignment.spec.get("function_name") or assignment.spec.get("name") or assignment.id
    if sys.platform == "linux":
        from stagedoor.worker import linux

        with contextlib.suppress(OSError, ValueError, IndexError):
            linux.set_title(f"stagedoor: {assignment.kind} {name}")
    sys.argv = [f"stagedoor: {assignment.kind} {name}"]
    sys.dont_write_bytecode = True
    if assignment.threads != 1:  # with one the parent has loaded everything
        threads.set_threads(assignment.threads)
    # Forked siblings must not draw the same numbers.
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _settle_temporary(assignment: Assignment, rungs: list[str]) -> None:
    """Into /tmp where that is the workload's own: the name of a socket, as multiprocessing makes them, has 107 bytes at most."""
    own = str(Path(assignment.scratch, "tmp"))
    if "private-root" in rungs and os.environ.get("TMPDIR") == own:
        os.environ["TMPDIR"] = "/tmp"  # noqa: S108


def _run(process: Process) -> int:
    kind = process.assignment.kind
    if kind == "model":
        from stagedoor.worker.model_server import serve

        return serve(process)
    if kind == "function":
        from stagedoor.worker.function_worker import serve

        return serve(process)
    from stagedoor.worker.job_runner import run

    return run(process)


def _exit_code(code: object) -> int:
    """The exit code as the interpreter takes ``sys.exit``'s argument."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _leave(exit_code: int, *, wait_for_threads: bool) -> NoReturn:
    """End like an interpreter would, but without taking apart what was shared with the warm parent."""
    if wait_for_threads:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # pyright: ignore - waits for the user's own non-daemon threads
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(exit_code)
