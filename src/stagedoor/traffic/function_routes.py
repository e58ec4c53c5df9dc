"""Which version of a function a qualifier means, in memory.

Place in the flow: ``services.lambda_`` resolves a function's name and qualifier through this table, so that a warm
invocation reads no database. The first call after a change loads the route from the store; a commit that touches a
function drops its routes before the writer gets its answer, so no later invocation sees what was there before.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from stagedoor.store.records import Key, Records


class VersionKey(NamedTuple):
    """One version of one function; ``version`` is a number or ``$LATEST``."""

    account_id: str
    region: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """What the data path must know of a version.

    ``revision`` changes with code or configuration: a worker serves one revision. ``reserved`` is the function's
    reserved concurrency, None without one.
    """

    key: VersionKey
    revision: str
    timeout_s: int
    memory_mb: int
    reserved: int | None = None


@dataclass(frozen=True, slots=True)
class FunctionRoute:
    """Where the calls for one qualifier go: ``choices`` are versions with weights that sum up to 1.

    ``arn`` names the function with the qualifier; ``policy`` is the resource policy of that qualifier (JSON text), None without one.
    """

    arn: str
    choices: tuple[tuple[FunctionVersion, float], ...]
    policy: str | None = field(default=None, repr=False)

    def pick(self) -> FunctionVersion:
        """One of the versions, by weight."""
        if len(self.choices) == 1:
            return self.choices[0][0]
        versions, weights = zip(*self.choices, strict=True)
        return random.choices(versions, weights)[0]


class RouteKey(NamedTuple):
    """How an invocation names its function; ``qualifier`` is a version, an alias or ``""``."""

    account_id: str
    region: str
    name: str
    qualifier: str


WATCHED_KINDS = ("lambda.function", "lambda.version", "lambda.alias")


class FunctionRoutes:
    """The table. ``route`` on the event loop; routes are dropped in whatever thread commits."""

    def __init__(self, records: Records) -> None:
        self._lock = threading.Lock()
        self._routes: dict[RouteKey, FunctionRoute] = {}
        self._changes = 0
        for kind in WATCHED_KINDS:
            records.subscribe(kind, self._changed)

    def _changed(self, keys: Iterable[Key]) -> None:
        # Names of versions and aliases begin with the function's: ``NAME:1``.
        functions = {(key.account_id, key.region, key.name.partition(":")[0]) for key in keys}
        with self._lock:
            self._changes += 1
            for route in [route for route in self._routes if route[:3] in functions]:
                del self._routes[route]

    async def route(self, key: RouteKey, load: Callable[[], FunctionRoute]) -> FunctionRoute:
        """The route for ``key``; ``load`` (run in a thread) reads it from the store when it is not in the table."""
        found = self._routes.get(key)
        if found is not None:
            return found
        changes = self._changes
        route = await asyncio.to_thread(load)
        with self._lock:
            # What was read while something changed may be from before the change.
            if changes == self._changes:
                self._routes[key] = route
        return route
