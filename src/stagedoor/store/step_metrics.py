"""What experiments measure step by step: the values that runs put for their trial components.

Place in the flow: BatchPutMetrics ``put``s (from a thread), Describe and Search of trial components read ``summaries``, BatchGetMetrics
the ``values``. A table beside CloudWatch's, in the same SQLite file: these values have a step, and are no CloudWatch metrics.
"""

import contextlib
import math
import sqlite3
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import NamedTuple


class Component(NamedTuple):
    """A trial component, its name in lower case."""

    account_id: str
    region: str
    name: str


class StepValue(NamedTuple):
    """One value of a metric. ``step`` is None where the client counted none."""

    metric: str
    step: int | None
    time_s: float
    number: float


class Summary(NamedTuple):
    """How one metric of a component developed."""

    metric: str
    time_s: float
    last: float
    lowest: float
    highest: float
    values: int
    average: float
    deviation: float


_SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    component TEXT NOT NULL,
    metric TEXT NOT NULL,
    step INTEGER,
    time_s REAL NOT NULL,
    number REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS steps_of_component ON steps (account_id, region, component, metric, step, time_s);
"""
_OF_COMPONENT = "account_id=? AND region=? AND component=?"


class StepMetrics:
    """All step values of the server. Thread-safe; blocking. One connection behind a lock: runs put little, and rarely."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def put(self, component: Component, values: Iterable[StepValue]) -> None:
        """Add values in one commit."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO steps VALUES (?,?,?,?,?,?,?)", ((*component, *value) for value in values)
            )

    def values(self, component: Component, metric: str) -> list[StepValue]:
        """The values of one metric, by step and time."""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT metric, step, time_s, number FROM steps WHERE {_OF_COMPONENT} AND metric=?"  # noqa: S608 - constants only
                " ORDER BY step, time_s, rowid",
                (*component, metric),
            ).fetchall()
        return [StepValue(*row) for row in rows]

    def summaries(self, component: Component) -> list[Summary]:
        """All metrics of a component, by name. The last value is that of the last step."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT metric, min(number), max(number), count(*), avg(number), avg(number*number) FROM steps"  # noqa: S608 - constants only
                f" WHERE {_OF_COMPONENT} GROUP BY metric ORDER BY metric",
                component,
            ).fetchall()
            last = {
                row[0]: self._connection.execute(
                    f"SELECT time_s, number FROM steps WHERE {_OF_COMPONENT} AND metric=?"  # noqa: S608 - constants only
                    " ORDER BY step DESC, time_s DESC, rowid DESC LIMIT 1",
                    (*component, row[0]),
                ).fetchone()
                for row in rows
            }
        return [
            Summary(
                metric,
                last[metric][0],
                last[metric][1],
                lowest,
                highest,
                count,
                average,
                math.sqrt(max(squares - average * average, 0.0)),
            )
            for metric, lowest, highest, count, average, squares in rows
        ]

    def forget(self, component: Component) -> None:
        """The component is gone, and so are its values."""
        with self._transaction() as connection:
            connection.execute(f"DELETE FROM steps WHERE {_OF_COMPONENT}", component)  # noqa: S608 - constants only

    def close(self) -> None:
        """Close the connection; the store is not used afterwards."""
        with self._lock:
            self._connection.close()
