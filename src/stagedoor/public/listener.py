"""The public listener: deployed APIs and bucket websites, and nothing that needs a signature.

Steps: what does the URL name -> which stage is deployed there -> which method -> may they call it -> its
integration -> the answer.
"""

import secrets
import time
from collections.abc import Callable
from http import HTTPStatus

from stagedoor.domain import ids
from stagedoor.http.message import BodyTooLargeError, Request, Response
from stagedoor.public import event, integrations, match, websites
from stagedoor.public.addressing import ApiAddress, api_address, website_address
from stagedoor.public.authorise import DeniedError, Door
from stagedoor.public.deployed import DeployedStage, DeployedStages
from stagedoor.public.event import PublicRequest
from stagedoor.public.execution_log import ExecutionLog
from stagedoor.services.call import House
from stagedoor.services.denials import Denials
from stagedoor.services.trial import Trial, TrialResult

BODY_MAX_BYTES = 10 * 1024 * 1024
HEALTH_PATH = "/_stagedoor/health"
TRIAL_STAGE = "test-invoke-stage"
TRIAL_SOURCE_IP = "test-invoke-source-ip"


class PublicListener:
    """Answers requests of the public listener; the signed listener hands its public API requests here too."""

    def __init__(self, house: House, health: Callable[[], bytes], denials: Denials) -> None:
        self._house = house
        self._denials = denials
        self._door = Door(house)
        self._health = health
        self._stages = DeployedStages(house.records)

    def claims(self, request: Request) -> bool:
        """Whether the request is for a deployed API, by host or path: the one thing served without a signature."""
        host, path = request.header.get("host", ""), request.path
        if "execute-api" not in host.lower() and not path.startswith(("/_aws/", "/restapis/")):
            return False  # every request on the signed listener comes by here
        return api_address(host, path) is not None

    async def handle(self, request: Request) -> Response:
        """One request, one response."""
        if request.path == HEALTH_PATH and request.method in ("GET", "HEAD"):
            return Response(200, [("content-type", "application/json")], self._health())
        if request.method == "CONNECT":
            return Response(
                HTTPStatus.METHOD_NOT_ALLOWED, [("content-type", "text/plain")], b"no proxy here\n"
            )
        host = request.header.get("host", "")
        api = api_address(host, request.path)
        if api is not None:
            return await self._call_api(request, api)
        website = website_address(host, request.path)
        if website is not None:
            return await websites.answer(self._house, request, website.bucket, website.path)
        return Response(
            HTTPStatus.NOT_FOUND,
            [("content-type", "text/plain; charset=utf-8")],
            b"Nothing is public here. APIs are at <api-id>.execute-api.localhost/<stage>/<path>, "
            b"websites at <bucket>.s3-website.localhost/. AWS APIs are on the signed listener.\n",
        )

    async def _call_api(self, request: Request, api: ApiAddress) -> Response:
        try:
            body = await request.body.read(BODY_MAX_BYTES)
        except BodyTooLargeError:
            refused = self._described(request, api, b"")
            response = integrations.gateway_response(
                413, "Request Too Long", "RequestTooLargeException", refused
            )
            response.close = True
            return response
        described = self._described(request, api, body)
        stage = await self._stages.find(api.api_id, api.stage)
        if stage is None:
            return integrations.gateway_response(403, "Forbidden", "ForbiddenException", described)
        found = match.match(stage.routes, request.method, api.path)
        if found is None:
            return integrations.gateway_response(
                403, "Missing Authentication Token", "MissingAuthenticationTokenException", described
            )
        try:
            described = await self._door.admit(request, described, stage, found)
        except DeniedError as denied:
            if denied.asked is not None:
                self._denials.note(described.request_id, "execute-api", "Invoke", denied.asked)
            return integrations.gateway_response(
                denied.status, denied.message, denied.code, described, denied.member
            )
        return await integrations.answer(self._house, described, stage, found)

    async def try_method(self, trial: Trial) -> TrialResult:
        """Run a method that need not be deployed (TestInvokeMethod)."""
        started_s = self._house.clock.monotonic()
        stage = DeployedStage(
            trial.api_id,
            trial.account_id,
            trial.region,
            TRIAL_STAGE,
            "",
            trial.stage_variables,
            trial.binary_media_types,
            match.build(trial.resources),
        )
        described = PublicRequest(
            trial.http_method if trial.http_method != "ANY" else "GET",
            trial.path,
            trial.query,
            trial.headers,
            trial.body,
            TRIAL_SOURCE_IP,
            "https",
            "HTTP/1.1",
            ids.request_id(),
            secrets.token_urlsafe(11) + "=",
            self._house.clock.now(),
            is_trial=True,
            identity=trial.identity,
        )
        found = match.match(stage.routes, described.http_method, trial.path)
        if found is None or found.resource["id"] != trial.resource_id:
            found = match.Match(
                trial.resources[trial.resource_id],
                trial.resources[trial.resource_id]["resourceMethods"][trial.http_method],
                {},
            )
        execution = ExecutionLog(described.request_id, self._house.clock)
        execution.request(
            described.http_method,
            found.resource["path"],
            found.path_parameters,
            event.grouped_query(described.query),
            described.headers,
            described.body,
        )
        response = await integrations.answer(self._house, described, stage, found, execution)
        body = response.body if isinstance(response.body, bytes) else b""
        if response.status < 500:
            execution.response(response.status, response.headers, body)
        execution.note(f"Method completed with status: {response.status}")
        return TrialResult(
            response.status,
            list(response.headers),
            body,
            str(execution),
            round((self._house.clock.monotonic() - started_s) * 1000),
        )

    def _described(self, request: Request, api: ApiAddress, body: bytes) -> PublicRequest:
        spelt = [(name, value) for name, (_, value) in zip(request.names, request.headers, strict=True)]
        if not request.header.get("x-amzn-trace-id"):
            spelt.append(("X-Amzn-Trace-Id", f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"))
        return PublicRequest(
            request.method,
            api.path,
            request.query,
            spelt,
            body,
            request.peer_host or "127.0.0.1",
            request.scheme,
            "HTTP/1.1",
            ids.request_id(),
            secrets.token_urlsafe(11) + "=",
            self._house.clock.now(),
        )
