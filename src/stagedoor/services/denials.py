"""The log of refusals: for each, why, and what would change it. ``DIR/logs/denials.jsonl``, for ``stagedoor why-denied``.

Place in the flow: both listeners note every refusal by policies with its request id. The caller hears only who, what and on
which resource; the explanation names policies and belongs to whoever runs the server.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, Final, cast

import orjson

from stagedoor.authz.explanation import Asked, Source, explain
from stagedoor.domain.clock import Clock, iso8601_ms
from stagedoor.services.denial_notices import DenialNotices
from stagedoor.services.principals import Principals

log = logging.getLogger(__name__)

FILE_NAME: Final = "denials.jsonl"
_FILE_MAX_BYTES: Final = 16 * 1024 * 1024
_EXPLAINED_AT_MOST: Final = 256


class Denials:
    """Appends explanations to the log, and shows them on the terminal if there is one (``notices``).

    A note takes about 50 µs, as long as what repeats is explained once and the file stays open: to open it each time took longer than
    all else. Handing notes to a thread took four times as long, and the loop waited for it all the same.
    """

    def __init__(
        self, directory: Path, principals: Principals, clock: Clock, notices: DenialNotices | None = None
    ) -> None:
        self._path = directory / FILE_NAME
        self._principals = principals
        self._clock = clock
        self._notices = notices
        self._explained: dict[int, tuple[Asked, dict[str, Any]]] = {}
        self._file: FileIO | None = None
        self._lock = Lock()  # front processes' explanations come in threads

    def note(self, request_id: str, service: str, operation: str, asked: Asked) -> None:
        """Explain one refusal and write it down."""
        entry: dict[str, Any] = {
            "time": iso8601_ms(self._clock.now()),
            "request_id": request_id,
            "service": service,
            "operation": operation,
            **self._explanation(asked),
        }
        self.append(entry)

    def _explanation(self, asked: Asked) -> dict[str, Any]:
        """Made once for a refusal that is repeated as it was (``permissions.refusal``)."""
        known = self._explained.get(id(asked))
        if known is not None and known[0] is asked:
            return known[1]
        found = explain(asked, self._sources(asked))
        if len(self._explained) >= _EXPLAINED_AT_MOST:
            self._explained.clear()
        self._explained[id(asked)] = asked, found
        return found

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an explanation down; front processes send theirs."""
        line = orjson.dumps(entry) + b"\n"
        try:
            with self._lock:
                self._opened().write(line)
        except OSError:
            # A full disk, for one: it is a refusal all the same.
            log.warning("a refusal was not explained in the log of refusals", exc_info=True)
        if self._notices is not None:
            self._notices.show(entry)

    def _opened(self) -> FileIO:
        """The log, to be written to: a new one when it is full, or when somebody has taken it away."""
        if self._file is not None:
            found = os.fstat(self._file.fileno())
            if found.st_nlink and found.st_size <= _FILE_MAX_BYTES:
                return self._file
            if found.st_nlink:
                self._path.replace(previous(self._path))
            self._file.close()
            self._file = None
        self._path.parent.mkdir(exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        return self._file

    def close(self) -> None:
        """Close the file; a later note opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _sources(self, asked: Asked) -> list[Source]:
        """The policies that took part, by name where they have one; as the caller had them when it was decided."""
        caller = asked.question.caller
        names = {policy.document: policy.name for policy in self._principals.named_policies(caller)}
        sources = [
            Source("identity-based", names.get(text, "an identity policy"), text) for text in caller.policies
        ]
        if caller.boundary is not None:
            sources.append(Source("permissions boundary", "the permissions boundary", caller.boundary))
        sources += [Source("session", "a policy of the session", text) for text in caller.session_policies]
        return [
            *sources,
            *(Source("resource-based", "the resource's policy", text) for text in asked.resource_policies),
        ]


def previous(path: Path) -> Path:
    """Where the log before this one is."""
    return path.with_suffix(".1.jsonl")


def find(directory: Path, request_id: str) -> Iterator[Mapping[str, Any]]:
    """The explanations noted for one request, the oldest first."""
    wanted = orjson.dumps(request_id)
    path = directory / FILE_NAME
    for each in (previous(path), path):
        if not each.exists():
            continue
        with each.open("rb") as file:
            for line in file:
                if wanted in line and line.endswith(b"\n"):
                    entry = cast("Mapping[str, Any]", orjson.loads(line))
                    if entry["request_id"] == request_id:
                        yield entry
