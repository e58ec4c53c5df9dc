"""The reconciler of tuning jobs, where its looks and its actions meet."""

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

from stagedoor.domain.clock import SystemClock
from stagedoor.reconcile.loop import Underway
from stagedoor.reconcile.tuning import act
from stagedoor.reconcile.tuning.plan import Plan
from stagedoor.store.records import Key, SqliteRecords

KEY = Key("sagemaker.tuning_job", "000000000000", "us-east-1", "t")


class Reconciler(act.TuningReconciler):
    """Sees a trial missing, and counts what it would begin for it. ``look`` is what happens during the look."""

    def __init__(self, records: SqliteRecords, look: Any) -> None:
        super().__init__(records, cast(Any, None), SystemClock())
        self._during = look
        self.acted = 0

    def _look(self) -> list[act._Seen]:
        self._during()
        return [act._Seen(KEY, Plan(start=1), series=False)]

    async def _act(self, key: Key, found: Plan) -> None:
        self.acted += 1


def test_what_ended_during_the_look_is_not_done_again(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "state.sqlite")

    async def story() -> None:
        loop, finish, finished = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        async def action() -> None:
            await finish.wait()
            loop.call_soon(loop.call_soon, finished.set)  # after the loop forgot the action

        def look() -> None:
            loop.call_soon_threadsafe(finish.set)
            assert finished.wait(10)

        underway = Underway(asyncio.Event())
        reconciler = Reconciler(records, look)
        underway.start(KEY, action())
        await reconciler.reconcile(underway)
        assert KEY not in underway
        assert reconciler.acted == 0
        # The next look sees the whole.
        reconciler._during = lambda: None
        await reconciler.reconcile(underway)
        await asyncio.sleep(0)
        assert reconciler.acted == 1

    asyncio.run(story())
    records.close()
