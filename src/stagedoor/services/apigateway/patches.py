"""PATCH as API Gateway has it: operations on paths of a document, only those that AWS's page of patch operations allows.

Pure: a document and its operations in, a new document out. Sources: "PATCH operations" in the API Gateway reference.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from stagedoor.services.apigateway.stored import bad_request

Convert = Callable[[str], Any]


def text(value: str) -> Any:
    """The value as it is."""
    return value


def boolean(value: str) -> Any:
    """``true`` or ``false``."""
    if value.lower() not in ("true", "false"):
        raise bad_request(f"Invalid boolean value {value} specified")
    return value.lower() == "true"


def number(value: str) -> Any:
    """A whole number."""
    if not value.isdigit():
        raise bad_request(f"Invalid number {value} specified")
    return int(value)


class Rules:
    """What may be patched: members that are replaced, maps whose entries are added, replaced, removed, and lists."""

    def __init__(
        self,
        members: Mapping[str, Convert],
        maps: Mapping[str, Convert] | None = None,
        lists: tuple[str, ...] = (),
    ) -> None:
        self._members = members
        self._maps = maps or {}
        self._lists = lists

    def apply(self, document: dict[str, Any], operations: list[dict[str, Any]] | None) -> dict[str, Any]:
        """A patched copy. BadRequestException names an operation or path that is not possible."""
        patched = copy.deepcopy(document)
        for operation in operations or []:
            self._apply_one(patched, operation)
        return patched

    def _apply_one(self, document: dict[str, Any], operation: dict[str, Any]) -> None:
        what, path, value = operation.get("op"), str(operation.get("path") or ""), operation.get("value")
        name, _, rest = path.removeprefix("/").partition("/")
        # RFC 6901: the escapes of a slash and a tilde inside one part.
        entry = rest.replace("~1", "/").replace("~0", "~")
        if what not in ("add", "replace", "remove"):
            raise bad_request(f"stagedoor does not support the patch operation {what}")
        if what != "remove" and value is None:
            raise bad_request(f"The patch operation {what} of {path} has no value")
        if name in self._members and not rest:
            if what == "remove":
                document.pop(name, None)
            else:
                document[name] = self._members[name](str(value))
        elif name in self._maps and rest:
            entries = document.setdefault(name, {})
            if what == "remove":
                entries.pop(entry, None)
            else:
                entries[entry] = self._maps[name](str(value))
        elif name in self._lists:
            items = document.setdefault(name, [])
            wanted = entry or str(value)
            if what == "remove":
                document[name] = [item for item in items if item != wanted]
            elif what == "replace":
                document[name] = [str(value) if item == wanted else item for item in items]
            elif wanted not in items:
                items.append(wanted)
        else:
            raise bad_request(f"Invalid patch path {path}")
