"""The public signing suite: 38 requests with their header and query signatures."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("STAGEDOOR_VECTORS", _REPOSITORY.parent / "shared" / "vectors")) / "sigv4"

needs_vectors = pytest.mark.skipif(
    not ROOT.is_dir(),
    reason=f"no signing vectors in {ROOT}: set STAGEDOOR_VECTORS to the folder that holds sigv4/",
)


class Vector(NamedTuple):
    """One signed request as it goes over the wire, and what it was signed with."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    context: dict


def names() -> list[str]:
    return sorted(path.name for path in ROOT.iterdir() if path.is_dir()) if ROOT.is_dir() else []


def read(name: str, form: str) -> Vector:
    """``form`` is ``header`` or ``query``. Text has one character per byte, as a server sees it."""
    raw = (ROOT / name / f"{form}-signed-request.txt").read_bytes()
    head, _, body = raw.partition(b"\n\n")
    lines = head.decode("latin-1").split("\n")
    method, rest = lines[0].split(" ", 1)
    target = rest.rsplit(" ", 1)[0]
    path, _, query = target.partition("?")
    pairs: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in " \t" and pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.strip()}")
        elif line:
            field, _, value = line.partition(":")
            pairs.append((field.lower(), value.strip()))
    headers: dict[str, str] = {}
    for field, value in pairs:
        headers[field] = f"{headers[field]},{value}" if field in headers else value
    context = json.loads((ROOT / name / "context.json").read_text())
    return Vector(method, path, query, headers, body.rstrip(b"\n") if not body.strip() else body, context)
