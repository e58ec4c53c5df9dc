"""May they call this method? The step between a matched method and its integration.

In API Gateway's order: the signature that AWS_IAM wants, then policies (the caller's own and the API's), then the API key, then
the throttles of the key's usage plan and of the method. Who passes nothing of this leaves no trace in the function.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

from stagedoor.authz import sigv4
from stagedoor.authz.caller import ANONYMOUS, Caller
from stagedoor.authz.explanation import Asked
from stagedoor.authz.sigv4 import SignatureError
from stagedoor.domain.errors import AwsError
from stagedoor.http.message import Request
from stagedoor.public.api_keys import ApiKeys, KnownKey
from stagedoor.public.deployed import DeployedStage
from stagedoor.public.event import PublicRequest
from stagedoor.public.match import Match
from stagedoor.public.throttles import Throttles
from stagedoor.services import permissions, signers
from stagedoor.services.apigateway import method_settings
from stagedoor.services.call import House
from stagedoor.services.signature_errors import refusal

ACTION: Final = "execute-api:Invoke"
_SIGNED_HEADERS: Final = frozenset({"authorization", "x-amz-security-token"})
_SIGNED_PARAMETERS: Final = re.compile(
    r"X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token)(=|$)", re.IGNORECASE
)


@dataclass(slots=True)
class DeniedError(Exception):
    """The caller does not get in. ``asked`` explains a refusal by policies, for the log alone."""

    status: int
    code: str
    message: str
    member: str = "message"
    asked: Asked | None = field(default=None, repr=False)


class Door:
    """Lets callers of deployed methods in, or says why not."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._api_keys = ApiKeys(house.records)
        self._throttles = Throttles()

    async def admit(
        self, request: Request, described: PublicRequest, stage: DeployedStage, found: Match
    ) -> PublicRequest:
        """The request as the integration may see it: with who calls, and without the signature. DeniedError."""
        method = found.method
        signed = method["authorizationType"] == "AWS_IAM"
        caller = await self._signer(request, described.body) if signed else ANONYMOUS
        if signed or stage.policy:
            self._decide(request, described, stage, caller)
        identity: Mapping[str, str] = _identity(caller) if signed else {}
        if method["apiKeyRequired"]:
            key = await self._key(described, stage)
            identity = {**identity, "apiKey": key.value, "apiKeyId": key.key_id}
        self._throttle(stage, found.resource["path"], described.http_method)
        if not identity:
            return described
        described = replace(described, identity=identity)
        return _without_signature(described) if signed else described

    async def _signer(self, request: Request, body: bytes) -> Caller:
        house, now = self._house, self._house.clock.now()
        if not sigv4.is_signed(request.header, request.query):
            raise DeniedError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        try:
            claimed = signers.claim(request, "execute-api", house, now)
            signers.verify(claimed, request, await signers.payload_hash_of(body), house, now)
        except SignatureError as error:
            said: AwsError = refusal("apigateway", error, house.settings.clock_skew_s)
            raise DeniedError(403, said.code, said.message) from None
        signers.note_use(claimed, house, now)
        return claimed.caller

    def _decide(
        self, request: Request, described: PublicRequest, stage: DeployedStage, caller: Caller
    ) -> None:
        """The caller's policies and the API's. A path counts decoded and without empty parts, in whatever form it came."""
        house = self._house
        path = "/".join(part for part in unquote(described.path).split("/") if part)
        arn = (
            f"arn:aws:execute-api:{stage.region}:{stage.account_id}:{stage.api_id}/{stage.stage}/"
            f"{described.http_method}/{path}"
        )
        now = house.clock.now()

        def context() -> dict[str, str | list[str]]:
            return permissions.caller_context(caller, now) | permissions.request_context(
                now,
                stage.region,
                request.peer_host,
                request.scheme,
                described.header("user-agent"),
                described.header("referer"),
            )

        policies = (stage.policy,) if stage.policy else ()
        decision, asked = permissions.on_resource(
            house, caller, ACTION, arn, context, policies, stage.account_id
        )
        if decision.allowed:
            if house.role_activity is not None and caller.role_arn is not None:
                house.role_activity.note(caller.role_arn, ACTION, arn)
            return
        hidden = arn.replace(f":{stage.account_id}:", f":{'*' * 8}{stage.account_id[8:]}:", 1)
        who = "anonymous" if caller.kind == "anonymous" else caller.arn
        text = f"User: {who} is not authorized to perform: {ACTION} on resource: {hidden}"
        if decision.explicit_deny:
            text += " with an explicit deny"
        raise DeniedError(403, "AccessDeniedException", text, "Message", asked)

    async def _key(self, described: PublicRequest, stage: DeployedStage) -> KnownKey:
        value = described.header("x-api-key")
        key = await self._api_keys.find(value, stage.api_id, stage.stage) if value else None
        if key is None or key.account_region != (stage.account_id, stage.region):
            raise DeniedError(403, "ForbiddenException", "Forbidden")
        if key.throttle is not None:
            self._take(("key", key.plan_id, key.key_id), key.throttle)
        return key

    def _throttle(self, stage: DeployedStage, path: str, http_method: str) -> None:
        limit = method_settings.throttle(stage.method_settings, path, http_method)
        if limit is not None:
            self._take(("method", stage.api_id, stage.stage, path, http_method), limit)

    def _take(self, what: tuple[str, ...], limit: tuple[float, int]) -> None:
        if not self._throttles.take(what, *limit, self._house.clock.monotonic()):
            raise DeniedError(429, "TooManyRequestsException", "Too Many Requests")


def _identity(caller: Caller) -> Mapping[str, str]:
    """What the event's ``identity`` says of a signer. ``caller`` and ``user`` are both the unique id, as AWS has it."""
    return {
        "accountId": caller.account_id,
        "caller": caller.user_id,
        "user": caller.user_id,
        "userArn": caller.arn,
        "accessKey": caller.access_key_id,
    }


def _without_signature(described: PublicRequest) -> PublicRequest:
    """Whoever has a signature can repeat the request while it is fresh, so it goes no further than here."""
    headers = [(name, value) for name, value in described.headers if name.lower() not in _SIGNED_HEADERS]
    query = "&".join(part for part in described.query.split("&") if not _SIGNED_PARAMETERS.match(part))
    return replace(described, headers=headers, query=query)
