"""Temporary credentials: AssumeRole and GetSessionToken."""

from dataclasses import replace
from typing import Any, Final

from stagedoor.authz.caller import Caller
from stagedoor.authz.session_tokens import SessionClaims
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.principals import session_arn
from stagedoor.services.sts import session_requests as requests
from stagedoor.store.records import Document

_ROOT_MAX_S: Final = 3_600
_USER_DEFAULT_S: Final = 43_200


def assume_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Credentials of a role, for whom its trust policy allows.

    Within the account an Allow of the trust policy that names the caller is enough; one that names the account leaves it
    to the account's policies; across accounts both sides must allow.
    """
    requests.refuse(request, "ProvidedContexts", "MinimumSessionTokenSize")
    role_arn, session_name = request["RoleArn"], request["RoleSessionName"]
    mfa_at = requests.second_factor(call, request)
    caller = call.caller if mfa_at is None else replace(call.caller, mfa_at=mfa_at)
    role = requests.role_to_assume(call, role_arn, caller, "sts:AssumeRole")
    given, inherited = requests.tags_of(request), dict(caller.transitive_tags)
    overridden = [name for name in given if name.lower() in {other.lower() for other in inherited}]
    if overridden:
        raise requests.invalid(
            f"The transitive session tag {overridden[0]} of the calling session cannot be overridden."
        )
    _check_trust(call, request, role, caller)
    duration_s = requests.role_duration_s(caller, role, request.get("DurationSeconds"))
    now = int(call.now)
    account_id = Arn.parse(role_arn).account_id
    source_identity = request.get("SourceIdentity") or caller.source_identity
    claims = SessionClaims(
        kind="assumed-role",
        account_id=account_id,
        arn=session_arn(role_arn, session_name),
        user_id=f"{role['RoleId']}:{session_name}",
        principal_id=role["RoleId"],
        issued_at=now,
        expires_at=now + duration_s,
        role_arn=role_arn,
        session_name=session_name,
        session_policies=requests.session_policies(request),
        session_policy_arns=requests.session_policy_arns(call, account_id, request),
        tags=inherited | given,
        transitive_tag_keys=(*inherited, *request.get("TransitiveTagKeys", ())),
        source_arn=caller.arn,
        source_identity=source_identity,
        mfa_at=mfa_at,
    )
    answer: dict[str, Any] = {
        "Credentials": requests.shown(call.house.session_tokens.issue(claims)),
        "AssumedRoleUser": {"AssumedRoleId": claims.user_id, "Arn": claims.arn},
        **requests.packed_size(request, claims),
    }
    return answer | ({"SourceIdentity": source_identity} if source_identity else {})


def _check_trust(call: Call, request: dict[str, Any], role: Document, caller: Caller) -> None:
    """AccessDenied unless the caller may assume the role, and do so with what it says about the session."""
    context = requests.trust_context(call, request, role)
    if caller.mfa_at is not None and call.caller.mfa_at is None:
        context |= {"aws:multifactorauthpresent": "true", "aws:multifactorauthage": "0"}
    needed = ["sts:AssumeRole"]
    if request.get("Tags"):
        needed.append("sts:TagSession")
    if request.get("SourceIdentity"):
        needed.append("sts:SetSourceIdentity")
        if caller.source_identity not in {"", request["SourceIdentity"]}:
            raise requests.refused(caller, "sts:SetSourceIdentity", role["Arn"])
    for action in needed:
        if not requests.trusts(role, caller, action, context).allowed:
            raise requests.refused(caller, action, role["Arn"])


def get_session_token(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Temporary credentials of the calling user or root, with the same permissions, but for IAM and STS.

    With a code of the caller's MFA device they say so (``aws:MultiFactorAuthPresent``), and IAM takes them too.
    """
    requests.refuse(request, "MinimumSessionTokenSize")
    caller = call.caller
    if caller.kind not in {"user", "root"} or caller.expires_at is not None:
        raise AwsError("AccessDenied", "Cannot call GetSessionToken with session credentials", status=403)
    mfa_at = requests.second_factor(call, request)
    duration_s = request.get("DurationSeconds")
    if duration_s is None:
        duration_s = _USER_DEFAULT_S
    if caller.kind == "root":
        duration_s = min(duration_s, _ROOT_MAX_S)
    now = int(call.now)
    claims = SessionClaims(
        kind="root" if caller.kind == "root" else "user",
        account_id=caller.account_id,
        arn=caller.arn,
        user_id=caller.user_id,
        principal_id=caller.user_id,
        issued_at=now,
        expires_at=now + duration_s,
        mfa_at=mfa_at,
    )
    return {"Credentials": requests.shown(call.house.session_tokens.issue(claims))}
