"""Reads the public protocol test vectors: what a client sends and reads, turned round for a server."""

import json
import math
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.model import OperationModel

from stagedoor.wire import models, timestamps
from stagedoor.wire.models import Service

_HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("STAGEDOOR_VECTORS") or _HERE.parents[2] / "shared" / "vectors") / "protocols"
MISSING = f"the protocol vectors are not at {FOLDER} (STAGEDOOR_VECTORS names another place)"
NOT_FOR_SERVERS: dict[str, dict[str, str]] = tomllib.loads(
    (_HERE / "vectors_not_for_servers.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Vector:
    """One case of one file, with a service of its own whose one operation it is about."""

    direction: str
    file: str
    case: dict[str, Any]
    service: Service
    operation: OperationModel

    @property
    def id(self) -> str:
        return f"{self.file}:{self.case['id']}"

    @property
    def protocol(self) -> str:
        return self.service.protocols[0]


def load(direction: str) -> Iterator[Vector]:
    """All vectors of ``input`` or ``output``; none where the folder is absent."""
    for path in sorted((FOLDER / direction).glob("*.json")):
        for suite in json.loads(path.read_text(encoding="utf-8")):
            for case in suite["cases"]:
                given = case["given"]
                service = models.from_description(
                    {
                        # The suites leave out the namespace their query answers have.
                        "metadata": {
                            "endpointPrefix": "vectors",
                            **({"xmlNamespace": "https://example.com/"} if path.stem == "query" else {}),
                            **suite["metadata"],
                        },
                        "operations": {given["name"]: given},
                        "shapes": suite["shapes"],
                    },
                    "vectors",
                )
                yield Vector(direction, path.stem, case, service, service.operation(given["name"]))


def value_of(shape: Any, raw: Any) -> Any:
    """A value as the vectors write it (times as numbers, bytes as text) in the forms the wire layer uses."""
    match shape.type_name:
        case "structure":
            if shape.is_document_type:
                return raw
            return {
                name: value_of(shape.members[name], item) for name, item in raw.items() if item is not None
            }
        case "list":
            return [None if item is None else value_of(shape.member, item) for item in raw]
        case "map":
            return {key: None if item is None else value_of(shape.value, item) for key, item in raw.items()}
        case "timestamp":
            return timestamps.from_epoch(raw)
        case "blob":
            return raw.encode("utf-8")
        case "float" | "double":
            return float(raw)
        case "string" if (
            shape.serialization.get("jsonvalue") and shape.serialization.get("location") == "header"
        ):
            return json.loads(raw)
        case _:
            return raw


def same(left: Any, right: Any) -> bool:
    """Equality in which a NaN equals a NaN."""
    match left, right:
        case dict(), dict():
            return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
        case list(), list():
            return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
        case float(), float():
            return left == right or (math.isnan(left) and math.isnan(right))
        case _:
            return left == right
