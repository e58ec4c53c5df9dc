"""May they? The step between a parsed request and its operation on the signed listener.

What an operation needs is data (``authz.actions``); what the caller may is decided from memory (``services.permissions``).
For the data path that is one look-up.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from stagedoor.authz import actions, request_keys
from stagedoor.authz.caller import ANONYMOUS, Caller
from stagedoor.authz.conditions import Context
from stagedoor.domain.errors import AwsError
from stagedoor.front.authenticate import Authenticated
from stagedoor.services import permissions
from stagedoor.services.call import House
from stagedoor.wire.requests import WireRequest

# Sessions of users and of root (GetSessionToken) have no business with identities. GetSessionToken refuses them itself.
_SESSIONS_MAY: Final = frozenset({"AssumeRole", "GetCallerIdentity", "GetSessionToken"})
_FEDERATED_MAY: Final = frozenset({"GetCallerIdentity"})


def authorise(
    authenticated: Authenticated,
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    request: WireRequest,
    house: House,
) -> None:
    """AwsError AccessDenied or AccessDeniedException, naming principal, action and resource, unless the caller may."""
    caller = authenticated.caller
    if service in {"iam", "sts"}:
        _refuse_plain_sessions(service, operation, caller)
    asked = actions.Asked(
        operation,
        parameters,
        authenticated.region,
        authenticated.account_id,
        caller,
        request.method,
        request.path,
        house.principals.arn_of,
    )
    needed = actions.required(service, asked)
    if caller.kind == "anonymous" and (service, operation) != ("sts", "AssumeRoleWithWebIdentity"):
        _refuse_anonymous(service, operation, parameters, house)
    activity = house.role_activity if caller.role_arn is not None else None
    for action, resource in needed:
        context = _context_source(authenticated, service, operation, action, parameters, request, house)
        found = permissions.decision(house, caller, action, resource, context)
        if not found.allowed:
            if action == "iam:PassRole" and permissions.account_in(resource) != caller.account_id:
                raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.")
            raise permissions.refusal(house, service, caller, action, resource, found, context)
        if activity is not None and caller.role_arn is not None:
            passed_to = actions.passed_to(service) if action == "iam:PassRole" else ""
            activity.note(caller.role_arn, action, resource, passed_to)


def may_invoke(authenticated: Authenticated, endpoint_name: str, house: House) -> bool:
    """Whether it is known already that the caller may call this endpoint of its account. False says nothing: ``authorise``."""
    caller = authenticated.caller
    for action, resource in _invocation_needs(authenticated.region, authenticated.account_id, endpoint_name):
        if not permissions.is_known_to_be_allowed(caller, action, resource):
            return False
        if caller.role_arn is not None and house.role_activity is not None:
            house.role_activity.note(caller.role_arn, action, resource, "")
    return True


@lru_cache(4096)
def _invocation_needs(region: str, account_id: str, endpoint_name: str) -> Sequence[actions.Requirement]:
    """What ``authz.actions`` says of an InvokeEndpoint, which depends on nothing else."""
    asked = actions.Asked("InvokeEndpoint", {"EndpointName": endpoint_name}, region, account_id, ANONYMOUS)
    return actions.required("sagemaker-runtime", asked)


def _refuse_plain_sessions(service: str, operation: str, caller: Caller) -> None:
    plain = caller.expires_at is not None and caller.kind in {"user", "root", "federated-user"}
    # IAM takes the session of a user who showed a second factor.
    if plain and service == "iam" and caller.mfa_at is not None and caller.kind != "federated-user":
        return
    allowed = _FEDERATED_MAY if caller.kind == "federated-user" else _SESSIONS_MAY
    if plain and not (service == "sts" and operation in allowed):
        raise AwsError(
            "InvalidClientTokenId", "The security token included in the request is invalid", status=403
        )


def _refuse_anonymous(service: str, operation: str, parameters: Mapping[str, Any], house: House) -> None:
    """Nobody may make buckets or list them; whether a bucket's name is taken is no secret."""
    bucket = parameters.get("Bucket")
    if service != "s3" or operation in {"CreateBucket", "ListBuckets"} or not isinstance(bucket, str):
        raise AwsError("AccessDenied", "Access Denied", status=403)
    if house.objects.find_bucket(bucket) is None:
        raise AwsError(
            "NoSuchBucket",
            "The specified bucket does not exist",
            status=404,
            members={"BucketName": bucket},
        )


def _context_source(
    authenticated: Authenticated,
    service: str,
    operation: str,
    action: str,
    parameters: Mapping[str, Any],
    request: WireRequest,
    house: House,
) -> Callable[[], Context]:
    def context() -> Context:
        now = house.clock.now()
        keys: dict[str, str | list[str]] = {
            **permissions.caller_context(authenticated.caller, now),
            **permissions.request_context(
                now,
                authenticated.region,
                authenticated.request.peer_host,
                authenticated.request.scheme,
                authenticated.request.header.get("user-agent", ""),
                authenticated.request.header.get("referer", ""),
            ),
            **request_keys.of_request(service, operation, parameters),
        }
        if action == "iam:PassRole":
            keys["iam:passedtoservice"] = actions.passed_to(service)
        if service == "s3":
            keys |= _s3_context(authenticated, request)
        elif service == "iam":
            keys |= _iam_context(authenticated.account_id, operation, parameters, house)
        return keys

    return context


def _s3_context(authenticated: Authenticated, request: WireRequest) -> dict[str, str]:
    given = {
        "s3:authtype": authenticated.auth_type,
        "s3:signatureversion": authenticated.signature_version,
        "s3:x-amz-content-sha256": request.headers.get("x-amz-content-sha256"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _iam_context(
    account_id: str, operation: str, parameters: Mapping[str, Any], house: House
) -> dict[str, str]:
    """The boundary that is given, or that the entity has; the service that a service-linked role is for."""
    if operation == "CreateServiceLinkedRole":
        return {"iam:awsservicename": str(parameters.get("AWSServiceName", ""))}
    boundary = parameters.get("PermissionsBoundary")
    if not isinstance(boundary, str):
        kind = "role" if "RoleName" in parameters else "user"
        name = parameters.get(f"{kind.title()}Name")
        boundary = house.principals.boundary_arn(account_id, kind, name) if isinstance(name, str) else None
    return {"iam:permissionsboundary": boundary} if boundary else {}
