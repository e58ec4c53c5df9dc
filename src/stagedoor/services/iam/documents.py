"""Policy documents before they are stored: well formed, not too long, naming principals that exist."""

import re
from typing import Final

from stagedoor.authz.policy_document import PolicyError, PolicyKind, compiled, validate
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam.entities import limit_exceeded
from stagedoor.store.records import Key, Reader

# Characters that are not white space, as IAM counts them.
MANAGED_MAX: Final = 6_144
TRUST_MAX: Final = 2_048
INLINE_MAX: Final = {"user": 2_048, "group": 5_120, "role": 10_240}
_ENTITY: Final = re.compile(r"arn:aws:iam::(\d{12}):(user|role)/(?:.*/)?([^/]+)")


def check(document: str, kind: PolicyKind) -> str:
    """``document`` itself. MalformedPolicyDocument, in AWS's words."""
    try:
        validate(document, kind)
    except PolicyError as error:
        raise AwsError("MalformedPolicyDocument", str(error), status=400) from error
    return document


def check_size(used: int, allowed: int, message: str) -> None:
    """LimitExceeded with ``message`` when ``used`` characters are more than ``allowed``."""
    if used > allowed:
        raise limit_exceeded(message)


def size(document: str) -> int:
    """Characters that are not white space."""
    return len("".join(document.split()))


def check_trust(reader: Reader, call: Call, document: str) -> str:
    """``document`` itself, a trust policy whose users and roles exist where this account can tell."""
    check(document, "trust")
    check_size(size(document), TRUST_MAX, f"Cannot exceed quota for ACLSizePerRole: {TRUST_MAX}")
    for statement in compiled(document):
        for value in (statement.principals or {}).get("AWS", ()):
            found = _ENTITY.fullmatch(value)
            if found is None or found[1] != call.account_id:
                continue
            record = reader.get(Key(f"iam.{found[2]}", found[1], "", found[3]))
            if record is None or record.document["Arn"] != value:
                raise AwsError(
                    "MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{value}"', status=400
                )
    return document
