"""The steps of an ordinary InvokeEndpoint: who signed, may they, ask the model.

Place in the flow: ``front.listener`` takes them for what ``front.invocation_lane`` knows; so does every front process. The same steps as for
any operation, without looking anything up in the service's model.
"""

from typing import Final

from stagedoor.front import invocation_lane
from stagedoor.front.authenticate import authenticate
from stagedoor.front.authorise import authorise, may_invoke
from stagedoor.front.body_limits import BodyLimit
from stagedoor.front.exchange import Exchange
from stagedoor.http.message import Response
from stagedoor.services.call import House
from stagedoor.services.sagemaker_runtime import data_path
from stagedoor.wire.error_shapes import errors_of
from stagedoor.wire.requests import WireRequest

SERVICE: Final = "sagemaker-runtime"
OPERATION: Final = "InvokeEndpoint"


async def invoke(house: House, exchange: Exchange, name: str) -> Response:
    """Invoke the endpoint called ``name``. AwsError, BodyTooLargeError."""
    request = exchange.request
    exchange.service, exchange.protocol, exchange.operation_name = SERVICE, "rest-json", OPERATION
    exchange.errors = errors_of(SERVICE)
    exchange.body_limit = BodyLimit(SERVICE, "", house.settings.invoke_body_max_bytes)
    authenticated = await authenticate(request, SERVICE, house, exchange.body_limit.limit_bytes)
    caller, body = authenticated.caller, authenticated.body
    assert isinstance(body, bytes)
    exchange.caller_arn = caller.arn
    header = request.header
    if not may_invoke(authenticated, name, house):
        parameters = invocation_lane.parameters(name, header, body)
        wire_request = WireRequest(request.method, request.path, request.query, header, body)
        authorise(authenticated, SERVICE, OPERATION, parameters, wire_request, house)
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
