"""Commands as a person types them, in processes of their own."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

COMMAND = [sys.executable, "-m", "stagedoor"]
FREE_PORTS = ("--api", "127.0.0.1:0", "--public", "127.0.0.1:0")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without those that would set something."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STAGEDOOR_"))}
    return kept | (dict(more) if more else {})


def stagedoor(
    *arguments: str, variables: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(variables),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


class Up:
    """`stagedoor up` in the foreground of a terminal of its own; ``printed`` grows as it prints."""

    def __init__(
        self, data: Path, *flags: str, variables: Mapping[str, str] | None = None, on_terminal: bool = False
    ) -> None:
        self.data = data
        self.printed = ""
        self._screen, its_end = os.openpty() if on_terminal else os.pipe()
        self.process = subprocess.Popen(
            [*COMMAND, "up", "--data", str(data), *FREE_PORTS, *flags],
            env=environment(variables) | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
        )
        os.close(its_end)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with (
            os.fdopen(self._screen, "rb", buffering=0) as screen,
            contextlib.suppress(OSError),
        ):  # a terminal's way to end
            while text := screen.read(65536):
                self.printed += text.decode(errors="replace").replace("\r\n", "\n")

    def ready(self) -> "Up":
        deadline_s = time.monotonic() + 60
        while "stagedoor env" not in self.printed:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline_s, self.printed
            time.sleep(0.02)
        return self

    def end(self, *signals: signal.Signals) -> int:
        """Send these, one after the other; gives the exit code."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join()
        return code
