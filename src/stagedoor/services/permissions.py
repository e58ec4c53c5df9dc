"""May this caller do this to that resource? The caller's policies together with the resource's own.

Place in the flow: ``front.authorise`` asks for every call; operations ask for what only they know (each key of
DeleteObjects, whether a missing key may be told from a forbidden one, a role's right to read a model). A refusal carries what
``denials`` needs to explain it, which the caller never sees.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from stagedoor.authz.caller import Caller
from stagedoor.authz.conditions import Context
from stagedoor.authz.explanation import Asked
from stagedoor.authz.policy import Decision, DecisionCache, Question, decide
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services import resource_tags
from stagedoor.services.call import Call, House
from stagedoor.services.s3 import public_access
from stagedoor.store.records import Key

ContextSource = Callable[[], Context] | None
"""Makes the condition keys of a request (lower case) when a policy asks for them; None: only what the caller is."""

# A decision depends on nothing but the texts of policies, the action and the resource, so one cache serves every house.
_DECISIONS: Final = DecisionCache()
# Clients repeat what they may not, too. What a refusal is made of holds as long as its decision is remembered.
_ASKED: Final[dict[tuple[str, str, str], Asked]] = {}
_ASKED_AT_MOST: Final = 1_024
# The owner's root may always repair a bucket policy, whatever that policy says.
_POLICY_REPAIR: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
# Services that answer AccessDenied; all others say AccessDeniedException.
_SHORT_CODE: Final = frozenset({"s3", "iam", "sts", "cloudwatch"})


class RefusedError(AwsError):
    """A refusal by policies. ``asked`` is what was decided and with what: for the log, never for the answer."""

    def __init__(self, code: str, message: str, status: int | None, asked: Asked) -> None:
        super().__init__(code, message, status=status)
        self.asked = asked


def decision(
    house: House, caller: Caller, action: str, resource: str, context: ContextSource = None
) -> Decision:
    """The decision about one action on one resource.

    Blocks shortly (SQLite) for S3, for functions of other accounts, and where a policy asks for tags of the resource; never
    for SageMaker's runtime otherwise.
    """
    if resource.startswith("arn:aws:s3:::"):
        return _on_bucket(house, caller, action, resource, context)
    if action.startswith("lambda:") and resource.startswith("arn:aws:lambda:"):
        return _on_function(house, caller, action, resource, context)
    if action.startswith("sagemaker:") and ":model-package" in resource:
        policies = _model_package_policies(house, resource)
        return _with(house, caller, action, resource, context, policies, account_in(resource))
    account_id = account_in(resource)
    # AWS's own managed policies are everybody's; everything else of another account has no policy of its own here.
    owner_id = account_id if account_id.isdigit() else caller.account_id
    return _with(house, caller, action, resource, context, (), owner_id)


def on_resource(
    house: House,
    caller: Caller,
    action: str,
    resource: str,
    context: ContextSource,
    policies: tuple[str, ...],
    account_id: str,
) -> tuple[Decision, Asked | None]:
    """As ``decision``, for a resource whose policies the asker knows; with a refusal what was asked, to explain it."""
    found = _with(house, caller, action, resource, context, policies, account_id)
    if found.allowed:
        return found, None
    return found, Asked(_question(house, caller, action, resource, context), found, policies, account_id)


def account_in(resource: str) -> str:
    """The account that an ARN names; empty for none."""
    return resource.split(":", 5)[4] if resource.startswith("arn:") and resource.count(":") >= 5 else ""


def _own(house: House, caller: Caller, action: str, resource: str, context: ContextSource) -> Decision:
    """The decision within the caller's account, without policies of the resource: remembered where it may be."""
    found = _DECISIONS.recall(caller, action, resource)
    return found or _DECISIONS.decide(_question(house, caller, action, resource, context))


def _with(
    house: House,
    caller: Caller,
    action: str,
    resource: str,
    context: ContextSource,
    policies: tuple[str, ...],
    account_id: str,
) -> Decision:
    """The decision together with ``policies`` of the resource, which is of ``account_id``."""
    if not policies and account_id == caller.account_id:
        return _own(house, caller, action, resource, context)
    question = _question(house, caller, action, resource, context, *policies)
    return decide(question, resource_policies=policies, resource_account_id=account_id)


def is_known_to_be_allowed(caller: Caller, action: str, resource: str) -> bool:
    """Whether policies of the caller's own account allow it whatever else the request is. False: it is not known yet."""
    found = _DECISIONS.recall(caller, action, resource)
    return found is not None and found.allowed


