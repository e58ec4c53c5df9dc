"""The signed listener: every AWS API call comes in here and is answered here.

One visible list of steps, in ``SignedListener.handle`` and ``_operate``: which service, who signed, which operation,
is the request well formed, may they, do it, say it in the caller's protocol.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from stagedoor.domain import ids
from stagedoor.domain.errors import AwsError
from stagedoor.front import body_limits, invocation_lane, post_object, s3_addressing, s3_cors
from stagedoor.front.access_log import AccessLog
from stagedoor.front.authenticate import authenticate, signing_name_of
from stagedoor.front.authorise import authorise, may_invoke
from stagedoor.front.body_limits import BodyLimit
from stagedoor.front.held_answers import HeldAnswers
from stagedoor.front.verified_body import VerifiedBody
from stagedoor.http.message import BodyTooLargeError, Request, Response
from stagedoor.services import container_credentials, registry
from stagedoor.services.call import Call, House
from stagedoor.services.denials import Denials
from stagedoor.services.lambda_ import code_links
from stagedoor.services.permissions import RefusedError
from stagedoor.services.s3 import integrity, objects
from stagedoor.services.sagemaker_runtime import data_path
from stagedoor.store import checksums
from stagedoor.wire import answers, errors, models, parse, routes, services, validate
from stagedoor.wire.requests import WireRequest

log = logging.getLogger(__name__)

HEALTH_PATH = "/_stagedoor/health"
OPERATION_THREADS = 16
_RUNTIME = "sagemaker-runtime"
# What takes a millisecond and more to read, to hash or to write is done in a thread: invocations do not wait for it.
_LONG_BYTES = 64 * 1024
_LONG_LIST = 50


@dataclass(slots=True)
class _Exchange:
    """What is known so far about one request, so that an error can be said in its protocol."""

    request: Request
    request_id: str
    service: str = "s3"
    operation: Any = None
    protocol: str | None = None
    caller_arn: str = ""
    body_limit: BodyLimit | None = None


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
        self._access_log = access_log
        self._denials = denials
        self._held_answers = held_answers
        self._threads = ThreadPoolExecutor(OPERATION_THREADS, thread_name_prefix="operation")

    @staticmethod
    def warm() -> None:
        """Load what the first request of each service would wait for: service models and operations. Blocks."""
        for name in registry.MODULES:
            models.service(name)
            registry.operations(name)
        checksums.load()

    async def handle(self, request: Request) -> Response:
        """One request, one response; whatever goes wrong is an answer in the caller's protocol."""
        if request.method == "CONNECT":
            return await self._proxy_answer(request)
        if request.path == HEALTH_PATH and request.method in ("GET", "HEAD"):
            return Response(200, [("content-type", "application/json")], self._health())
        if self._public_claims(request):
            return await self._public_answer(request)
        started_s = self._house.clock.monotonic()
        exchange = _Exchange(request, ids.request_id())
        try:
            invoked = invocation_lane.endpoint_name(request)
            if invoked is not None:
                response = await self._invoke(exchange, invoked)
            elif request.method == "OPTIONS" and "access-control-request-method" in request.header:
                response = await self._in_thread(s3_cors.preflight, self._house, request)
            elif request.path.startswith(code_links.PREFIX) and request.method in ("GET", "HEAD"):
                response = await self._in_thread(code_links.package, self._house, request)
            elif request.path == container_credentials.PATH and request.method == "GET":
                response = await self._in_thread(container_credentials.answer, self._house, request)
            else:
                response = await self._operate(exchange)
        except RefusedError as error:
            name = exchange.operation.name if exchange.operation is not None else "-"
            await self._in_thread(
                self._denials.note, exchange.request_id, exchange.service, name, error.asked
            )
            response = self._error(exchange, error)
        except AwsError as error:
            response = self._error(exchange, error)
        except BodyTooLargeError as error:
            limit = exchange.body_limit or BodyLimit(exchange.service, "", body_limits.DEFAULT_BYTES)
            response = self._error(exchange, limit.refusal(error))
            response.close = True
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            # The one place where a fault of ours becomes an answer; the traceback belongs to the log alone.
            log.exception("operation failed", extra={"request_id": exchange.request_id})
            response = self._error(
                exchange,
                AwsError(
                    "InternalError" if exchange.service == "s3" else "InternalFailure",
                    f"stagedoor failed on this request; its log has the cause under {exchange.request_id}.",
                    status=500,
                ),
            )
        if exchange.service == "s3" and "origin" in request.header and request.method != "OPTIONS":
            response.headers = [
                *response.headers,
                *await self._in_thread(s3_cors.answer_headers, self._house, request),
            ]
        self._access_log.write(
            exchange.request_id,
            exchange.service,
            exchange.operation.name if exchange.operation is not None else "-",
            response.status,
            self._house.clock.monotonic() - started_s,
            exchange.caller_arn,
        )
        return response

    async def _operate(self, exchange: _Exchange) -> Response:
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
        )
        if inspect.iscoroutinefunction(function):
            result = await function(call, parameters)
        else:
            result = await self._in_thread(function, call, parameters)
            asks = (authenticated.caller.access_key_id, authenticated.user_agent)
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

    async def _post(self, exchange: _Exchange, path: str) -> Response:
        """``_operate`` for a browser's form: its fields say who signed and what; the rest is a PutObject."""
        request, house = exchange.request, self._house
        upload = await post_object.read(request, path, house)
        authenticated = upload.authenticated
        exchange.caller_arn = authenticated.caller.arn
        exchange.operation = operation = models.service("s3").operation("PutObject")
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

    async def _invoke(self, exchange: _Exchange, name: str) -> Response:
        """``_operate`` for an ordinary InvokeEndpoint: the same steps without looking anything up in the service's model."""
        request, house = exchange.request, self._house
        exchange.service, exchange.protocol = _RUNTIME, "rest-json"
        exchange.operation = models.service(_RUNTIME).operation("InvokeEndpoint")
        exchange.body_limit = BodyLimit(_RUNTIME, "", house.settings.invoke_body_max_bytes)
        authenticated = await authenticate(request, _RUNTIME, house, exchange.body_limit.limit_bytes)
        caller, body = authenticated.caller, authenticated.body
        assert isinstance(body, bytes)
        exchange.caller_arn = caller.arn
        header = request.header
        if not may_invoke(authenticated, name, house):
            parameters = invocation_lane.parameters(name, header, body)
            wire_request = WireRequest(request.method, request.path, request.query, header, body)
            authorise(authenticated, _RUNTIME, "InvokeEndpoint", parameters, wire_request, house)
        result = await data_path.invoke(
            house,
            authenticated.account_id,
            authenticated.region,
            name,
            body,
            content_type=header.get("content-type"),
            accept=header.get("accept"),
        )
        return invocation_lane.response(result, exchange.request_id)

    async def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _error(self, exchange: _Exchange, error: AwsError) -> Response:
        answer = errors.serialise(
            models.service(exchange.service),
            exchange.operation,
            exchange.protocol or models.service(exchange.service).protocols[0],
            error,
            exchange.request_id,
            exchange.request.path,
        )
        headers = [*answer.headers, *error.headers.items()]
        return Response(answer.status, headers, answer.body)  # pyright: ignore[reportArgumentType]


def _parsed(exchange: _Exchange, request: WireRequest, labels: dict[str, str]) -> dict[str, Any]:
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
