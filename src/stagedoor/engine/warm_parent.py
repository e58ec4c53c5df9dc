"""The server's side of one warm parent: its start, its messages, its restart after a crash.

Place in the flow: ``local`` has one for each runtime. The parent is a program of its own (``worker/start.py``), started by
exec from the server and never by fork, so the server's event loop and threads do not matter to it. The messages are in
``worker.assignment``.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import stagedoor.worker
from stagedoor.engine.interface import EngineError, RuntimeUnavailableError
from stagedoor.engine.runtimes import Runtime
from stagedoor.worker.assignment import Assignment, RuntimeSetup
from stagedoor.worker.threads import VARIABLES as THREAD_VARIABLES

log = logging.getLogger(__name__)

_START_PROGRAM = Path(stagedoor.worker.__file__).with_name("start.py")
# A parent overwrites its command line with a title: this is the room for it.
_TITLE_ROOM = " " * 96
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 30.0
_HEALTHY_AFTER_S: Final = 10.0
_END_WAIT_S: Final = 5.0


class _ImportError(EngineError):
    """The parent lives, but what it is to import cannot be imported."""


class ParentListener(Protocol):
    """What the engine does when a parent says something."""

    def exited(self, workload_id: str, exit_code: int) -> None: ...

    def parent_died(self, workload_ids: dict[str, int]) -> None: ...


def inherited_environment() -> dict[str, str]:
    """The variables that processes get from the server: where programs and libraries are, and the language."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


class WarmParent:
    """One runtime's parent, started when first wanted and again when it died."""

    def __init__(self, name: str, runtime: Runtime, listener: ParentListener) -> None:
        self._name = name
        self._runtime = runtime
        self._listener = listener
        self._lock = asyncio.Lock()
        self._session: _Session | None = None
        self._opening: _Session | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._failure = ""
        self._failure_kind = EngineError
        self._is_closing = False

    @property
    def pid(self) -> int | None:
        """The living parent's process."""
        return None if self._session is None else self._session.process.pid

    async def warm_up(self) -> None:
        """Start it if it is not running. EngineError when it cannot be, at once again while it rests after a crash."""
        async with self._lock:
            if self._session is not None:
                return
            if self._is_closing:
                raise EngineError("the engine is closing")
            if time.monotonic() < self._not_before:
                raise self._failure_kind(self._failure)
            session: _Session | None = None
            try:
                session = await _Session.begin(self._name, self._runtime, self._died, self._listener.exited)
                self._opening = session
                if self._is_closing:
                    raise EngineError("the engine is closing")
                await session.ready
            except (OSError, EngineError) as error:
                if session is not None:
                    await session.end()
                hint = f". {self._runtime.hint}" if self._runtime.hint else ""
                self._rest(
                    f"the runtime {self._name} cannot be started on {self._runtime.python}: {error}{hint}"
                )
                missing = isinstance(error, _ImportError | FileNotFoundError)
                self._failure_kind = RuntimeUnavailableError if missing else EngineError
                raise self._failure_kind(self._failure) from error
            except BaseException:
                if session is not None:
                    await session.end()
                raise
            finally:
                self._opening = None
            self._session = session

    async def start(self, assignment: Assignment, output_fd: int) -> int:
        """Have it make the workload's process; the pid. Closes ``output_fd`` in any case. EngineError when it cannot."""
        try:
            await self.warm_up()
            assert self._session is not None
            return await self._session.start(assignment, output_fd)
        finally:
            os.close(output_fd)

    async def signal(self, workload_id: str, number: signal.Signals) -> None:
        """Signal a workload's process group; nothing happens if it has ended."""
        if self._session is not None:
            with contextlib.suppress(OSError, EngineError):
                await self._session.tell({"op": "signal", "id": workload_id, "signal": int(number)})

    async def spawn(self) -> None:
        """Have each workload start a Python of its own from now on: what the parent has imported would only take memory."""
        self._runtime = replace(self._runtime, start="spawn")
        async with self._lock:
            if self._session is not None and self._session.is_idle:
                session, self._session = self._session, None
                await session.end()

    async def give_back(self, idle_s: float) -> None:
        """End it if it has had nothing to do for that long; the next workload starts it again."""
        async with self._lock:
            session = self._session
            if session is not None and session.idle_for_s() >= idle_s:
                self._session = None
                await session.end()
                log.info("an idle runtime was ended", extra={"runtime": self._name})

    def refuse_starts(self) -> None:
        """Start nothing any more, and do not wait for imports that are under way."""
        self._is_closing = True
        if self._opening is not None and not self._opening.ready.done():
            self._opening.ready.set_exception(EngineError("the engine is closing"))

    async def close(self) -> None:
        """End it and all its children."""
        self.refuse_starts()
        async with self._lock:
            if self._session is not None:
                session, self._session = self._session, None
                await session.end()

    def _rest(self, failure: str) -> None:
        self._failure, self._failure_kind = failure, EngineError
        self._not_before = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _died(self, session: "_Session", children: dict[str, int]) -> None:
        if self._session is session:
            self._session = None
            log.warning("a warm parent died", extra={"runtime": self._name, "workloads": len(children)})
            if time.monotonic() - session.began > _HEALTHY_AFTER_S:
                self._pause_s = _FIRST_PAUSE_S
                self._not_before = 0.0
            else:
                self._rest(f"the runtime {self._name} died a moment ago and is given a pause")
        self._listener.parent_died(children)


