"""A line for each refusal on the terminal that the server was started from, and never a flood of them.

Place in the flow: ``denials`` shows here what it has written down. A caller that is refused in a loop does not fill the screen: the same
refusal is shown once a minute, and some lines every few seconds are all there is; what was left out is counted. A thread
of its own writes, so that a terminal that was stopped (Ctrl-S) stops nothing else.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from stagedoor.domain.clock import Clock
from stagedoor.domain.terminal import printable

LINES_AT_MOST: Final = 5
WINDOW_S: Final = 10.0
SAME_AGAIN_S: Final = 60.0
_REMEMBERED: Final = 256
_SHOWN_LENGTH: Final = 200
_WAITING_AT_MOST: Final = 1024
_LAST_LINES_S: Final = 1.0


class Selection:
    """Which lines are shown. ``command`` explains a refusal when a request id is put behind it."""

    def __init__(self, command: str, clock: Clock) -> None:
        self._command = command
        self._clock = clock
        self._window_began_s = -WINDOW_S
        self._lines = 0
        self._left_out = 0
        self._shown_s: dict[tuple[str, str, str], float] = {}

    def lines(self, entry: Mapping[str, Any]) -> Iterator[str]:
        """What to show now that the refusal ``entry`` (as ``denials`` notes it) has happened."""
        now_s = self._clock.monotonic()
        yield from self.due()
        if now_s - self._window_began_s >= WINDOW_S:
            self._window_began_s, self._lines = now_s, 0
        same = (_short(entry["principal"]), _short(entry["action"]), _short(entry["resource"]))
        if self._lines >= LINES_AT_MOST or now_s - self._shown_s.get(same, -SAME_AGAIN_S) < SAME_AGAIN_S:
            self._left_out += 1
            return
        if len(self._shown_s) >= _REMEMBERED:
            self._shown_s.clear()
        self._shown_s[same] = now_s
        self._lines += 1
        who, action, resource = same
        yield f"denied: {who} may not {action} on {resource}. Why: {self._command} {entry['request_id']}"

    def due(self, *, at_the_end: bool = False) -> Iterator[str]:
        """How many were left out, once the time is over in which they were."""
        is_over = self._clock.monotonic() - self._window_began_s >= WINDOW_S
        if self._left_out and (is_over or at_the_end):
            yield f"denied: {self._left_out} more, repetitions among them. All are in logs/denials.jsonl."
            self._left_out = 0


class DenialNotices:
    """Shows a selection of refusals with ``write``."""

    def __init__(self, write: Callable[[str], object], selection: Selection) -> None:
        self._write = write
        self._selection = selection
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_WAITING_AT_MOST)
        self._thread = threading.Thread(target=self._run, name="denials", daemon=True)
        self._thread.start()

    def show(self, entry: Mapping[str, Any]) -> None:
        """Show the refusal, or count it. Never waits; any thread may call."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(entry)

    def close(self) -> None:
        """Show what is left, unless the terminal does not take it."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(_LAST_LINES_S)

    def _run(self) -> None:
        while True:
            try:
                entry = self._waiting.get(timeout=WINDOW_S)
            except queue.Empty:
                self._show(self._selection.due())
                continue
            if entry is None:
                self._show(self._selection.due(at_the_end=True))
                return
            self._show(self._selection.lines(entry))

    def _show(self, lines: Iterator[str]) -> None:
        for line in lines:
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._write(line)


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _SHOWN_LENGTH else f"{shown[:_SHOWN_LENGTH]}…"
