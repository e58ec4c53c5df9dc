"""What a person sees while it happens: one timed line per step, with a bar while a long one runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

T = TypeVar("T")


class Step:
    """One step under way: tells how far it is, and at its end what came out."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(escape(title), total=None, detail="")
        self.result = ""

    def expect(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def advance(self, by: int = 1) -> None:
        self._progress.advance(self._task, by)

    def reach(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def note(self, detail: str) -> None:
        """What is going on just now, beside the bar."""
        self._progress.update(self._task, detail=escape(detail))

    def tell(self, result: str) -> None:
        """What came out, in the line that stays."""
        self.result = result

    def each(self, things: list[T]) -> Iterator[T]:
        """The things one by one, the bar following."""
        self.expect(len(things))
        every = max(1, len(things) // 200)
        for number, thing in enumerate(things, start=1):
            yield thing
            if number % every == 0:
                self.reach(number)
        self.reach(len(things))


class Steps:
    """The whole job's steps, in order."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._clock = clock
        self._started_at = clock()

    @contextmanager
    def step(self, title: str) -> Generator[Step]:
        """Run a step; afterwards its line says how long it took and what came out, or that it failed."""
        started_at = self._clock()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
        )
        quiet = not self.console.is_terminal  # a bar in a file is noise
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            step = Step(progress, title)
            try:
                yield step
            except BaseException:
                self._line("[red]failed[/red]", self._clock() - started_at, title, "")
                raise
        self._line("[green]done[/green]", self._clock() - started_at, title, step.result)

    def total_s(self) -> float:
        return self._clock() - self._started_at

    def _line(self, mark: str, took_s: float, title: str, result: str) -> None:
        end = f"  [dim]{escape(result)}[/dim]" if result else ""
        self.console.print(f"{took_s:6.1f} s  {mark}  {escape(title)}{end}", highlight=False, soft_wrap=True)


def wait_until(look: Callable[[], T], over: Callable[[T], bool], longest_pause_s: float = 10.0) -> T:
    """Look again and again, at first quickly, then less often, until it is over; the last look is returned."""
    pause_s = 0.1
    while not over(seen := look()):
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, longest_pause_s)
    return seen
