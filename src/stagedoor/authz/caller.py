"""Who is calling: what authentication found out, and what authorisation decides about."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal behind a valid signature.

    ``arn`` is what GetCallerIdentity answers (``arn:aws:iam::ACCOUNT:root``, ``…:user/NAME``,
    ``arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION``); ``user_id`` its unique id (``AROA…:SESSION`` for a session).
    ``role_arn`` is the IAM ARN of the role behind an assumed-role session. ``policies`` are the identity policy
    documents that apply (JSON texts); ``session_policies`` narrow them. Root has neither and is not limited by them.
    ``tags`` are the principal's and the session's (``aws:PrincipalTag``); ``transitive_tags`` are those that
    go on to a session this one makes; ``expires_at`` is the end of a session.
    """

    kind: Literal["root", "user", "assumed-role", "service", "anonymous"]
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


ANONYMOUS = Caller("anonymous", "", "", "")


def service_caller(service_principal: str) -> Caller:
    """An AWS service acting for a resource, e.g. ``apigateway.amazonaws.com``."""
    return Caller("service", "", service_principal, service_principal)
