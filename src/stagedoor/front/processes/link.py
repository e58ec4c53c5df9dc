"""The control process's connection to one front process: sends from any thread, reads in a thread of its own.

Neither waits for the event loop: a commit in an operation's thread must hear of its ``seen`` whatever else the loop does.
"""

import concurrent.futures
import contextlib
import logging
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from stagedoor.front.processes.messages import BrokenPipe, Message, Receiver, encode, send_some
from stagedoor.front.processes.pipe import close_all

log = logging.getLogger(__name__)

SEND_TIMEOUT_S: Final = 5.0
"""A process that takes nothing for so long hangs: it is killed."""
_READ_TIMEOUT_S: Final = 3600.0


class Link:
    """One process and the socket to it.

    ``must_follow``: it accepts connections, so a commit waits for it. ``opened`` is done when it accepts, ``gone`` when it has ended.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", connected: socket.socket) -> None:
        self._process = process
        # Two objects for one socket: each has a time-out of its own.
        self._sender = connected
        self._reader = connected.dup()
        self._sender.settimeout(SEND_TIMEOUT_S)
        self._reader.settimeout(_READ_TIMEOUT_S)
        self._sending = threading.Lock()
        self._seen = 0
        self._has_seen = threading.Condition()
        self._is_over = False
        self.pid = process.pid
        self.exit_code: int | None = None
        self.is_introduced = False
        self.must_follow = False
        self.opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.gone: concurrent.futures.Future[None] = concurrent.futures.Future()

    def start(self, on_message: Callable[[Message], None], on_gone: Callable[[], None]) -> None:
        """Begin to read; both are called in the reading thread."""
        threading.Thread(
            target=self._read, args=(on_message, on_gone), name=f"front {self.pid}", daemon=True
        ).start()

    def send(
        self, name: str, values: Sequence[Any], body: bytes = b"", descriptors: Sequence[int] = ()
    ) -> bool:
        """Send a message; False when the process is gone, or was killed since it takes nothing."""
        data = memoryview(encode(name, values, body, len(descriptors)))
        with self._sending:
            try:
                while data:
                    sent = send_some(self._sender, data, descriptors)
                    data, descriptors = data[sent:], ()
                return True
            except OSError:
                if not self._is_over:
                    self.kill()
                return False

    def wait_seen(self, commit: int, timeout_s: float) -> bool:
        """Whether the process has taken over a commit (or is gone) within the time."""
        with self._has_seen:
            return self._has_seen.wait_for(lambda: self._is_over or self._seen >= commit, timeout_s)

    def kill(self) -> None:
        """End the process now; when this returns it answers nothing any more."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _read(self, on_message: Callable[[Message], None], on_gone: Callable[[], None]) -> None:
        receiver = Receiver(self._reader)
        try:
            while True:
                try:
                    messages = receiver.receive()
                except TimeoutError:
                    continue
                for message in messages:
                    self._take(message, on_message)
        except BrokenPipe:
            pass
        except Exception:
            log.exception("front process said what is not understood", extra={"pid": self.pid})
            self.kill()
        finally:
            receiver.close()
            self._end(on_gone)

    def _take(self, message: Message, on_message: Callable[[Message], None]) -> None:
        match message.name:
            case "seen":
                with self._has_seen:
                    self._seen = message.values[0]
                    self._has_seen.notify_all()
            case "open":
                self.opened.set_result(None)
            case _:
                try:
                    on_message(message)
                except BaseException:
                    close_all(message.descriptors)
                    raise

    def _end(self, on_gone: Callable[[], None]) -> None:
        try:
            self.exit_code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.kill()
            self.exit_code = self._process.returncode
        with self._has_seen:
            self._is_over = True
            self._has_seen.notify_all()
        self._reader.close()
        with self._sending:
            self._sender.close()
        if not self.opened.done():
            self.opened.set_exception(RuntimeError("the front process ended"))
        on_gone()
        self.gone.set_result(None)
