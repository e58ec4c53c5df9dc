"""How a program of the user gets to AWS's services here: its role's credentials and the server's own address.

Place in the flow: jobs and models that run the user's code (``programs``) start with these variables, as functions do. ``app`` makes
one.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from stagedoor.authz.credential_grants import CredentialGrants

SESSION_NAME = "SageMaker"


@dataclass(frozen=True, slots=True)
class RoleAccess:
    """``endpoint_url`` is the signed listener, which answers at ``credentials_path``, too. ``allow_network`` names the jobs and models
    that may go anywhere.
    """

    grants: CredentialGrants
    endpoint_url: str
    credentials_path: str
    allow_network: str

    def variables(self, workload_id: str, role_arn: str | None, region: str) -> dict[str, str]:
        """What boto3 reads. Without a role there are no credentials; else they are renewed until the workload's end."""
        found = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL": self.endpoint_url}
        if role_arn is not None:
            found |= {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.endpoint_url}{self.credentials_path}",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.grants.grant(workload_id, role_arn, SESSION_NAME),
            }
        return found

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """An ``engine.interface.ExitListener``: what has ended gets no credentials any more."""
        self.grants.revoke(workload_id)

    @property
    def server_host(self) -> str:
        """Where the signed listener is, for who is led there."""
        return urlsplit(self.endpoint_url).hostname or ""

    def connect_ports(self, name: str) -> tuple[int, ...] | None:
        """Where a workload with this name may connect to: the signed listener, or anywhere (None)."""
        if any(fnmatchcase(name, each.strip()) for each in self.allow_network.split(",") if each.strip()):
            return None
        parts = urlsplit(self.endpoint_url)
        return (parts.port or (443 if parts.scheme == "https" else 80),)
