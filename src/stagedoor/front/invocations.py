"""The steps of an ordinary InvokeEndpoint: who signed, may they, ask the model.

Place in the flow: ``front.listener`` takes them for what ``front.invocation_lane`` knows; so does every front process. The same steps as for
any operation, without looking anything up in the service's model, and without a task: an invocation whose body has arrived goes to its
worker within the turn of the loop that read it.
"""

from functools import cache, partial
from typing import Final

from stagedoor.domain import ids
from stagedoor.front import invocation_lane
from stagedoor.front.authenticate import Authenticated, authenticate, authenticate_now
from stagedoor.front.authorise import authorise, may_invoke
from stagedoor.front.body_limits import BodyLimit
from stagedoor.front.exchange import Exchange, Exchanges
from stagedoor.http.message import Answering, Pending, Request, Response
from stagedoor.services.call import House
from stagedoor.services.sagemaker_runtime import data_path
from stagedoor.traffic.endpoint_routes import EndpointKey
from stagedoor.wire.error_shapes import errors_of
from stagedoor.wire.requests import WireRequest

SERVICE: Final = "sagemaker-runtime"
OPERATION: Final = "InvokeEndpoint"


def answer(house: House, exchanges: Exchanges, request: Request, name: str) -> Answering:
    """The answer to an invocation of the endpoint called ``name``, logged: at once, when the worker has answered, or after more.

    ElsewhereError in a front process that lacks what it takes.
    """
    exchange = Exchange(
        request,
        ids.request_id(),
        SERVICE,
        None,
        OPERATION,
        "rest-json",
        errors=errors_of(SERVICE),
        received_s=house.clock.monotonic(),
    )
    exchange.body_limit = _body_limit(house.settings.invoke_body_max_bytes)
    try:
        begun = _begin(house, exchange, name)
    except Exception as error:  # noqa: BLE001 - failed raises again what leaves no answer
        response = exchanges.failed(exchange, error)
        exchanges.log(exchange, response)
        return response
    if begun is None:
        return _after_more(house, exchanges, exchange, name)
    return Pending(begun.answer, partial(_finish, exchanges, exchange, begun))


def _begin(house: House, exchange: Exchange, name: str) -> data_path.Invocation | None:
    """The steps until a worker has the invocation; None if something has to be waited for before."""
    authenticated = authenticate_now(exchange.request, SERVICE, house)
    if authenticated is None:
        return None
    return data_path.begin(house, *_permitted(house, exchange, authenticated, name))


def _finish(exchanges: Exchanges, exchange: Exchange, begun: data_path.Invocation) -> Response:
    try:
        response = invocation_lane.response(begun.result(), exchange.request_id)
    except Exception as error:  # noqa: BLE001 - failed raises again what leaves no answer
        response = exchanges.failed(exchange, error)
    exchanges.log(exchange, response)
    return response


async def _after_more(house: House, exchanges: Exchanges, exchange: Exchange, name: str) -> Response:
    """All steps, for an invocation whose body is still to come, or whose worker."""

    async def steps(exchange: Exchange) -> Response:
        limit_bytes = house.settings.invoke_body_max_bytes
        authenticated = await authenticate(exchange.request, SERVICE, house, limit_bytes)
        result = await data_path.invoke(house, *_permitted(house, exchange, authenticated, name))
        return invocation_lane.response(result, exchange.request_id)

    response = await exchanges.answer(exchange, steps)
    exchanges.log(exchange, response)
    return response


def _permitted(
    house: House, exchange: Exchange, authenticated: Authenticated, name: str
) -> tuple[EndpointKey, data_path.Wanted]:
    """What is asked of which endpoint, by somebody who may. RefusedError."""
    request, caller, body = exchange.request, authenticated.caller, authenticated.body
    assert isinstance(body, bytes)
    exchange.caller_arn = caller.arn
    header = request.header
    if not may_invoke(authenticated, name, house):
        parameters = invocation_lane.parameters(name, header, body)
        wire_request = WireRequest(request.method, request.path, request.query, header, body)
        authorise(authenticated, SERVICE, OPERATION, parameters, wire_request, house)
    wanted = data_path.Wanted(exchange.received_s, body, header.get("content-type"), header.get("accept"))
    return EndpointKey(caller.account_id, authenticated.region, name), wanted


@cache
def _body_limit(limit_bytes: int) -> BodyLimit:
    return BodyLimit(SERVICE, "", limit_bytes)
