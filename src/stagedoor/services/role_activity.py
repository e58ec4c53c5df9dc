"""What each role was seen doing: allowed actions and their resources, for ``stagedoor least-privilege``.

Place in the flow: ``front.authorise`` notes what it allowed a role's session. That costs a look-up in a set; what is new goes to
``DIR/logs/role-activity.jsonl`` in batches, and is read back when the server starts. Denied calls are not noted.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import orjson

FILE_NAME: Final = "role-activity.jsonl"
# Beyond this many objects of one bucket, or names of one kind, a role is noted as using all of them.
_RESOURCES_AT_MOST: Final = 200


class Seen(NamedTuple):
    """One thing a role did. ``resource`` is a pattern, ``passed_to`` the service that a role was handed to (iam:PassRole)."""

    role_arn: str
    action: str
    resource: str
    passed_to: str = ""


class RoleActivity:
    """Notes from any thread; ``flush`` from any one at a time."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._seen = set(read(directory))
        self._counts: dict[tuple[str, str, str], int] = {}
        self._waiting: list[Seen] = []
        self._lock = threading.Lock()
        for one in self._seen:
            place = (one.role_arn, one.action, family(one.resource))
            self._counts[place] = self._counts.get(place, 0) + 1

    def note(self, role_arn: str, action: str, resource: str, passed_to: str = "") -> None:
        """Remember that a role did this."""
        seen = Seen(role_arn, action, _literal(resource), passed_to)
        if seen not in self._seen:
            self._add(seen)

    def _add(self, seen: Seen) -> None:
        with self._lock:
            whole = seen._replace(resource=family(seen.resource))
            if seen in self._seen or whole in self._seen:
                return
            place = whole[:3]
            self._counts[place] = self._counts.get(place, 0) + 1
            if self._counts[place] > _RESOURCES_AT_MOST:
                seen = whole
            self._seen.add(seen)
            self._waiting.append(seen)

    def flush(self) -> None:
        """Append what is new to the file. Blocks shortly."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"".join(orjson.dumps(one._asdict()) + b"\n" for one in waiting))


def _literal(resource: str) -> str:
    """The resource as a pattern that means nothing else: an object may be called ``*``."""
    if resource == "*" or not any(character in resource for character in "*?$"):
        return resource
    return "".join(f"${{{character}}}" if character in "*?$" else character for character in resource)


def family(resource: str) -> str:
    """All resources of a kind: every object of a bucket, everything that differs only behind the last slash or colon."""
    if resource.startswith("arn:aws:s3:::"):
        bucket, slash, _ = resource.partition("/")
        return f"{bucket}/*" if slash else resource
    head = resource.rstrip("/")
    cut = max(head.rfind("/"), head.rfind(":"))
    return f"{head[: cut + 1]}*" if cut > 0 and resource.count(":") >= 5 else resource


def read(directory: Path) -> Iterator[Seen]:
    """Everything that was noted. A line that a crash cut short is left out."""
    path = directory / FILE_NAME
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"}\n"):
                yield Seen(**cast("Mapping[str, Any]", orjson.loads(line)))


def least_policy(seen: Sequence[Seen]) -> dict[str, Any]:
    """The identity policy that allows exactly what was seen: one statement per set of resources."""
    resources: dict[tuple[str, str], set[str]] = {}
    for one in seen:
        resources.setdefault((one.action, one.passed_to), set()).add(one.resource)
    grouped: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (action, passed_to), names in resources.items():
        # What a star stands for already needs no name of its own.
        whole = {name for name in names if name.endswith("*")}
        kept = {name for name in names if name in whole or family(name) not in whole}
        grouped.setdefault((tuple(sorted(kept)), passed_to), []).append(action)
    statements: list[dict[str, Any]] = []
    for (names, passed_to), actions in sorted(
        grouped.items(), key=lambda entry: (sorted(entry[1]), entry[0])
    ):
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Action": _one_or_many(sorted(actions)),
            "Resource": _one_or_many(list(names)),
        }
        if passed_to:
            statement["Condition"] = {"StringEquals": {"iam:PassedToService": passed_to}}
        statements.append(statement)
    return {"Version": "2012-10-17", "Statement": statements}


def _one_or_many(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
