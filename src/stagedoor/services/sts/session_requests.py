"""What the operations of STS have in common: what a request says about a session, and what an answer shows of it.

Place in the flow: ``sessions`` and ``federation`` hold the operations.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Decision, Question, decide
from stagedoor.authz.policy_document import PolicyError, compiled, validate
from stagedoor.authz.request_keys import request_tags
from stagedoor.authz.session_tokens import Credentials, SessionClaims
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import mfa
from stagedoor.services.permissions import call_context
from stagedoor.services.principals import NoSuchRoleError
from stagedoor.store.records import Document

_ROLE_DEFAULT_S: Final = 3_600
_CHAINED_MAX_S: Final = 3_600
_MAX_POLICY_CHARACTERS: Final = 2_048
_MAX_POLICY_ARNS: Final = 10
_MAX_TAGS: Final = 50


def shown(credentials: Credentials) -> dict[str, Any]:
    """The member Credentials."""
    return {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": credentials.expiration,
    }


def packed_size(request: Mapping[str, Any], claims: SessionClaims) -> dict[str, Any]:
    """The member PackedPolicySize, in percent, when the request gave policies or tags."""
    if not (request.get("Policy") or request.get("PolicyArns") or request.get("Tags")):
        return {}
    packed = sum(map(len, claims.session_policies)) + sum(map(len, claims.session_policy_arns))
    packed += sum(len(name) + len(value) for name, value in claims.tags.items())
    return {"PackedPolicySize": max(1, min(100, packed * 100 // (_MAX_POLICY_CHARACTERS * 2)))}


def invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message, status=400)


def refused(caller: Caller, action: str, resource: str) -> AwsError:
    """As on AWS, a role that is not there is refused in the same words, so that nobody learns which roles exist."""
    return AwsError(
        "AccessDenied",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource}",
        status=403,
    )


def refuse(request: Mapping[str, Any], *members: str) -> None:
    """ValidationError that names the first of ``members`` that is given."""
    for member in members:
        if request.get(member):
            raise invalid(f"{member} is not supported by stagedoor yet. Leave it out.")


def second_factor(call: Call, request: Mapping[str, Any]) -> int | None:
    """When the caller showed a code of its MFA device: now; None when it showed none. AccessDenied for a wrong one."""
    serial, code = request.get("SerialNumber"), request.get("TokenCode")
    if not serial and not code:
        return None
    if not serial or not code:
        raise invalid("SerialNumber and TokenCode go together: give both or neither.")
    failed = AwsError(
        "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.", status=403
    )
    if call.caller.kind != "user" or call.caller.expires_at is not None:
        raise AwsError(
            "AccessDenied",
            "MultiFactorAuthentication failed, must provide long-term credentials of a user.",
            status=403,
        )
    with call.house.records.transaction() as transaction:
        devices = mfa.of_user(transaction, call, call.caller.arn.rpartition("/")[2])
        device = next((one for one in devices if one.document["SerialNumber"] == serial), None)
        if device is None:
            raise AwsError(
                "AccessDenied",
                "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is "
                "valid and associated with this user.",
                status=403,
            )
        if mfa.accept(transaction, call, device, code) is None:
            raise failed
    return int(call.now)


# --- Trust ------------------------------------------------------------------------------------------------------


def role_to_assume(call: Call, role_arn: str, caller: Caller, action: str) -> Document:
    """The role's record. AccessDenied when there is none; whether the caller may is asked with ``trusts``."""
    try:
        Arn.parse(role_arn)
    except ValueError:
        raise invalid(f"{role_arn} is invalid") from None
    if caller.kind == "root":
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", status=403)
    try:
        return call.house.principals.role(role_arn)
    except NoSuchRoleError:
        raise refused(caller, action, role_arn) from None


def trust_context(call: Call, request: Mapping[str, Any], role: Document) -> dict[str, str | list[str]]:
    """The condition keys of a decision about a role's trust policy."""
    context = call_context(call) | {"sts:rolesessionname": request["RoleSessionName"]}
    for member in ("ExternalId", "SourceIdentity"):
        if request.get(member):
            context[f"sts:{member.lower()}"] = request[member]
    if request.get("TransitiveTagKeys"):
        context["sts:transitivetagkeys"] = list(request["TransitiveTagKeys"])
    context |= request_tags(tags_of(request))
    context["aws:resourceaccount"] = Arn.parse(role["Arn"]).account_id
    for tag in role.get("Tags", ()):
        for family in ("aws:resourcetag/", "iam:resourcetag/"):
            context[f"{family}{tag['Key'].lower()}"] = tag["Value"]
    return context


def trusts(role: Document, caller: Caller, action: str, context: Mapping[str, str | list[str]]) -> Decision:
    """Whether a role's trust policy, together with the caller's own policies, lets the caller do ``action``."""
    return decide(
        Question(caller, action, role["Arn"], context),
        resource_policies=(role["AssumeRolePolicyDocument"],),
        resource_account_id=Arn.parse(role["Arn"]).account_id,
        resource_must_allow=True,
    )


# --- What the session may be ------------------------------------------------------------------------------------


def role_duration_s(caller: Caller, role: Document, wanted: int | None) -> int:
    """How long a session of the role lasts. ValidationError beyond the role's maximum, or the hour of chained sessions."""
    longest: int = role["MaxSessionDuration"]
    if wanted is None:
        return min(_ROLE_DEFAULT_S, longest)
    if caller.kind == "assumed-role" and wanted > _CHAINED_MAX_S:
        raise invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    if wanted > longest:
        raise invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return wanted


def session_policies(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The policy given for the session. PackedPolicyTooLarge, MalformedPolicyDocument."""
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


def session_policy_arns(call: Call, account_id: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """The managed policies given for the session; they exist."""
    given: Sequence[Mapping[str, str]] = request.get("PolicyArns") or ()
    arns = tuple(entry["arn"] for entry in given if entry.get("arn"))
    if len(arns) > _MAX_POLICY_ARNS:
        raise invalid(f"PolicyArns may name {_MAX_POLICY_ARNS} policies at most, not {len(arns)}.")
    for arn in arns:
        if call.house.principals.managed_document(account_id, arn) is None:
            raise invalid(f"The managed policy {arn} does not exist in the account of the role.")
    return arns


def tags_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The session tags of a request. ValidationError for keys that come twice, or that are transitive and not given."""
    given: Sequence[Mapping[str, str]] = request.get("Tags") or ()
    tags = {tag["Key"]: tag["Value"] for tag in given}
    if len({name.lower() for name in tags}) != len(given):
        raise invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if len(tags) > _MAX_TAGS:
        raise invalid(f"A session may have {_MAX_TAGS} tags at most.")
    missing = [name for name in request.get("TransitiveTagKeys") or () if name not in tags]
    if missing:
        raise invalid(f"The transitive tag key {missing[0]} is not among the session tags.")
    return tags
