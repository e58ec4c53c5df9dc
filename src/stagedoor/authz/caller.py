"""Who is calling: what authentication found out, and what authorisation decides about."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal behind a valid signature.

    ``arn`` is what GetCallerIdentity answers (``arn:aws:iam::ACCOUNT:root``, ``…:user/NAME``,
    ``arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION``); ``user_id`` its unique id (``AROA…:SESSION`` for a session).
    ``role_arn`` is the IAM ARN of the role behind an assumed-role session, ``issuer_arn`` the user behind a federated one.
    ``policies`` are the identity policy documents that apply (JSON texts); ``boundary`` (the permissions boundary) and
    ``session_policies`` narrow them. Root has none of these and is not limited by them.
    ``tags`` are the principal's and the session's (``aws:PrincipalTag``); ``transitive_tags`` are those that
    go on to a session this one makes; ``expires_at`` is the end of a session. ``source_identity`` is who a chain of sessions
    says it acts for, ``issued_at`` when a session began and ``mfa_at`` when (epoch seconds) a session's second factor was shown, ``federated_provider`` the identity
    provider a session came from.
    """

    kind: Literal["root", "user", "assumed-role", "federated-user", "web-identity", "service", "anonymous"]
    account_id: str
    arn: str
    user_id: str
    access_key_id: str = ""
    role_arn: str | None = None
    policies: tuple[str, ...] = field(default=(), repr=False)
    session_policies: tuple[str, ...] = field(default=(), repr=False)
    tags: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    expires_at: int | None = None
    transitive_tags: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    boundary: str | None = field(default=None, repr=False)
    issuer_arn: str | None = None
    source_identity: str = ""
    mfa_at: int | None = None
    federated_provider: str = ""
    issued_at: int | None = None

    @property
    def is_outside(self) -> bool:
        """Whether it belongs to no account, so that it has no policies of its own and only a resource's can allow."""
        return self.kind in {"anonymous", "service", "web-identity"}


ANONYMOUS = Caller("anonymous", "", "", "")


def service_caller(service_principal: str) -> Caller:
    """An AWS service acting for a resource, e.g. ``apigateway.amazonaws.com``."""
    return Caller("service", "", service_principal, service_principal)


def web_identity(provider: str, subject: str) -> Caller:
    """Somebody whom an OpenID Connect provider vouches for: ``provider`` as a trust policy names it under ``Federated``."""
    return Caller("web-identity", "", provider, subject)


@lru_cache(maxsize=1024)
def canonical_user_id(account_id: str) -> str:
    """64 hexadecimal digits that stand for the account in S3, always the same."""
    return hashlib.sha256(f"canonical user of {account_id}".encode()).hexdigest()
