"""How a program of the user gets to AWS's services here: its role's credentials and the server's own address.

Place in the flow: jobs and models that run the user's code (``programs``) start with these variables, as functions do. ``app`` makes
one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from stagedoor.authz.session_tokens import Credentials
from stagedoor.domain.clock import Clock

CredentialsOf = Callable[[str, str, float, int], Credentials]
"""``(role_arn, session_name, now, duration_s)``; raises when there is no such role."""

SESSION_NAME = "SageMaker"


@dataclass(frozen=True, slots=True)
class RoleAccess:
    """``endpoint_url`` is the signed listener. ``allow_network`` names the jobs and models that may go anywhere."""

    credentials_of: CredentialsOf
    endpoint_url: str
    allow_network: str
    clock: Clock

    def variables(self, role_arn: str | None, region: str, duration_s: float) -> dict[str, str]:
        """What boto3 reads. Without a role there are no credentials. Blocks."""
        found = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL": self.endpoint_url}
        if role_arn is not None:
            given = self.credentials_of(role_arn, SESSION_NAME, self.clock.now(), int(duration_s))
            found |= {
                "AWS_ACCESS_KEY_ID": given.access_key_id,
                "AWS_SECRET_ACCESS_KEY": given.secret_access_key,
                "AWS_SESSION_TOKEN": given.session_token,
            }
        return found

    def connect_ports(self, name: str) -> tuple[int, ...] | None:
        """Where a workload with this name may connect to: the signed listener, or anywhere (None)."""
        if any(fnmatchcase(name, each.strip()) for each in self.allow_network.split(",") if each.strip()):
            return None
        parts = urlsplit(self.endpoint_url)
        return (parts.port or (443 if parts.scheme == "https" else 80),)
