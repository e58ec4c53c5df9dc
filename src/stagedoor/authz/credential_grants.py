"""Tokens by which what runs here gets its role's credentials, and gets new ones before they expire, as long as it runs.

Place in the flow: ``reconcile.role_access`` grants one to each workload with a role and revokes it at the workload's end;
``services.container_credentials`` answers who shows it. In memory: no workload outlives the server.
"""

import hmac
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose credentials a workload gets. ``session_name`` is what the sessions are called."""

    role_arn: str
    session_name: str
    token: str


class CredentialGrants:
    """Those of the workloads that run. May be used from any thread."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def grant(self, workload_id: str, role_arn: str, session_name: str) -> str:
        """The token of a workload: ``WORKLOAD:SECRET``."""
        token = f"{workload_id}:{secrets.token_urlsafe(32)}"
        self._grants[workload_id] = Grant(role_arn, session_name, token)
        return token

    def revoke(self, workload_id: str) -> None:
        """The workload has ended; nothing happens when it had no grant."""
        self._grants.pop(workload_id, None)

    def find(self, token: str) -> Grant | None:
        """What a token is for; None when nobody has it (any more)."""
        found = self._grants.get(token.rpartition(":")[0])
        if found is None or not hmac.compare_digest(
            found.token.encode(), token.encode("utf-8", "surrogateescape")
        ):
            return None
        return found