def allowed(call: Call, action: str, resource: str) -> bool:
    """Whether the caller of ``call`` might do a further thing."""
    return decision(call.house, call.caller, action, resource, lambda: call_context(call)).allowed


def may(call: Call, action: str, resource: str) -> bool:
    """As ``allowed``, for a thing that is done when it may be: what a role does is noted."""
    found = allowed(call, action, resource)
    if found and call.caller.role_arn is not None and call.house.role_activity is not None:
        call.house.role_activity.note(call.caller.role_arn, action, resource)
    return found


def call_context(call: Call) -> dict[str, str | list[str]]:
    """The condition keys that follow from who calls, when, from where and how."""
    request = call.request
    if request is None:
        return caller_context(call.caller, call.now)
    header = request.header
    return caller_context(call.caller, call.now) | request_context(
        call.now,
        call.region,
        request.peer_host,
        request.scheme,
        header.get("user-agent", ""),
        header.get("referer", ""),
    )


def request_context(
    now: float, region: str, peer_host: str, scheme: str, user_agent: str, referer: str
) -> dict[str, str | list[str]]:
    """The condition keys that follow from when, where and how a request came."""
    context = {
        "aws:currenttime": _moment(int(now)),
        "aws:epochtime": str(int(now)),
        "aws:requestedregion": region,
        "aws:securetransport": "true" if scheme == "https" else "false",
        "aws:sourceip": peer_host,
        "aws:useragent": user_agent,
        "aws:referer": referer,
    }
    return {name: value for name, value in context.items() if value}


def refusal(
    house: House,
    service: str,
    caller: Caller,
    action: str,
    resource: str,
    found: Decision,
    context: ContextSource = None,
) -> RefusedError:
    """The error that says no, in AWS's words: who, what, on which resource, and which kind of policy decided."""
    code = "AccessDenied" if service in _SHORT_CODE else "AccessDeniedException"
    key = (caller.access_key_id, action, resource)
    asked = _ASKED.get(key)
    if asked is None or asked.question.caller is not caller or asked.decision is not found:
        policies, account_id = _resource_policies(house, caller, action, resource)
        asked = Asked(_question(house, caller, action, resource, context), found, policies, account_id)
        if found is _DECISIONS.recall(caller, action, resource):
            if len(_ASKED) >= _ASKED_AT_MOST:
                _ASKED.clear()
            _ASKED[key] = asked
    if caller.kind == "anonymous" or (
        service == "s3" and found.by == "resource-based" and not found.explicit_deny
    ):
        return RefusedError(code, "Access Denied", 403 if service == "s3" else None, asked)
    if found.explicit_deny:
        article = "an" if found.by == "identity-based" else "a"
        why = f"with an explicit deny in {article} {found.by}"
    else:
        why = f"because no {found.by}"
    if found.by != "permissions boundary":
        why += " policy"
    if not found.explicit_deny:
        why += f" allows the {action} action"
    shown = f'"{resource}"' if service == "s3" else resource
    text = f"User: {caller.arn} is not authorized to perform: {action} on resource: {shown} {why}"
    return RefusedError(code, text, None, asked)


def caller_context(caller: Caller, now: float | None = None) -> dict[str, str | list[str]]:
    """The condition keys that follow from who calls (at ``now``: how long ago it showed a second factor)."""
    context: dict[str, str] = {
        "aws:principalaccount": caller.account_id,
        "aws:principalarn": caller.role_arn or caller.arn,
        "aws:userid": caller.user_id,
        "aws:principalisawsservice": "true" if caller.kind == "service" else "false",
        "aws:viaawsservice": "false",
        "aws:sourceidentity": caller.source_identity,
        "aws:federatedprovider": caller.federated_provider,
    }
    match caller.kind:
        case "root":
            context["aws:principaltype"] = "Account"
        case "user":
            context["aws:principaltype"] = "User"
            context["aws:username"] = caller.arn.rpartition("/")[2]
        case "assumed-role":
            context["aws:principaltype"] = "AssumedRole"
        case "federated-user":
            context["aws:principaltype"] = "FederatedUser"
        case "service":
            context["aws:principaltype"] = "Service"
            context["aws:principalservicename"] = caller.arn
            context["aws:principalservicenameslist"] = caller.arn
        case _:
            context["aws:principaltype"] = "Anonymous" if caller.kind == "anonymous" else "Federated"
    if caller.expires_at is not None:
        # Temporary credentials say whether a second factor was used; long-term ones say nothing.
        context["aws:multifactorauthpresent"] = "false" if caller.mfa_at is None else "true"
        if caller.mfa_at is not None and now is not None:
            context["aws:multifactorauthage"] = str(max(0, int(now) - caller.mfa_at))
        context["aws:tokenissuetime"] = _moment(caller.issued_at) if caller.issued_at is not None else ""
    context |= {f"aws:principaltag/{name.lower()}": value for name, value in caller.tags}
    return {name: value for name, value in context.items() if value}


