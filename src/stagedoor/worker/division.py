"""A process-number space of a workload's own: it sees and signals nobody else, and all of it dies at once. Linux.

Place in the flow: a fresh process (``parent``, ``spawned``) calls ``divide`` before it becomes a workload. It returns in another
process, which is a new space's number 2. Behind it stand two that do nothing but wait:

    warm parent ── keeper (the calling process: in the old space, relays signals, ends as the workload ends)
                     ├─ number 1 of the new space (adopts and reaps orphans; its end kills everything in there)
                     └─ number 2: the workload

Number 1 of a space is deaf to signals without a handler, which is why the workload is not number 1 itself. Without privilege
the keeper makes a user namespace first, in which it may do all this.
"""

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from stagedoor.worker.assignment import Assignment

_RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_FAILED = 70

KILL = signal.SIGUSR1
"""What a keeper is sent to kill its workload; SIGKILL would hit the keeper, and nobody would hear how the workload ended."""

LAUNCHER = 1
"""The number of bwrap, waiting in the space that it has made."""

_AWAITED = frozenset((*_RELAYED, KILL, signal.SIGCHLD))


@dataclass(frozen=True, slots=True)
class Division:
    """``divided``: this process is in a PID namespace of its own. ``obstacle`` says why not. ``in_user_namespace``: rights
    that it has are rights in a user namespace of its own. ``by_launcher``: bwrap has made them all, and a file system. ``parent_pid``: its
    parent's number as it sees it.
    """

    divided: bool = False
    in_user_namespace: bool = False
    obstacle: str = ""
    by_launcher: bool = False
    parent_pid: int = 0


def enter(assignment: Assignment, tell: int | None) -> Division:
    """Divide, unless isolation is none, it is known to be impossible here, or has been done."""
    if assignment.launcher:
        return launched(assignment, tell)
    wanted = assignment.isolation != "none" and "own-process-numbers" not in assignment.known_missing
    return divide(tell) if wanted else undivided(tell)


def divide(tell: int | None) -> Division:
    """Put what follows into namespaces of its own. When that fails half-way, no workload may run in what is left.

    The process number of the workload, seen from outside, is written to
    ``tell`` (text; closed afterwards), so that the parent knows it.
    """
    if sys.platform != "linux":
        _tell(tell, os.getpid())
        return Division(obstacle="this system has no PID namespaces")
    try:
        in_user_namespace = _unshare()
    except OSError as error:
        _tell(tell, os.getpid())
        return Division(obstacle=error.strerror or str(error))
    # From here on the keeper takes signals one by one: between a look and the next wait none may get lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    first = os.fork()
    if first == 0:
        _be_first()
    try:
        workload = os.fork()
    except OSError:
        os.kill(first, signal.SIGKILL)
        raise
    if workload == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if tell is not None:
            os.close(tell)
        _die_with_keeper()
        with contextlib.suppress(PermissionError):
            os.setsid()
    else:
        _keep(first, workload, tell)
    return Division(divided=True, in_user_namespace=in_user_namespace)


def launched(assignment: Assignment, tell: int | None) -> Division:
    """Go on as this process, which is in namespaces of its own already."""
    _tell(tell, os.getpid())
    own = namespaces()
    if os.getppid() != LAUNCHER or own.get("pid") == assignment.namespaces.get("pid"):
        return Division(obstacle=f"{assignment.launcher} has started it without a process space of its own")
    return Division(
        divided=True,
        in_user_namespace=own.get("user") != assignment.namespaces.get("user"),
        by_launcher=True,
        parent_pid=LAUNCHER,
    )


def namespaces() -> dict[str, str]:
    """The names of this process's user and PID namespaces; empty where there are none."""
    try:
        return {kind: str(Path("/proc/self/ns", kind).readlink()) for kind in ("user", "pid")}
    except OSError:
        return {}


def undivided(tell: int | None) -> Division:
    """Go on as this process."""
    _tell(tell, os.getpid())
    return Division()


def _unshare() -> bool:
    """Whether it took a user namespace to be allowed to."""
    from stagedoor.worker import linux

    try:
        linux.unshare(linux.CLONE_NEWPID)
        return False
    except PermissionError:
        pass
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWPID)
    linux.own_proc_files()
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return True


def _tell(tell: int | None, pid: int) -> None:
    if tell is not None:
        with contextlib.suppress(OSError):
            os.write(tell, str(pid).encode())
        os.close(tell)


def _die_with_keeper() -> None:
    from stagedoor.worker import linux

    linux.die_with_parent(signal.SIGKILL)
    # The keeper is in another space, so its number reads 0; anybody else's means that it died.
    if os.getppid() != 0:
        os._exit(_FAILED)


def _be_first() -> NoReturn:
    """Number 1: orphans come to it, and the kernel reaps them, as nobody here wants to know."""
    try:
        _die_with_keeper()
        from stagedoor.worker import linux

        linux.hide_from_debuggers()  # the workload may be the same user, and this process has the old file system
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        while True:
            signal.pause()
    finally:
        os._exit(_FAILED)


def _keep(first: int, workload: int, tell: int | None) -> NoReturn:
    """Wait for the workload, end what it left, end as it ended."""
    status = _FAILED << 8
    try:
        _tell(tell, workload)
        from stagedoor.worker import linux

        linux.hide_from_debuggers()
        with contextlib.suppress(OSError, ValueError, IndexError):
            linux.set_title(f"stagedoor: keeper of {workload}")
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        # Its number cannot be anybody else's while it is not reaped, so that signals hit nobody else.
        while os.waitid(os.P_PID, workload, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            number = signal.sigwaitinfo(_AWAITED).si_signo
            if number != signal.SIGCHLD:
                _relay(signal.SIGKILL if number == KILL else number, workload)
        status = os.waitpid(workload, 0)[1]
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)  # over only when everything in the space is gone
    finally:
        _end_with(status)


def _relay(number: int, workload: int) -> None:
    try:
        os.killpg(workload, number)
    except ProcessLookupError:  # it does not lead its group yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(workload, number)


def _end_with(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
        time.sleep(1)  # never: the signal ends this process
    os._exit(code if code >= 0 else 128 - code)
