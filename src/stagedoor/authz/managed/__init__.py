"""The AWS managed policies that this release knows: AWS's documents as data files, read when first asked for.

One JSON file per policy in ``policies/``: path, default version, dates, description, document.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).with_name("policies")
ARN_PREFIX: Final = "arn:aws:iam::aws:policy"


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """One policy as AWS publishes it; dates in epoch seconds, ``document`` as JSON text."""

    name: str
    path: str
    policy_id: str
    version: str
    created_at: float
    updated_at: float
    description: str
    document: str

    @property
    def arn(self) -> str:
        return f"{ARN_PREFIX}{self.path}{self.name}"


@cache
def by_arn() -> dict[str, ManagedPolicy]:
    """All policies, in the order of their names."""
    policies = [_read(path) for path in sorted(_FOLDER.glob("*.json"))]
    return {policy.arn: policy for policy in policies}


def document(arn: str) -> str | None:
    """The document of an AWS managed policy; None when there is none under this ARN."""
    policy = by_arn().get(arn)
    return policy.document if policy else None


def _read(path: Path) -> ManagedPolicy:
    content = json.loads(path.read_text(encoding="utf-8"))
    unique = base64.b32encode(hashlib.sha256(path.stem.encode()).digest()).decode()[:17]
    return ManagedPolicy(
        name=path.stem,
        path=content["path"],
        policy_id=f"ANPA{unique}",
        version=content["version"],
        created_at=_epoch_s(content["created"]),
        updated_at=_epoch_s(content["updated"]),
        description=content["description"],
        document=json.dumps(content["document"], indent=4),
    )


def _epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