@lru_cache(maxsize=64)
def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _question(
    house: House, caller: Caller, action: str, resource: str, context: ContextSource, *more: str
) -> Question:
    """``more`` are policies of the resource: they too may ask for its tags."""
    keys: dict[str, Any] = {**(caller_context(caller) if context is None else context())}
    account_id = account_in(resource) or ("" if resource.startswith("arn:aws:s3:::") else caller.account_id)
    if account_id.isdigit():
        keys["aws:resourceaccount"] = account_id
    texts = (*caller.policies, *caller.session_policies, *more, caller.boundary or "")
    if any(resource_tags.asked_for(text) for text in texts):
        keys |= resource_tags.context(house, resource)
    return Question(caller, action, resource, keys)


def _resource_policies(
    house: House, caller: Caller, action: str, resource: str
) -> tuple[tuple[str, ...], str]:
    """The policies of a resource that count for the caller, and whose resource it is (empty: not known)."""
    if resource.startswith("arn:aws:s3:::"):
        return _bucket_policies(house, caller, action, resource)
    if action.startswith("lambda:") and resource.startswith("arn:aws:lambda:"):
        return _function_policies(house, resource), account_in(resource)
    if action.startswith("sagemaker:") and ":model-package" in resource:
        return _model_package_policies(house, resource), account_in(resource)
    return (), account_in(resource)


def _bucket_policies(house: House, caller: Caller, action: str, resource: str) -> tuple[tuple[str, ...], str]:
    name = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
    # CreateBucket says itself whose a bucket is that exists already.
    bucket = None if name in {"*", ""} or action == "s3:CreateBucket" else house.objects.find_bucket(name)
    if bucket is None:
        return (), ""
    policies = public_access.policies_for(house, bucket, caller)
    if caller.kind == "root" and caller.account_id == bucket.account_id and action in _POLICY_REPAIR:
        policies = ()
    return policies, bucket.account_id


def _on_bucket(house: House, caller: Caller, action: str, resource: str, context: ContextSource) -> Decision:
    policies, account_id = _bucket_policies(house, caller, action, resource)
    if not account_id:
        return _own(house, caller, action, resource, context)

    def with_owner() -> Context:
        keys = caller_context(caller) if context is None else context()
        return {**keys, "aws:resourceaccount": account_id, "s3:resourceaccount": account_id}

    return _with(house, caller, action, resource, with_owner, policies, account_id)


def _function_policies(house: House, resource: str) -> tuple[str, ...]:
    """The policy of a function, or of the version or alias that the ARN names."""
    arn = Arn.parse(resource)
    parts = arn.resource.split(":")
    if len(parts) < 2:
        return ()
    record = house.records.get(Key("lambda.function", arn.account_id, arn.region, parts[1]))
    qualifier = parts[2] if len(parts) > 2 else ""
    by_qualifier: Mapping[str, Any] = record.document.get("policies", {}) if record is not None else {}
    stored: Mapping[str, Any] = by_qualifier.get(qualifier, {})
    if not stored.get("statements"):
        return ()
    return (orjson.dumps({"Version": "2012-10-17", "Statement": stored["statements"]}).decode(),)


def _on_function(
    house: House, caller: Caller, action: str, resource: str, context: ContextSource
) -> Decision:
    account_id = account_in(resource)
    own = _own(house, caller, action, resource, context)
    if not account_id or (account_id == caller.account_id and (own.allowed or own.explicit_deny)):
        return own
    return _with(house, caller, action, resource, context, _function_policies(house, resource), account_id)


def _model_package_policies(house: House, resource: str) -> tuple[str, ...]:
    """The policy of a model package group, which holds for its packages too."""
    arn = Arn.parse(resource)
    name = arn.resource_id.partition("/")[0]
    record = house.records.get(Key("sagemaker.model_package_group", arn.account_id, arn.region, name))
    policy = record.document.get("resourcePolicy") if record is not None else None
    return (policy,) if policy else ()
