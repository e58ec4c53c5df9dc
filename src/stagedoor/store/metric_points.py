"""CloudWatch metrics: what was put, by metric, in a SQLite file of its own, so that chatty metrics never delay a control write.

Place in the flow: jobs and PutMetricData ``put`` points (from a thread); ``services.cloudwatch`` reads them back and makes
statistics of them. WAL with ``synchronous=NORMAL``: a power cut may lose the last moments, a killed server loses nothing.

A metric is an account, a region, a namespace, a name and a set of dimensions. A point is one value with how often it
occurred, or a set of statistics that somebody made elsewhere; both have a count, a sum and two limits.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from stagedoor.domain.clock import Clock, SystemClock
from stagedoor.store.sqlite_file import SqliteFile

KEPT_S = 455 * 86_400
"""Points are removed when they are this old: as long as CloudWatch keeps its hourly ones."""

LISTED_S = 14 * 86_400
"""A metric that got no point for this long is not listed any more."""

STANDARD_RESOLUTION_S = 60
_SWEEP_S = 3_600.0

Dimension = tuple[str, str]


class Metric(NamedTuple):
    """What points belong to. ``dimensions`` are sorted by name."""

    account_id: str
    region: str
    namespace: str
    name: str
    dimensions: tuple[Dimension, ...] = ()


class Point(NamedTuple):
    """A value (``minimum == maximum``) that occurred ``samples`` times, or a set of statistics."""

    time_s: float
    samples: float
    total: float
    minimum: float
    maximum: float
    unit: str = "None"
    resolution_s: int = STANDARD_RESOLUTION_S


def single(time_s: float, number: float) -> Point:
    """The point for one number, without a unit."""
    return Point(time_s, 1.0, number, number, number)


@dataclass(frozen=True, slots=True)
class ListedMetric:
    """A metric and when it last got a point; ``id`` orders the list."""

    id: int
    metric: Metric
    last_put_s: float


_SCHEMA = """
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    last_put_s REAL NOT NULL,
    UNIQUE (account_id, region, namespace, name, dimensions)
);
CREATE TABLE IF NOT EXISTS points (
    metric_id INTEGER NOT NULL REFERENCES metrics (id) ON DELETE CASCADE,
    time_s REAL NOT NULL,
    unit TEXT NOT NULL,
    resolution_s INTEGER NOT NULL,
    count REAL NOT NULL,
    total REAL NOT NULL,
    minimum REAL NOT NULL,
    maximum REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS points_of_metric ON points (metric_id, time_s);
"""


_HAS_DIMENSION = (
    "EXISTS (SELECT 1 FROM json_each(dimensions) AS pair WHERE json_extract(pair.value,'$[0]')=?)"
)
_HAS_DIMENSION_VALUE = (
    "EXISTS (SELECT 1 FROM json_each(dimensions) AS pair"
    " WHERE json_extract(pair.value,'$[0]')=? AND json_extract(pair.value,'$[1]')=?)"
)


def _dimensions(dimensions: Iterable[Dimension]) -> str:
    return orjson.dumps(sorted(dimensions)).decode()


class MetricPoints:
    """All metrics of the server. Thread-safe; blocking."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._swept_s = 0.0
        self._file = SqliteFile(path, _SCHEMA, synchronous="NORMAL", foreign_keys=True)

    def put(self, points: Iterable[tuple[Metric, Point]]) -> None:
        """Store points of any metrics in one commit. A metric exists from its first point on."""
        now_s = self._clock.now()
        if now_s - self._swept_s >= _SWEEP_S:
            self.sweep()
        with self._file.writing() as connection:
            ids: dict[Metric, int] = {}
            rows: list[tuple[object, ...]] = []
            for metric, point in points:
                if metric not in ids:
                    ids[metric] = self._metric_id(connection, metric, now_s)
                rows.append(
                    (
                        ids[metric],
                        point.time_s,
                        point.unit,
                        point.resolution_s,
                        point.samples,
                        point.total,
                        point.minimum,
                        point.maximum,
                    )
                )
            connection.executemany("INSERT INTO points VALUES (?,?,?,?,?,?,?,?)", rows)

    def _metric_id(self, connection: sqlite3.Connection, metric: Metric, now_s: float) -> int:
        row = connection.execute(
            "INSERT INTO metrics (account_id, region, namespace, name, dimensions, last_put_s) VALUES (?,?,?,?,?,?)"
            " ON CONFLICT DO UPDATE SET last_put_s=excluded.last_put_s RETURNING id",
            (*metric[:4], _dimensions(metric.dimensions), now_s),
        ).fetchone()
        return int(row[0])

    def read(self, metric: Metric, start_s: float, end_s: float, unit: str | None = None) -> list[Point]:
        """Points from ``start_s`` up to but not including ``end_s``, oldest first; of one unit, or of all."""
        conditions = "" if unit is None else " AND unit=?"
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT time_s, count, total, minimum, maximum, unit, resolution_s FROM points WHERE metric_id="  # noqa: S608 - constants only
                "(SELECT id FROM metrics WHERE account_id=? AND region=? AND namespace=? AND name=? AND dimensions=?)"
                f" AND time_s>=? AND time_s<?{conditions} ORDER BY time_s, rowid",
                (
                    *metric[:4],
                    _dimensions(metric.dimensions),
                    start_s,
                    end_s,
                    *(() if unit is None else (unit,)),
                ),
            )
            return [Point(*row) for row in rows]

    def metrics(
        self,
        account_id: str,
        region: str,
        *,
        namespace: str | None = None,
        name: str | None = None,
        dimensions: Sequence[tuple[str, str | None]] = (),
        active_s: float = LISTED_S,
        after: int = 0,
        limit: int = 500,
    ) -> list[ListedMetric]:
        """Metrics in order of their first point, behind ``after``, that got a point within ``active_s``.

        ``dimensions`` are names that a metric must have, with a value or with any (None).
        """
        conditions = ["account_id=?", "region=?", "id>?", "last_put_s>=?"]
        values: list[object] = [account_id, region, after, self._clock.now() - active_s]
        for column, wanted in (("namespace", namespace), ("name", name)):
            if wanted is not None:
                conditions.append(f"{column}=?")
                values.append(wanted)
        for dimension, wanted in dimensions:
            conditions.append(_HAS_DIMENSION if wanted is None else _HAS_DIMENSION_VALUE)
            values += [dimension] if wanted is None else [dimension, wanted]
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT id, account_id, region, namespace, name, dimensions, last_put_s FROM metrics"  # noqa: S608 - constants only
                f" WHERE {' AND '.join(conditions)} ORDER BY id LIMIT ?",
                (*values, limit),
            )
            return [
                ListedMetric(
                    row[0],
                    Metric(row[1], row[2], row[3], row[4], tuple((n, v) for n, v in orjson.loads(row[5]))),
                    row[6],
                )
                for row in rows
            ]

    def sweep(self) -> None:
        """Remove points that are past their time, and metrics without any."""
        self._swept_s = now_s = self._clock.now()
        oldest_s = now_s - KEPT_S
        with self._file.writing() as connection:
            connection.execute("DELETE FROM points WHERE time_s<?", (oldest_s,))
            connection.execute(
                "DELETE FROM metrics WHERE last_put_s<? AND NOT EXISTS (SELECT 1 FROM points WHERE metric_id=id)",
                (oldest_s,),
            )

    def close(self) -> None:
        """Close all connections; the store is not used afterwards."""
        self._file.close()
