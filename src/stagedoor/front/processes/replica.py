"""A front process's table: identities, policies and routes as the control process tells them; and what it tells back.

Place in the flow: ``process`` furnishes a house with these, and the steps of an invocation run in it as they do in the control process. What
a front process does not have raises ElsewhereError: the request goes to the control process, which has it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, NoReturn

from stagedoor.authz.caller import Caller
from stagedoor.front.access_log import AccessLog
from stagedoor.http.message import ElsewhereError
from stagedoor.services import principals
from stagedoor.services.denials import Denials
from stagedoor.services.principals import Principals
from stagedoor.services.role_activity import RoleActivity, Seen
from stagedoor.store.metric_points import Metric, Point
from stagedoor.store.records import Document, Key, Listener, Record, Transaction
from stagedoor.traffic.endpoint_routes import Choice, EndpointKey, EndpointRoutes
from stagedoor.traffic.invocation_metrics import InvocationMetrics

Tell = Callable[..., None]
"""``tell(name, values, body)``: a message to the control process, from any thread."""

KINDS: Final = (*principals.KINDS, "iam.access_key_use")


class Elsewhere:
    """Stands for a part of the house that only the control process has."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ElsewhereError(name)


class RecordsReplica:
    """IAM's records, read-only; ``apply`` is told what changed. Other kinds are elsewhere."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}
        self._listeners: list[tuple[str, Listener]] = []

    def apply(self, changes: Iterable[tuple[Key, Document | None]]) -> None:
        """Take over changed records (None: deleted ones); who has subscribed knows when this returns."""
        touched: set[Key] = set()
        for key, document in changes:
            touched.add(key)
            if document is None:
                self._records.pop(key, None)
            else:
                self._records[key] = Record(key, document)
        for prefix, listener in self._listeners:
            concerned = frozenset(key for key in touched if key.kind.startswith(prefix))
            if concerned:
                listener(concerned)

    def get(self, key: Key) -> Record | None:
        _require(key.kind)
        return self._records.get(key)

    def list(
        self,
        kind: str,
        account_id: str | None = None,
        region: str | None = None,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[Record]:
        _require(kind)
        found = sorted(
            key
            for key in self._records
            if key.kind == kind
            and account_id in (None, key.account_id)
            and region in (None, key.region)
            and key.name.startswith(prefix)
            and key.name > after
        )
        return [self._records[key] for key in found[:limit]]

    def by_creation(
        self, kind: str, account_id: str, region: str, *, descending: bool, start: float | None = None
    ) -> Iterator[Record]:
        raise ElsewhereError(kind)

    def spelt(self, kind: str, account_id: str, name: str) -> str | None:
        raise ElsewhereError(kind)

    def transaction(self) -> AbstractContextManager[Transaction]:
        raise ElsewhereError("writing")

    def subscribe(self, kind_prefix: str, listener: Listener) -> None:
        self._listeners.append((kind_prefix, listener))

    def close(self) -> None:
        pass


def _require(kind: str) -> None:
    if kind not in KINDS:
        raise ElsewhereError(kind)


class RoutesReplica(EndpointRoutes):
    """Routes with this process's own channels. An endpoint without a worker is not waited for here."""

    async def choose(self, key: EndpointKey, target_variant: str | None, wait_s: float) -> Choice:
        choice = self.choose_now(key, target_variant)
        if choice is None:
            raise ElsewhereError(key.name)
        return choice


# What is found out here and kept by the control process.


class TellingPrincipals(Principals):
    """Principals whose uses of keys the control process stores."""

    tell: Tell

    def store_use(self, caller: Caller) -> None:
        use = self.last_use(caller.access_key_id)
        if use is not None:
            self.tell("use", [caller.access_key_id, *use])


class TellingAccessLog(AccessLog):
    """The lines of this process, on their way to the one file."""

    tell: Tell

    def append(self, lines: bytes) -> None:
        self.tell("lines", [], lines)


class TellingDenials(Denials):
    """Explanations of refusals, on their way to the log."""

    tell: Tell

    def append(self, entry: Mapping[str, Any]) -> None:
        self.tell("denial", [entry])


class TellingInvocationMetrics(InvocationMetrics):
    """Metrics of the invocations of this process, on their way to where they are kept."""

    tell: Tell

    def store(self, points: list[tuple[Metric, Point]]) -> None:
        self.tell("metrics", [list(metric) + list(point) for metric, point in points])


class TellingActivity(RoleActivity):
    """What roles do, told once each."""

    tell: Tell

    def _add(self, seen: Seen) -> None:
        super()._add(seen)
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            self.tell("activity", [list(one) for one in waiting])
