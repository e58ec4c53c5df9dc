"""May this caller do this to that resource? The caller's policies together with the resource's own.

Place in the flow: ``front.authorise`` asks for every call; operations ask for what only they know (each key of
DeleteObjects, whether a missing key may be told from a forbidden one, a role's right to read a model).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from stagedoor.authz.caller import Caller
from stagedoor.authz.conditions import Context
from stagedoor.authz.policy import Decision, DecisionCache, Question, decide
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call, House
from stagedoor.services.s3 import public_access
from stagedoor.store.records import Key

ContextSource = Callable[[], Context] | None
"""Makes the condition keys of a request (lower case) when a policy asks for them; None: only what the caller is."""

# A decision depends on nothing but the texts of policies, the action and the resource, so one cache serves every house.
_DECISIONS: Final = DecisionCache()
# The owner's root may always repair a bucket policy, whatever that policy says.
_POLICY_REPAIR: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
# Services that answer AccessDenied; all others say AccessDeniedException.
_SHORT_CODE: Final = frozenset({"s3", "iam", "sts", "cloudwatch"})


def decision(
    house: House, caller: Caller, action: str, resource: str, context: ContextSource = None
) -> Decision:
    """The decision about one action on one resource.

    Blocks shortly (SQLite) for S3 and for functions of other accounts, never for SageMaker's runtime.
    """
    if resource.startswith("arn:aws:s3:::"):
        return _on_bucket(house, caller, action, resource, context)
    if action.startswith("lambda:") and resource.startswith("arn:aws:lambda:"):
        return _on_function(house, caller, action, resource, context)
    account_id = resource.split(":", 5)[4] if resource.startswith("arn:") and resource.count(":") >= 5 else ""
    # AWS's own managed policies are everybody's; everything else of another account has no policy of its own here.
    if account_id.isdigit() and account_id != caller.account_id:
        return decide(_question(caller, action, resource, context), resource_account_id=account_id)
    return _DECISIONS.recall(caller, action, resource) or _DECISIONS.decide(
        _question(caller, action, resource, context)
    )


def allowed(call: Call, action: str, resource: str) -> bool:
    """Whether the caller of ``call`` may do a further thing."""
    return decision(call.house, call.caller, action, resource, lambda: _call_context(call)).allowed


def _call_context(call: Call) -> dict[str, str]:
    request = call.request
    if request is None:
        return caller_context(call.caller)
    header = request.header
    return caller_context(call.caller) | request_context(
        call.now,
        call.region,
        request.peer_host,
        request.scheme,
        header.get("user-agent", ""),
        header.get("referer", ""),
    )


def request_context(
    now: float, region: str, peer_host: str, scheme: str, user_agent: str, referer: str
) -> dict[str, str]:
    """The condition keys that follow from when, where and how a request came."""
    context = {
        "aws:currenttime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "aws:epochtime": str(int(now)),
        "aws:requestedregion": region,
        "aws:securetransport": "true" if scheme == "https" else "false",
        "aws:sourceip": peer_host,
        "aws:useragent": user_agent,
        "aws:referer": referer,
    }
    return {name: value for name, value in context.items() if value}


def refusal(service: str, caller: Caller, action: str, resource: str, found: Decision) -> AwsError:
    """The error that says no, in AWS's words: who, what, on which resource, and which kind of policy decided."""
    code = "AccessDenied" if service in _SHORT_CODE else "AccessDeniedException"
    if caller.kind == "anonymous" or (
        service == "s3" and found.by == "resource-based" and not found.explicit_deny
    ):
        return AwsError(code, "Access Denied", status=403 if service == "s3" else None)
    if found.explicit_deny:
        article = "an" if found.by == "identity-based" else "a"
        why = f"with an explicit deny in {article} {found.by} policy"
    else:
        why = f"because no {found.by} policy allows the {action} action"
    shown = f'"{resource}"' if service == "s3" else resource
    return AwsError(
        code, f"User: {caller.arn} is not authorized to perform: {action} on resource: {shown} {why}"
    )


def caller_context(caller: Caller) -> dict[str, str]:
    """The condition keys that follow from who calls."""
    context = {
        "aws:principalaccount": caller.account_id,
        "aws:principalarn": caller.role_arn or caller.arn,
        "aws:userid": caller.user_id,
        "aws:principalisawsservice": "true" if caller.kind == "service" else "false",
    }
    match caller.kind:
        case "root":
            context["aws:principaltype"] = "Account"
        case "user":
            context["aws:principaltype"] = "User"
            context["aws:username"] = caller.arn.rpartition("/")[2]
        case "assumed-role":
            context["aws:principaltype"] = "AssumedRole"
        case _:
            context["aws:principaltype"] = "Anonymous" if caller.kind == "anonymous" else "Service"
    if caller.expires_at is not None:
        # Temporary credentials say whether a second factor was used; here none ever was.
        context["aws:multifactorauthpresent"] = "false"
    context |= {f"aws:principaltag/{name.lower()}": value for name, value in caller.tags}
    return {name: value for name, value in context.items() if value}


def _question(caller: Caller, action: str, resource: str, context: ContextSource) -> Question:
    return Question(caller, action, resource, caller_context(caller) if context is None else context())


def _on_bucket(house: House, caller: Caller, action: str, resource: str, context: ContextSource) -> Decision:
    name = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
    # CreateBucket says itself whose a bucket is that exists already.
    bucket = None if name in {"*", ""} or action == "s3:CreateBucket" else house.objects.find_bucket(name)
    if bucket is None:
        return _DECISIONS.recall(caller, action, resource) or _DECISIONS.decide(
            _question(caller, action, resource, context)
        )
    policies = public_access.policies_for(house, bucket, caller)
    if caller.kind == "root" and caller.account_id == bucket.account_id and action in _POLICY_REPAIR:
        policies = ()
    if not policies and caller.account_id == bucket.account_id:
        return _DECISIONS.recall(caller, action, resource) or _DECISIONS.decide(
            _question(caller, action, resource, context)
        )
    return decide(
        _question(caller, action, resource, context),
        resource_policies=policies,
        resource_account_id=bucket.account_id,
    )


def _on_function(
    house: House, caller: Caller, action: str, resource: str, context: ContextSource
) -> Decision:
    try:
        arn = Arn.parse(resource)
    except ValueError:
        return _DECISIONS.decide(_question(caller, action, resource, context))
    own = _DECISIONS.recall(caller, action, resource) or _DECISIONS.decide(
        _question(caller, action, resource, context)
    )
    if arn.account_id == caller.account_id and (own.allowed or own.explicit_deny):
        return own
    parts = arn.resource.split(":")
    if len(parts) < 2:
        return own
    record = house.records.get(Key("lambda.function", arn.account_id, arn.region, parts[1]))
    qualifier = parts[2] if len(parts) > 2 else ""
    by_qualifier: Mapping[str, Any] = record.document.get("policies", {}) if record is not None else {}
    stored: Mapping[str, Any] = by_qualifier.get(qualifier, {})
    policies: tuple[str, ...] = ()
    if stored.get("statements"):
        text = orjson.dumps({"Version": "2012-10-17", "Statement": stored["statements"]}).decode()
        policies = (text,)
    return decide(
        _question(caller, action, resource, context),
        resource_policies=policies,
        resource_account_id=arn.account_id,
    )
