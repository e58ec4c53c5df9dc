"""The signed listener: every AWS API call comes in here and is answered here.

One visible list of steps, in ``SignedListener.handle`` and ``_operate``: which service, who signed, which operation,
is the request well formed, may they, do it, say it in the caller's protocol.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from stagedoor.domain import ids
from stagedoor.front import body_limits, invocation_lane, invocations, post_object, s3_addressing, s3_cors
from stagedoor.front.access_log import AccessLog
from stagedoor.front.authenticate import authenticate, signing_name_of
from stagedoor.front.authorise import authorise
from stagedoor.front.exchange import Exchange, Exchanges
from stagedoor.front.held_answers import HeldAnswers
from stagedoor.front.verified_body import VerifiedBody
from stagedoor.http.message import Answering, Request, Response
from stagedoor.services import container_credentials, registry
from stagedoor.services.call import Call, House
from stagedoor.services.denials import Denials
from stagedoor.services.lambda_ import code_links
from stagedoor.services.s3 import integrity, objects
from stagedoor.store import checksums
from stagedoor.wire import answers, models, parse, routes, services, validate
from stagedoor.wire.requests import WireRequest

HEALTH_PATH = "/_stagedoor/health"
OPERATION_THREADS = 16
# What takes a millisecond and more to read, to hash or to write is done in a thread: invocations do not wait for it.
_LONG_BYTES = 64 * 1024
_LONG_LIST = 50


class SignedListener:
    """Answers requests of the signed listener. ``public_claims`` and ``public_answer`` serve deployed APIs here too,
    ``proxy_answer`` what a client asks it as its proxy.
    """

    def __init__(
        self,
        house: House,
        health: Callable[[], bytes],
        public_claims: Callable[[Request], bool],
        public_answer: Callable[[Request], Awaitable[Response]],
        proxy_answer: Callable[[Request], Awaitable[Response]],
        access_log: AccessLog,
        denials: Denials,
        held_answers: HeldAnswers,
    ) -> None:
        self._house = house
        self._health = health
        self._public_claims = public_claims
        self._public_answer = public_answer
        self._proxy_answer = proxy_answer
        self._held_answers = held_answers
        self._threads = ThreadPoolExecutor(OPERATION_THREADS, thread_name_prefix="operation")
        self._exchanges = Exchanges(house.clock, access_log, denials)

    @staticmethod
    def warm() -> None:
        """Load what the first request of each service would wait for: service models and operations. Blocks."""
        for name in registry.MODULES:
            models.service(name)
            registry.operations(name)
        checksums.load()

    def handle(self, request: Request) -> Answering:
        """One request, one response; whatever goes wrong is an answer in the caller's protocol."""
        invoked = invocation_lane.endpoint_name(request)
        if invoked is not None and not self._public_claims(request):
            return invocations.answer(self._house, self._exchanges, request, invoked)
        return self._handle(request)

    async def _handle(self, request: Request) -> Response:
        if request.method == "CONNECT":
            return await self._proxy_answer(request)
        if request.path == HEALTH_PATH and request.method in ("GET", "HEAD"):
            return Response(200, [("content-type", "application/json")], self._health())
        if self._public_claims(request):
            return await self._public_answer(request)
        exchange = Exchange(request, ids.request_id(), received_s=self._house.clock.monotonic())
        response = await self._exchanges.answer(exchange, self._steps)
        if exchange.service == "s3" and "origin" in request.header and request.method != "OPTIONS":
            response.headers = [
                *response.headers,
                *await self._in_thread(s3_cors.answer_headers, self._house, request),
            ]
        self._exchanges.log(exchange, response)
        return response

    async def _steps(self, exchange: Exchange) -> Response:
        request = exchange.request
        if request.method == "OPTIONS" and "access-control-request-method" in request.header:
            return await self._in_thread(s3_cors.preflight, self._house, request)
        if request.path.startswith(code_links.PREFIX) and request.method in ("GET", "HEAD"):
            return await self._in_thread(code_links.package, self._house, request)
        if request.path == container_credentials.PATH and request.method == "GET":
            return await self._in_thread(container_credentials.answer, self._house, request)
        return await self._operate(exchange)

    async def _operate(self, exchange: Exchange) -> Response:
        request, house = exchange.request, self._house
        path = request.path
        signing_name = signing_name_of(request)
        unread = WireRequest(request.method, path, request.query, request.header, b"")
        exchange.service = services.speaks_like(unread, signing_name)
        exchange.service = services.detect(unread, signing_name)
        exchange.protocol = routes.protocol_of(models.service(exchange.service), unread)
        if exchange.service == "s3":
            path = s3_addressing.path_style(request.header.get("host", ""), path)
            if post_object.is_form(request, path):
                return await self._post(exchange, path)

        exchange.body_limit = body_limits.body_limit(exchange.service, unread, house.settings)
        limit_bytes = exchange.body_limit.limit_bytes
        authenticated = await authenticate(request, exchange.service, house, limit_bytes)
        exchange.caller_arn = authenticated.caller.arn

        service = models.service(exchange.service)
        wire_request = WireRequest(request.method, path, request.query, request.header, authenticated.body)
        exchange.operation, exchange.protocol, labels = routes.operation_of(service, wire_request)
        operation = exchange.operation
        exchange.operation_name = operation.name
        function = registry.operation(exchange.service, operation.name)
        if not operation.has_streaming_input:
            wire_request = await _whole(wire_request, limit_bytes)
        body = wire_request.body
        if isinstance(body, bytes) and len(body) > _LONG_BYTES:
            parameters = await self._in_thread(_parsed, exchange, wire_request, labels)
        else:
            parameters = _parsed(exchange, wire_request, labels)
        authorise(authenticated, exchange.service, operation.name, parameters, wire_request, house)

        call = Call(
            exchange.service,
            operation.name,
            authenticated.account_id,
            authenticated.region,
            authenticated.caller,
            exchange.request_id,
            house,
            request,
            exchange.received_s,
        )
        if inspect.iscoroutinefunction(function):
            result = await function(call, parameters)
        else:
            result = await self._in_thread(function, call, parameters)
            asks = (authenticated.caller.access_key_id, request.header.get("user-agent", ""))
            self._held_answers.note(operation.name, parameters, *asks)
            if self._held_answers.holds(operation.name, result, *asks):
                result = await self._held_answers.settled(
                    operation.name,
                    parameters,
                    call.account_id,
                    call.region,
                    lambda: self._in_thread(function, call, parameters),
                )
        to_serialise = (operation, exchange.protocol, result, exchange.request_id)
        if any(
            isinstance(value, list) and len(cast("list[object]", value)) > _LONG_LIST
            for value in result.values()
        ):
            answer = await self._in_thread(answers.serialise, *to_serialise)
        else:
            answer = answers.serialise(*to_serialise)
        # The one status that no service model knows: a part of an object.
        status = 206 if exchange.service == "s3" and "ContentRange" in result else answer.status
        return Response(status, answer.headers, answer.body)  # pyright: ignore[reportArgumentType]

    async def _post(self, exchange: Exchange, path: str) -> Response:
        """``_operate`` for a browser's form: its fields say who signed and what; the rest is a PutObject."""
        request, house = exchange.request, self._house
        upload = await post_object.read(request, path, house)
        authenticated = upload.authenticated
        exchange.caller_arn = authenticated.caller.arn
        exchange.operation = operation = models.service("s3").operation("PutObject")
        exchange.operation_name = operation.name
        labels = {"Bucket": upload.bucket, "Key": upload.key}
        parameters = parse.request(operation, "rest-xml", upload.request, labels)
        validate.request(operation, parameters)
        authorise(authenticated, "s3", "PutObject", parameters, upload.request, house)
        call = Call(
            "s3",
            "PutObject",
            authenticated.account_id,
            authenticated.region,
            authenticated.caller,
            exchange.request_id,
            house,
        )
        result = await objects.put_object(call, parameters)
        return post_object.answer(upload, request, result["ETag"], exchange.request_id)

    async def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _parsed(exchange: Exchange, request: WireRequest, labels: dict[str, str]) -> dict[str, Any]:
    """The request's parameters, well formed."""
    operation = exchange.operation
    assert exchange.protocol is not None
    if exchange.service == "s3" and not operation.has_streaming_input and isinstance(request.body, bytes):
        integrity.check_document(operation.name, exchange.request.header, request.body)
    parameters = parse.request(operation, exchange.protocol, request, labels)
    validate.request(operation, parameters)
    return parameters


async def _whole(request: WireRequest, limit_bytes: int) -> WireRequest:
    """The same request with its body read (S3's stream). BodyTooLargeError beyond the limit."""
    if not isinstance(request.body, VerifiedBody):
        return request
    body = await request.body.read(limit_bytes)
    return WireRequest(request.method, request.path, request.query, request.headers, body)
