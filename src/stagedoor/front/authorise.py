"""May they? The step between a parsed request and its operation on the signed listener.

What an operation needs is data (``authz.actions``); what the caller may is decided from memory (``services.permissions``).
For the data path that is one look-up.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from stagedoor.authz import actions
from stagedoor.authz.caller import Caller
from stagedoor.domain.errors import AwsError
from stagedoor.front.authenticate import Authenticated
from stagedoor.services import permissions
from stagedoor.services.call import House
from stagedoor.wire.requests import WireRequest

# Sessions of users and of root (GetSessionToken) have no business with identities. GetSessionToken refuses them itself.
_SESSIONS_MAY: Final = frozenset({"AssumeRole", "GetCallerIdentity", "GetSessionToken"})


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
    if caller.kind == "anonymous":
        _refuse_anonymous(service, operation, parameters, house)
    for action, resource in needed:
        context = _context_source(authenticated, service, action, parameters, house)
        found = permissions.decision(house, caller, action, resource, context)
        if not found.allowed:
            if action == "iam:PassRole" and resource.split(":")[4] != caller.account_id:
                raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.")
            raise permissions.refusal(service, caller, action, resource, found)


def _refuse_plain_sessions(service: str, operation: str, caller: Caller) -> None:
    plain = caller.expires_at is not None and caller.kind in {"user", "root"}
    if plain and not (service == "sts" and operation in _SESSIONS_MAY):
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
    authenticated: Authenticated, service: str, action: str, parameters: Mapping[str, Any], house: House
) -> Callable[[], dict[str, str]]:
    def context() -> dict[str, str]:
        keys = permissions.caller_context(authenticated.caller) | permissions.request_context(
            house.clock.now(),
            authenticated.region,
            authenticated.peer_host,
            authenticated.scheme,
            authenticated.user_agent,
            authenticated.referer,
        )
        if action == "iam:PassRole":
            keys["iam:passedtoservice"] = actions.passed_to(service)
        if service == "s3":
            keys |= _s3_context(authenticated, parameters)
        return keys

    return context


def _s3_context(authenticated: Authenticated, parameters: Mapping[str, Any]) -> dict[str, str]:
    given = {
        "s3:prefix": parameters.get("Prefix"),
        "s3:delimiter": parameters.get("Delimiter"),
        "s3:max-keys": parameters.get("MaxKeys"),
        "s3:x-amz-acl": parameters.get("ACL"),
        "s3:authtype": authenticated.auth_type,
        "s3:signatureversion": authenticated.signature_version,
    }
    return {name: str(value) for name, value in given.items() if value is not None}
