"""The warm parent: one process per runtime that has done the imports, and makes every workload's process by fork.

Place in the flow: ``engine.local`` starts it (``worker.start parent FD``) and talks to it over a socket pair
(``worker.assignment`` has the messages). It has one thread and runs no user code. When the server is gone (the socket ends),
it kills what it made and goes; when it is gone itself, the kernel kills its children (on macOS they notice).

Fork is unsafe on macOS once numpy has loaded Accelerate, and the Objective-C runtime aborts forked children that use it: there
``RuntimeSetup.start`` is ``spawn``, and the same messages start a new Python for each workload, which costs its imports.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any

from stagedoor.worker import bubblewrap, descendants, division, preload, process
from stagedoor.worker.assignment import Assignment, RuntimeSetup

_READ_BYTES = 256 * 1024
# A spawned process overwrites its command line with a title: this is the room for it.
_TITLE_ROOM = " " * 80


def main(control_fd: int) -> int:
    """Serve the control socket until it ends. In a forked child this never returns."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the server, which then ends its workloads in order
    descendants.adopt_orphans()
    parent = Parent(socket.socket(fileno=control_fd))
    while parent.serve_once():
        pass
    parent.kill_all()
    return 0


class Parent:
    """The state of one warm parent."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._setup: RuntimeSetup | None = None
        self._unread = b""
        self._descriptors: deque[int] = deque()
        self._alive: dict[int, Assignment] = {}  # by pid
        self._workloads: dict[int, int] = {}  # pid of a process made here -> that of the workload behind it
        self._told_to_kill: set[int] = set()
        self._lifelines: dict[int, int] = {}  # pid of a spawned process -> the pipe that keeps it alive
        self._launched: dict[int, bubblewrap.Launched] = {}  # pid of a bwrap -> what is behind it
        self._woken, waker = socket.socketpair()
        self._waker = waker
        self._woken.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, _only_wake)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def serve_once(self) -> bool:
        """Wait for a message or a child's end and handle it. False when the server is gone."""
        for key, _ in self._selector.select():
            if key.fileobj is self._woken:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            elif not self._read():
                return False
        try:
            self._reap()
        except BrokenPipeError:
            return False
        return True

    def kill_all(self) -> None:
        """End everything that descends from here."""
        for pid in self._alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self._alive:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        descendants.kill_orphans(None, frozenset())

    def _tell(self, **event: Any) -> None:
        self._control.sendall(json.dumps(event).encode() + b"\n")

    # Messages

    def _read(self) -> bool:
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._control, _READ_BYTES, 8)
        except ConnectionError:
            return False
        if flags & socket.MSG_CTRUNC:
            return False  # a descriptor was lost: nothing that follows can be trusted
        self._descriptors.extend(descriptors)
        if not data:
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        try:
            for line in lines:
                self._obey(json.loads(line))
        except BrokenPipeError:
            return False
        return True

    def _obey(self, message: dict[str, Any]) -> None:
        operation = message["op"]
        if operation == "start":
            self._start(Assignment.from_json(message["assignment"]), self._descriptors.popleft())
        elif operation == "signal":
            self._signal(message["id"], message["signal"])
        elif operation == "open":
            self._open(RuntimeSetup.from_json(message["runtime"]))
        else:
            raise ValueError(f"unknown operation {operation!r}")

    def _open(self, setup: RuntimeSetup) -> None:
        if sys.platform == "linux":
            from stagedoor.worker import linux

            with contextlib.suppress(OSError, ValueError, IndexError):
                linux.set_title(f"stagedoor: warm {setup.name}")
        try:
            if setup.start == "fork":
                preload.preload(setup)
            else:
                preload.require(setup)
        except BaseException as error:  # noqa: BLE001 - whatever an import raises goes to the server
            self._tell(
                event="failed", reason=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
            )
            return
        self._setup = setup
        self._tell(event="ready", threads=_thread_count())

    def _signal(self, workload_id: str, number: int) -> None:
        for pid, assignment in self._alive.items():
            if assignment.id == workload_id:
                if pid in self._launched:
                    self._signal_launched(pid, number)
                    return
                is_keeper = self._workloads[pid] != pid
                if number == signal.SIGKILL and is_keeper and pid not in self._told_to_kill:
                    # It kills the workload and still tells how that ended, should it be over already. Asked again, it is
                    # killed itself, which takes everything along.
                    self._told_to_kill.add(pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, division.KILL)
                    return
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:
                    # Forked a moment ago: it does not lead its group yet.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                except PermissionError:
                    pass  # macOS: the group's leader is a zombie

    def _signal_launched(self, pid: int, number: int) -> None:
        """Signal the workload behind the bwrap ``pid``, which would not pass it on. Asked to kill again, kill bwrap and so all behind it."""
        if number != signal.SIGKILL or pid not in self._told_to_kill:
            self._launched[pid].signal(number)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        if number == signal.SIGKILL:
            self._told_to_kill.add(pid)

    # Processes

    def _start(self, assignment: Assignment, output_fd: int) -> None:
        listener: socket.socket | None = None
        try:
            assert self._setup is not None
            listener = process.listen(assignment.address)
            if assignment.launcher:
                pid = self._launch(self._setup, assignment, listener, output_fd)
            elif self._setup.start == "fork":
                pid = self._fork(assignment, listener, output_fd)
            else:
                pid = self._spawn(self._setup, assignment, listener, output_fd)
        except OSError as error:
            self._tell(
                event="refused",
                id=assignment.id,
                reason=f"no process could be made: {error.strerror or error}",
            )
            return
        finally:
            os.close(output_fd)
            if listener is not None:
                listener.close()
        self._alive[pid] = assignment
        self._tell(event="started", id=assignment.id, pid=self._workloads[pid])

    def _fork(self, assignment: Assignment, listener: socket.socket | None, output_fd: int) -> int:
        """Makes the process; gives its number, and notes in ``_workloads`` that of the workload itself if that is another."""
        parent_pid = os.getpid()
        reading, telling = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(telling)
            raise
        if pid:
            os.close(telling)
            self._workloads[pid] = _told(reading) or pid
            return pid
        try:
            os.close(reading)
            process.lead_group()
            process.die_with(parent_pid)
            descendants.wear_tag(assignment.tag)
            # These objects own descriptors: closed by number alone they would close somebody else's later.
            self._selector.close()
            for ours in (self._control, self._woken, self._waker):
                ours.close()
            divided = division.enter(assignment, telling)
            process.become(assignment, listener, output_fd, frozenset(), divided)
        finally:
            os._exit(process.EXIT_BEFORE_ENTRY)

    def _spawn(
        self, setup: RuntimeSetup, assignment: Assignment, listener: socket.socket | None, output_fd: int
    ) -> int:
        told, telling = os.pipe()
        try:
            pid = self._execute(setup, assignment, listener, output_fd, telling)
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(telling)
        self._workloads[pid] = _told(told) or pid
        return pid

    def _launch(
        self, setup: RuntimeSetup, assignment: Assignment, listener: socket.socket | None, output_fd: int
    ) -> int:
        """Spawn it under bwrap."""
        told, telling = bubblewrap.telling_socket()
        with told:
            with telling:
                pid = self._execute(setup, assignment, listener, output_fd, telling.fileno())
            workload = bubblewrap.told_pid(told)
        if workload is not None:
            with contextlib.suppress(OSError):
                self._launched[pid] = bubblewrap.Launched(workload)
        self._workloads[pid] = workload or pid
        return pid

    def _execute(
        self,
        setup: RuntimeSetup,
        assignment: Assignment,
        listener: socket.socket | None,
        output_fd: int,
        telling: int,
    ) -> int:
        """Start a new Python, and tell it what to be."""
        reading, writing = os.pipe()
        listener_fd = None if listener is None else listener.fileno()
        inherited = [reading, telling] if listener_fd is None else [reading, telling, listener_fd]
        start = str(Path(__file__).with_name("start.py"))
        command = [sys.executable, "-I", start, "child", str(reading), _TITLE_ROOM]
        launch: bubblewrap.Launch | None = None
        try:
            if assignment.launcher:
                launch = bubblewrap.Launch(assignment, command, assignment.environment)
                command = launch.command
                inherited += launch.descriptors
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output_fd,
                stderr=output_fd,
                pass_fds=inherited,
                env={} if launch is not None else assignment.environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
            if launch is not None:
                launch.close()
        child.returncode = 0  # reaped here, like every child, and not by Popen
        self._lifelines[child.pid] = writing
        order = {
            "runtime": setup.as_json(),
            "assignment": assignment.as_json(),
            "listener_fd": listener_fd,
            "telling_fd": telling,
            "parent_pid": division.LAUNCHER if assignment.launcher else os.getpid(),
        }
        unsent = memoryview(json.dumps(order).encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):  # it died already, and is reaped like any other
            while unsent:
                unsent = unsent[os.write(writing, unsent) :]
        return child.pid

    def _reap(self) -> None:
        while (ended := _next_ended()) is not None:
            pid, status = ended
            assignment = self._alive.pop(pid, None)
            if assignment is not None:
                # On Linux it is a zombie still, so that its number and its group cannot be anybody else's.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            if status is None:
                status = os.waitpid(pid, 0)[1]
            if assignment is not None:
                self._ended(pid, assignment, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, assignment: Assignment, exit_code: int) -> None:
        descendants.kill_orphans(assignment.tag, frozenset(self._alive))
        if (launched := self._launched.pop(pid, None)) is not None:
            launched.bury()
        if assignment.launcher:
            exit_code = bubblewrap.exit_code(exit_code)
        self._workloads.pop(pid, None)
        self._told_to_kill.discard(pid)
        if (lifeline := self._lifelines.pop(pid, None)) is not None:
            os.close(lifeline)
        if assignment.address.startswith("unix:"):
            with contextlib.suppress(OSError):
                Path(assignment.address.removeprefix("unix:")).unlink()
        self._tell(event="exited", id=assignment.id, exit_code=exit_code)


def _told(reading: int) -> int | None:
    """The workload's process number, as soon as there is one; None when the process died before."""
    try:
        text = os.read(reading, 32)
    finally:
        os.close(reading)
    return int(text) if text else None


def _only_wake(_number: int, _frame: FrameType | None) -> None:
    """The interpreter has written to the wake-up socket already."""


def _next_ended() -> tuple[int, int | None] | None:
    """A child that has ended, and its wait status unless it is left to be reaped."""
    with contextlib.suppress(ChildProcessError):
        if sys.platform == "linux":
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return None if ended is None else (ended.si_pid, None)
        pid, status = os.waitpid(-1, os.WNOHANG)
        return (pid, status) if pid else None
    return None


def _thread_count() -> int:
    if sys.platform != "linux":
        return 1
    return sum(1 for _ in Path("/proc/self/task").iterdir())
