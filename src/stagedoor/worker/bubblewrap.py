"""Starting a workload under ``bwrap``: for servers that may not make namespaces themselves, where bubblewrap may. Linux.

Place in the flow: ``parent`` spawns with it, and ``probe`` tries it, when the assignment names a launcher (``engine.isolation`` has
chosen). bwrap makes the namespaces and the file system, the same as ``division`` and ``private_root`` would; the workload, a child
of bwrap's own number 1, climbs the rest of the ladder itself. What bwrap is told goes through a descriptor: neither ``ps`` nor
the workload sees it.
"""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence

from stagedoor.worker import descendants, own_root
from stagedoor.worker.assignment import Assignment
from stagedoor.worker.private_root import Step

_BINDS = {"read": "--ro-bind", "write": "--bind", "device": "--dev-bind"}
_SIGNALLED = 128
_HIGHEST_SIGNAL = 64
_TRIES = 500
_PAUSE_S = 0.002
_CREDENTIALS = struct.Struct("3i")


class Launch:
    """A command that runs ``program`` as the assignment's workload. ``descriptors`` are the child's to inherit; ``close`` them then."""

    def __init__(
        self, assignment: Assignment, program: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.descriptors: list[int] = []
        try:
            options = self._options(assignment, environment)
            arguments = self._with_content("\0".join(options).encode())
        except BaseException:
            self.close()
            raise
        self.command = [assignment.launcher, "--args", str(arguments), "--", *program]

    def close(self) -> None:
        """Give the descriptors back."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def _options(self, assignment: Assignment, environment: Mapping[str, str]) -> list[str]:
        made = own_root.of(assignment)
        options = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--clearenv"]
        if assignment.connect_ports == []:
            options.append("--unshare-net")
        for name, value in environment.items():
            options += ["--setenv", name, value]
        for step in made.steps:
            options += _told(step)
        for path, text in made.texts.items():
            options += ["--perms", "0644", "--file", str(self._with_content(text.encode())), path]
        return [*options, "--proc", "/proc", "--remount-ro", "/", "--chdir", "/"]

    def _with_content(self, content: bytes) -> int:
        descriptor = os.memfd_create("bwrap", 0)
        self.descriptors.append(descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor


def _told(step: Step) -> list[str]:
    if step.kind == "folder":
        return ["--perms", "0755", "--dir", step.path]
    if step.kind == "link":
        return ["--symlink", step.source, step.path]
    return [_BINDS[step.kind], step.source, step.path]


def telling_socket() -> tuple[socket.socket, socket.socket]:
    """A way for the workload to tell its parent its number, which is another one outside: the receiving and the telling end."""
    receiving, telling = socket.socketpair()
    receiving.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return receiving, telling


def told_pid(receiving: socket.socket) -> int | None:
    """Who has written, by the number that the kernel knows here; None when nobody could any more."""
    message, ancillary, _, _ = receiving.recvmsg(32, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, data in ancillary:
        if message and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0] or None
    return None


class Launched:
    """The process of a workload behind bwrap, and bwrap's number 1 of its space. OSError when it has ended already."""

    def __init__(self, workload_pid: int) -> None:
        self._pid = workload_pid
        self._descriptor = os.pidfd_open(workload_pid)
        self._first = descendants.parent_of(workload_pid)

    def signal(self, number: int) -> None:
        """Send its group a signal, unless it has ended and its number may be somebody else's."""
        if not select.select([self._descriptor], [], [], 0)[0]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def bury(self) -> None:
        """Now that bwrap has ended: wait for its number 1, which is an orphan of this process's and ends last of all in its space."""
        os.close(self._descriptor)
        for _ in range(_TRIES):
            try:
                if self._first is None or os.waitpid(self._first, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            time.sleep(_PAUSE_S)


def exit_code(code: int) -> int:
    """How the workload ended, from how bwrap did: like a shell's, its code says 128 and more for a signal."""
    return _SIGNALLED - code if _SIGNALLED < code <= _SIGNALLED + _HIGHEST_SIGNAL else code
