"""Tells a running job, wherever it is, that it shall end: its coroutine and the threads that work for it."""

import asyncio

from stagedoor.reconcile.jobs.plan import StopCause


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
