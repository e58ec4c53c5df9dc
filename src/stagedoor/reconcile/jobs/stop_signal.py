"""Tells a running job, wherever it is, that it shall end: its coroutine and the threads that work for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from stagedoor.reconcile.jobs.plan import StopCause

_T = TypeVar("_T")


class StoppedError(Exception):
    """The job was told to end while it was doing something that can simply be dropped."""


class StopSignal:
    """Set once, with the cause. ``check`` may be called from threads."""

    def __init__(self) -> None:
        self.cause: StopCause | None = None
        self._event = asyncio.Event()

    def set(self, cause: StopCause) -> None:
        """Ask for the end."""
        self.cause = cause
        self._event.set()

    def check(self) -> None:
        """StoppedError when the end was asked for."""
        if self.cause is not None:
            raise StoppedError(self.cause)

    async def wait(self) -> None:
        """Return when the end is asked for."""
        await self._event.wait()

    async def unless_set(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The work's result; StoppedError, with the work cancelled, when the end is asked for first."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise StoppedError(self.cause)
        finally:
            stopped.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
