"""The loop every reconciler runs in: woken by a commit or by a clock, never told what changed.

Place in the flow: a commit of a record kind wakes the loops that watch it; each then looks at the store and at the world,
plans (pure functions in ``<resource>/plan.py``) and acts (``<resource>/act.py``). Long actions go on as tasks, one per
resource at a time, and wake the loop when they end.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Hashable
from typing import Any, Protocol

from stagedoor.store.records import Key, Records

log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """One kind of thing to make true."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    @property
    def watches(self) -> tuple[str, ...]:
        """Prefixes of record kinds whose commits wake it."""
        ...

    @property
    def tick_s(self) -> float:
        """It also runs when this long nothing woke it."""
        ...

    async def reconcile(self, underway: "Underway") -> None:
        """Look, plan, act. Idempotent; short: whatever takes long is handed to ``underway``."""
        ...

    async def close(self) -> None:
        """Release what it holds; called once, at shutdown, after its tasks were cancelled."""
        ...


class Underway:
    """The actions that run now, at most one per resource."""

    def __init__(self, wake: "asyncio.Event") -> None:
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._wake = wake

    def __contains__(self, resource: Hashable) -> bool:
        return resource in self._tasks

    @property
    def resources(self) -> frozenset[Hashable]:
        """What has an action now. Who looks at the world meanwhile sees it half done for these, even if they end before the look does."""
        return frozenset(self._tasks)

    def start(self, resource: Hashable, action: Coroutine[Any, Any, None]) -> None:
        """Run ``action`` for ``resource``; refused (ValueError) while another one runs for it."""
        if resource in self._tasks:
            action.close()
            raise ValueError(f"an action for {resource} is under way")
        task = asyncio.ensure_future(action)
        self._tasks[resource] = task
        task.add_done_callback(lambda done: self._ended(resource, done))

    def cancel(self, resource: Hashable) -> None:
        """Ask the action of ``resource`` to stop, if there is one."""
        task = self._tasks.get(resource)
        if task is not None:
            task.cancel()

    async def drain(self) -> None:
        """Cancel all and wait until they are gone."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, resource: Hashable, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(resource, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("action failed", extra={"resource": str(resource)}, exc_info=error)
        self._wake.set()


class Loop:
    """Runs one reconciler for the life of the server."""

    FIRST_PAUSE_S = 0.2
    LONGEST_PAUSE_S = 30.0

    def __init__(self, reconciler: Reconciler, records: Records) -> None:
        self._reconciler = reconciler
        self._records = records
        self._wake = asyncio.Event()
        self._underway = Underway(self._wake)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first pass comes at once and heals what a crash left behind."""
        loop = asyncio.get_running_loop()

        def woken(_keys: frozenset[Key]) -> None:
            # Commits happen in operation threads; at shutdown the loop may be gone already.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake.set)

        for kind_prefix in self._reconciler.watches:
            self._records.subscribe(kind_prefix, woken)
        self._task = asyncio.create_task(self._run(), name=f"reconcile {self._reconciler.name}")

    def wake(self) -> None:
        """Run a pass soon (from the event loop's thread): demand, an exit, a lost connection."""
        self._wake.set()

    async def close(self) -> None:
        """End the loop, then its actions, then the reconciler."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._underway.drain()
        await self._reconciler.close()

    async def _run(self) -> None:
        pause_s = self.FIRST_PAUSE_S
        while True:
            self._wake.clear()
            try:
                await self._reconciler.reconcile(self._underway)
                pause_s = self.FIRST_PAUSE_S
            except Exception:
                # A pass that fails must not end the loop: the world would stop following the store.
                log.exception("reconcile pass failed", extra={"reconciler": self._reconciler.name})
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self.LONGEST_PAUSE_S)
                continue
            # Not wait_for: before Python 3.12 it may swallow a cancellation that comes together with the wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._reconciler.tick_s):
                    await self._wake.wait()
