"""A job's steps, each committed to its record, so that Describe operations follow it.

Place in the flow: every kind of job changes its records through this, and through nothing else.
"""

import asyncio
from collections.abc import Callable

from stagedoor.domain.clock import Clock
from stagedoor.store.records import Document, Key, Records

Change = Callable[[Document, float], Document]
"""From a record's document and the time to its next document."""


class Steps:
    """Commits changes of jobs that run: their records are there, since jobs are deleted only after their end."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def commit(self, key: Key, change: Change) -> Document:
        """The record's document after the change."""
        return await asyncio.to_thread(self._commit, key, change)

    def _commit(self, key: Key, change: Change) -> Document:
        with self._records.transaction() as transaction:
            record = transaction.get(key)
            assert record is not None, "jobs are deleted only after their end"
            return transaction.put(key, change(record.document, self._clock.now())).document
