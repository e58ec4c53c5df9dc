"""Temporary credentials for people whom IAM does not know: GetFederationToken and AssumeRoleWithWebIdentity."""

from collections.abc import Mapping
from typing import Any, Final, cast

from stagedoor.authz import web_tokens
from stagedoor.authz.caller import web_identity
from stagedoor.authz.request_keys import request_tags
from stagedoor.authz.session_tokens import SessionClaims
from stagedoor.authz.web_tokens import WebToken, WebTokenError
from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.principals import session_arn
from stagedoor.services.sts import issuer_keys
from stagedoor.services.sts import session_requests as requests
from stagedoor.store.records import Document, Key

_FEDERATED_DEFAULT_S: Final = 43_200
_ROOT_MAX_S: Final = 3_600
_TAGS_CLAIM: Final = "https://aws.amazon.com/tags"
_WEB_ACTION: Final = "sts:AssumeRoleWithWebIdentity"


def get_federation_token(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Credentials of a federated user: what the calling user may, narrowed by the policies given with the request.

    Without a policy they may do only what a resource's policy allows to the federated user by name.
    """
    requests.refuse(request, "MinimumSessionTokenSize")
    caller = call.caller
    if caller.kind not in {"user", "root"} or caller.expires_at is not None:
        raise AwsError("AccessDenied", "Cannot call GetFederationToken with session credentials", status=403)
    name = request["Name"]
    duration_s = request.get("DurationSeconds") or _FEDERATED_DEFAULT_S
    if caller.kind == "root":
        duration_s = min(duration_s, _ROOT_MAX_S)
    now = int(call.now)
    claims = SessionClaims(
        kind="federated-user",
        account_id=caller.account_id,
        arn=f"arn:aws:sts::{caller.account_id}:federated-user/{name}",
        user_id=f"{caller.account_id}:{name}",
        principal_id=caller.user_id,
        issued_at=now,
        expires_at=now + duration_s,
        session_name=name,
        session_policies=requests.session_policies(request),
        session_policy_arns=requests.session_policy_arns(call, caller.account_id, request),
        tags=requests.tags_of(request),
        source_arn=caller.arn,
    )
    return {
        "Credentials": requests.shown(call.house.session_tokens.issue(claims)),
        "FederatedUser": {"FederatedUserId": claims.user_id, "Arn": claims.arn},
        **requests.packed_size(request, claims),
    }


def assume_role_with_web_identity(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Credentials of a role for whoever an OpenID Connect provider of the role's account vouches for.

    The token's signature is checked with the issuer's keys as the server was given them (setting ``oidc_keys``): nothing is
    fetched. This operation needs no signature of its own.
    """
    requests.refuse(request, "ProviderId", "MinimumSessionTokenSize")
    role_arn, session_name = request["RoleArn"], request["RoleSessionName"]
    token = _token(call, request["WebIdentityToken"])
    provider = _provider(call, role_arn, token)
    caller = web_identity(provider["Arn"], token.subject)
    try:
        role = requests.role_to_assume(call, role_arn, caller, _WEB_ACTION)
    except AwsError as error:
        raise _not_authorised() if error.code == "AccessDenied" else error from None
    tags, transitive = _tags(token.claims)
    context = requests.trust_context(call, request, role)
    context |= {f"{provider['Url'].lower()}:{name}": value for name, value in token.condition_keys().items()}
    context |= {"aws:federatedprovider": provider["Arn"], **request_tags(tags)}
    for action in (_WEB_ACTION, *(["sts:TagSession"] if tags else [])):
        if not requests.trusts(role, caller, action, context).allowed:
            raise _not_authorised(action)
    now = int(call.now)
    duration_s = requests.role_duration_s(caller, role, request.get("DurationSeconds"))
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
        session_policies=requests.session_policies(request),
        session_policy_arns=requests.session_policy_arns(call, account_id, request),
        tags=tags,
        transitive_tag_keys=transitive,
        source_arn=token.subject,
        federated_provider=provider["Arn"],
    )
    return {
        "Credentials": requests.shown(call.house.session_tokens.issue(claims)),
        "SubjectFromWebIdentityToken": token.subject,
        "AssumedRoleUser": {"AssumedRoleId": claims.user_id, "Arn": claims.arn},
        "Provider": token.issuer,
        "Audience": token.audiences[0],
        **requests.packed_size(request, claims),
    }


def _not_authorised(action: str = _WEB_ACTION) -> AwsError:
    return AwsError("AccessDenied", f"Not authorized to perform {action}", status=403)


def _token(call: Call, text: str) -> WebToken:
    """The token, its signature checked and its time right."""
    try:
        unchecked = web_tokens.parse(text)
    except WebTokenError as error:
        raise AwsError("InvalidIdentityToken", str(error), status=400) from None
    keys = issuer_keys.keys_of(call.house.settings.oidc_keys, unchecked.issuer)
    if keys is None:
        raise AwsError(
            "IDPCommunicationError",
            f"The keys of {unchecked.issuer} are not known to this server: it fetches nothing. Name a file that holds them in "
            "the setting oidc_keys.",
            status=400,
        )
    try:
        web_tokens.verify(unchecked, keys, call.now)
    except web_tokens.ExpiredError as error:
        raise AwsError("ExpiredTokenException", str(error), status=400) from None
    except WebTokenError as error:
        raise AwsError("InvalidIdentityToken", str(error), status=400) from None
    return unchecked


def _provider(call: Call, role_arn: str, token: WebToken) -> Document:
    """The record of the token's issuer in the role's account, which takes tokens for the token's audience."""
    try:
        account_id = Arn.parse(role_arn).account_id
    except ValueError:
        raise requests.invalid(f"{role_arn} is invalid") from None
    issuer = token.issuer.removeprefix("https://").rstrip("/")
    record = call.house.records.get(Key("iam.oidc_provider", account_id, "", issuer))
    if record is None:
        raise AwsError(
            "InvalidIdentityToken",
            f"No OpenIDConnect provider found in your account for {token.issuer}",
            status=400,
        )
    if not set(token.audiences) & set(record.document["ClientIDList"]):
        raise AwsError("InvalidIdentityToken", "Incorrect token audience", status=400)
    return dict(record.document)


def _tags(claims: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The session tags that the provider put into the token."""
    stated = _mapping(claims.get(_TAGS_CLAIM))
    tags: dict[str, str] = {}
    for name, values in _mapping(stated.get("principal_tags")).items():
        given: list[Any] = cast("list[Any]", values) if isinstance(values, list) else [values]
        if given:
            tags[name] = str(given[0])
    transitive: Any = stated.get("transitive_tag_keys")
    names = [str(one) for one in cast("list[Any]", transitive)] if isinstance(transitive, list) else []
    return tags, tuple(name for name in names if name in tags)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