class _Session:
    """The life of one parent process."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        control: socket.socket,
        on_died: "Callable[[_Session, dict[str, int]], None]",
        on_exited: Callable[[str, int], None],
    ) -> None:
        self.process = process
        self.began = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._control = control
        self._on_died = on_died
        self._on_exited = on_exited
        self._unread = b""
        self._starting: dict[str, asyncio.Future[int]] = {}
        self._children: dict[str, int] = {}
        self._used_at = self.began
        self._sending = asyncio.Lock()
        self._is_over = False
        self._was_ready = False
        self._loop.add_reader(control.fileno(), self._read)

    @classmethod
    async def begin(
        cls,
        name: str,
        runtime: Runtime,
        on_died: "Callable[[_Session, dict[str, int]], None]",
        on_exited: Callable[[str, int], None],
    ) -> "_Session":
        ours, theirs = socket.socketpair()
        environment = {
            **inherited_environment(),
            "HOME": "/nonexistent",
            **dict.fromkeys(THREAD_VARIABLES, "1"),
            **runtime.environment,
        }
        command = [
            str(runtime.python),
            "-I",
            str(_START_PROGRAM),
            "parent",
            str(theirs.fileno()),
            _TITLE_ROOM,
        ]

        def execute() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd="/",
                start_new_session=True,
            )

        try:
            process = await asyncio.to_thread(execute)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        session = cls(process, ours, on_died, on_exited)
        setup = RuntimeSetup(
            name=name,
            modules=runtime.modules,
            hidden_modules=runtime.hidden_modules,
            path=tuple(str(folder) for folder in runtime.path),
            start=runtime.start,
        )
        try:
            await session.tell({"op": "open", "runtime": setup.as_json()})
        except OSError:
            await session.end()
            raise
        return session

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been started here that still runs."""
        return not self._children and not self._starting

    def idle_for_s(self) -> float:
        """How long nothing has run that it made."""
        if self._starting or self._children:
            return 0.0
        return time.monotonic() - self._used_at

    async def tell(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Send one message, with the descriptor on its first byte."""
        line = json.dumps(message).encode() + b"\n"
        async with self._sending:
            if self._is_over:
                raise EngineError("the warm parent died")
            if descriptor is not None:
                while True:
                    try:
                        sent = socket.send_fds(self._control, [line], [descriptor])
                        break
                    except BlockingIOError:
                        await asyncio.sleep(0.002)
                line = line[sent:]
            if line:
                await self._loop.sock_sendall(self._control, line)

    async def start(self, assignment: Assignment, output_fd: int) -> int:
        started: asyncio.Future[int] = self._loop.create_future()
        self._starting[assignment.id] = started
        try:
            await self.tell({"op": "start", "assignment": assignment.as_json()}, output_fd)
            return await started
        except OSError as error:
            raise EngineError(f"the warm parent died: {error}") from error
        finally:
            self._used_at = time.monotonic()
            self._starting.pop(assignment.id, None)

    async def end(self) -> None:
        """Hang up, which makes the parent kill its children and go; kill it if it does not."""
        self._is_over = True
        self._hang_up()
        if not self._was_ready:  # it has no children, and would hear only after its imports
            self.process.kill()

        def reap() -> None:
            try:
                self.process.wait(_END_WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

        await asyncio.to_thread(reap)
        self._fail_starts()
        if not self.ready.done():
            self.ready.cancel()
        children, self._children = self._children, {}
        self._on_died(self, children)

    def _hang_up(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    def _fail_starts(self) -> None:
        for started in self._starting.values():
            if not started.done():
                started.set_exception(EngineError("the warm parent died while it made the process"))

    def _read(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._heard(json.loads(line))

    def _heard(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "started":
            self._children[message["id"]] = message["pid"]
            started = self._starting.get(message["id"])
            if started is not None and not started.done():
                started.set_result(message["pid"])
        elif event == "refused":
            started = self._starting.get(message["id"])
            if started is not None and not started.done():
                started.set_exception(EngineError(message["reason"]))
        elif event == "exited":
            self._children.pop(message["id"], None)
            self._used_at = time.monotonic()
            self._on_exited(message["id"], message["exit_code"])
        elif event == "ready":
            if message["threads"] != 1:
                log.warning("a warm parent has %d threads, forks may hang", message["threads"])
            self._was_ready = True
            if not self.ready.done():
                self.ready.set_result(None)
        elif event == "failed":
            log.warning("a runtime cannot be imported: %s", message["traceback"])
            if not self.ready.done():
                self.ready.set_exception(_ImportError(message["reason"]))

    def _lost(self) -> None:
        """It died by itself. What it had forked dies with it; what those had started is killed here, by group."""
        if self._is_over:
            return
        self._is_over = True
        self._hang_up()
        for pid in self._children.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._fail_starts()
        if not self.ready.done():
            self.ready.set_exception(EngineError("the warm parent died during its imports"))
        self._reaping = asyncio.ensure_future(asyncio.to_thread(self._kill_and_reap))
        children, self._children = self._children, {}
        self._on_died(self, children)

    def _kill_and_reap(self) -> None:
        self.process.kill()
        self.process.wait()
