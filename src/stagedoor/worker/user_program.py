"""Runs a program of the user as a child of the job's process: its output passed on, its signals, why it failed.

Place in the flow: ``script_training`` and ``container_entry`` run the script or the container's entry point with it. Both outputs
go through one pipe, so that the log has the lines in the order in which they were written.
"""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_KEPT_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_LAST_OUTPUT_S = 2.0
_TRACEBACK = "Traceback (most recent call last):"
_KEPT_LINES = 15
CALLED_PROCESS_ERROR = "subprocess.CalledProcessError: "
_DRIVER_FAILED = "\nCommand failed with exit code "  # SDK v3's driver


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code (negative for a signal) and the end of its output."""

    exit_code: int
    last_output: str

    @property
    def error(self) -> str:
        """The last traceback it printed, or its last lines."""
        _, found, text = self.last_output.rpartition(_TRACEBACK)
        if found:
            return (found + text).strip()
        return "\n".join(self.last_output.strip().splitlines()[-_KEPT_LINES:])

    @property
    def cause(self) -> str:
        """The last traceback that tells more than that a program ended, as a driver around the script prints; empty without one."""
        for piece in reversed(self.last_output.split(_TRACEBACK)[1:]):
            if CALLED_PROCESS_ERROR not in piece:
                return (_TRACEBACK + piece.partition(_DRIVER_FAILED)[0]).strip()
        return ""

    @property
    def shell_code(self) -> int:
        """The exit code as a shell has it."""
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code


class StartFailed(Exception):
    """The program cannot be started; the text says why."""


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    is_stopping: Callable[[], bool],
    stop_grace_s: float,
) -> Ended:
    """Run it to its end. SIGTERM is passed on; ``stop_grace_s`` later it is killed, so that there is time to save."""
    try:
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise StartFailed(f"{command[0]} cannot be run: {error.strerror or error}") from error
    assert child.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_pass_on, args=(child.stdout.fileno(), kept), daemon=True)
    reader.start()
    killer = threading.Timer(stop_grace_s, _kill, (child,))
    killer.daemon = True

    def terminate() -> None:
        child.send_signal(signal.SIGTERM)
        if not killer.is_alive() and not killer.finished.is_set():
            killer.start()

    earlier = signal.getsignal(signal.SIGTERM)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if callable(earlier):
            earlier(number, frame)
        terminate()

    signal.signal(signal.SIGTERM, on_signal)
    try:
        if is_stopping():  # asked for before there was somebody to pass it on to
            terminate()
        exit_code = child.wait()
    finally:
        signal.signal(signal.SIGTERM, earlier)
        killer.cancel()
    # What it left running may hold the pipe open for ever.
    reader.join(_LAST_OUTPUT_S)
    return Ended(exit_code, _text(bytes(kept)))


def _kill(child: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()


def _pass_on(descriptor: int, kept: bytearray) -> None:
    while data := os.read(descriptor, _READ_BYTES):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        kept += data
        del kept[:-_KEPT_BYTES]


def _text(data: bytes) -> str:
    """Without the colours and carriage returns of progress bars."""
    text = data.decode("utf-8", "replace").replace("\r", "\n")
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
