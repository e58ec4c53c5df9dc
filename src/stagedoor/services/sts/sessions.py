"""Temporary credentials: AssumeRole and GetSessionToken."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Decision, Question, decide
from stagedoor.authz.policy_document import PolicyError, compiled, validate
from stagedoor.authz.session_tokens import Credentials, SessionClaims
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.permissions import caller_context
from stagedoor.services.principals import NoSuchRoleError, session_arn
from stagedoor.store.records import Document

_ROLE_DEFAULT_S: Final = 3_600
_CHAINED_MAX_S: Final = 3_600
_ROOT_MAX_S: Final = 3_600
_USER_DEFAULT_S: Final = 43_200
_MAX_POLICY_CHARACTERS: Final = 2_048
_MAX_POLICY_ARNS: Final = 10
_MAX_TAGS: Final = 50


def assume_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Credentials of a role, for whom its trust policy allows.

    Within the account an Allow of the trust policy that names the caller is enough; one that names the account leaves it
    to the account's policies; across accounts both sides must allow.
    """
    for unsupported in ("SerialNumber", "TokenCode", "SourceIdentity", "ProvidedContexts"):
        if request.get(unsupported):
            raise _invalid(f"{unsupported} is not supported by stagedoor yet. Leave it out.")
    role_arn, session_name = request["RoleArn"], request["RoleSessionName"]
    role = _trusting_role(call, request, "sts:AssumeRole")
    given, inherited = _tags(request), dict(call.caller.transitive_tags)
    overridden = [name for name in given if name.lower() in {other.lower() for other in inherited}]
    if overridden:
        raise _invalid(
            f"The transitive session tag {overridden[0]} of the calling session cannot be overridden."
        )
    tags = inherited | given
    if given and not _trusts(call, request, role, "sts:TagSession").allowed:
        raise _refused(call.caller, "sts:TagSession", role_arn)
    duration_s = _role_duration_s(call.caller, role, request.get("DurationSeconds"))
    now = int(call.now)
    account_id = Arn.parse(role_arn).account_id
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
        session_policies=_session_policies(request),
        session_policy_arns=_session_policy_arns(call, account_id, request),
        tags=tags,
        transitive_tag_keys=(*inherited, *request.get("TransitiveTagKeys", ())),
        source_arn=call.caller.arn,
    )
    answer: dict[str, Any] = {
        "Credentials": _shown(call.house.session_tokens.issue(claims)),
        "AssumedRoleUser": {"AssumedRoleId": claims.user_id, "Arn": claims.arn},
    }
    if request.get("Policy") or request.get("PolicyArns"):
        packed = sum(map(len, claims.session_policies)) + sum(map(len, claims.session_policy_arns))
        answer["PackedPolicySize"] = max(1, min(100, packed * 100 // (_MAX_POLICY_CHARACTERS * 2)))
    return answer


def get_session_token(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Temporary credentials of the calling user or root, with the same permissions, but for IAM and STS."""
    caller = call.caller
    if request.get("SerialNumber") or request.get("TokenCode"):
        raise _invalid("SerialNumber and TokenCode are not supported by stagedoor yet. Leave them out.")
    if caller.kind not in {"user", "root"} or caller.expires_at is not None:
        raise AwsError("AccessDenied", "Cannot call GetSessionToken with session credentials", status=403)
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
    )
    return {"Credentials": _shown(call.house.session_tokens.issue(claims))}


def _shown(credentials: Credentials) -> dict[str, Any]:
    return {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": credentials.expiration,
    }


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message, status=400)


def _refused(caller: Caller, action: str, role_arn: str) -> AwsError:
    # As on AWS, a role that is not there is refused in the same words, so that nobody learns which roles exist.
    return AwsError(
        "AccessDenied",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {role_arn}",
        status=403,
    )


# --- Trust ------------------------------------------------------------------------------------------------------


def _trusting_role(call: Call, request: Mapping[str, Any], action: str) -> Document:
    """The role, when the caller may assume it. AccessDenied otherwise, also when there is none."""
    role_arn, caller = request["RoleArn"], call.caller
    try:
        Arn.parse(role_arn)
    except ValueError:
        raise _invalid(f"{role_arn} is invalid") from None
    if caller.kind == "root":
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", status=403)
    try:
        role = call.house.principals.role(role_arn)
    except NoSuchRoleError:
        raise _refused(caller, action, role_arn) from None
    if not _trusts(call, request, role, action).allowed:
        raise _refused(caller, action, role_arn)
    return role


def _trusts(call: Call, request: Mapping[str, Any], role: Document, action: str) -> Decision:
    context = caller_context(call.caller) | {"sts:rolesessionname": request["RoleSessionName"]}
    if request.get("ExternalId"):
        context["sts:externalid"] = request["ExternalId"]
    role_arn = request["RoleArn"]
    return decide(
        Question(call.caller, action, role_arn, context),
        resource_policies=(role["AssumeRolePolicyDocument"],),
        resource_account_id=Arn.parse(role_arn).account_id,
        resource_must_allow=True,
    )


# --- What the session may be ------------------------------------------------------------------------------------


def _role_duration_s(caller: Caller, role: Document, wanted: int | None) -> int:
    longest: int = role["MaxSessionDuration"]
    if wanted is None:
        return min(_ROLE_DEFAULT_S, longest)
    if caller.kind == "assumed-role" and wanted > _CHAINED_MAX_S:
        raise _invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    if wanted > longest:
        raise _invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return wanted


def _session_policies(request: Mapping[str, Any]) -> tuple[str, ...]:
    text = request.get("Policy")
    if not text:
        return ()
    if len(text) > _MAX_POLICY_CHARACTERS:
        raise AwsError(
            "PackedPolicyTooLarge",
            f"Packed policy consumes {len(text) * 100 // _MAX_POLICY_CHARACTERS}% of allotted space, please use smaller "
            "policy.",
            status=400,
        )
    try:
        validate(text, "identity")
        compiled(text)
    except PolicyError as error:
        raise AwsError("MalformedPolicyDocument", str(error), status=400) from error
    return (text,)


def _session_policy_arns(call: Call, account_id: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    given: Sequence[Mapping[str, str]] = request.get("PolicyArns") or ()
    arns = tuple(entry["arn"] for entry in given if entry.get("arn"))
    if len(arns) > _MAX_POLICY_ARNS:
        raise _invalid(f"PolicyArns may name {_MAX_POLICY_ARNS} policies at most, not {len(arns)}.")
    for arn in arns:
        if call.house.principals.managed_document(account_id, arn) is None:
            raise _invalid(f"The managed policy {arn} does not exist in the account of the role.")
    return arns


def _tags(request: Mapping[str, Any]) -> dict[str, str]:
    given: Sequence[Mapping[str, str]] = request.get("Tags") or ()
    tags = {tag["Key"]: tag["Value"] for tag in given}
    if len({name.lower() for name in tags}) != len(given):
        raise _invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if len(tags) > _MAX_TAGS:
        raise _invalid(f"A session may have {_MAX_TAGS} tags at most.")
    missing = [name for name in request.get("TransitiveTagKeys") or () if name not in tags]
    if missing:
        raise _invalid(f"The transitive tag key {missing[0]} is not among the session tags.")
    return tags
