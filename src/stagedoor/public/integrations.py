"""What stands behind a method: a function or a mock. From a matched request to a response, whatever goes wrong.

Place in the flow: ``listener`` (deployed APIs) and TestInvokeMethod (an API as it is now) call ``answer``. What a caller
may know is in the response; why it happened goes to the log.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any

import orjson

from stagedoor.domain.errors import AwsError
from stagedoor.http.message import Response
from stagedoor.public import event, mock, proxy_answer
from stagedoor.public.deployed import DeployedStage
from stagedoor.public.event import PublicRequest
from stagedoor.public.execution_log import ExecutionLog, text_of
from stagedoor.public.match import Match
from stagedoor.services.apigateway.integrations import function_of
from stagedoor.services.call import House
from stagedoor.services.lambda_.invocations import InvokeResult, permits, run_function
from stagedoor.services.lambda_.naming import parse_reference

log = logging.getLogger(__name__)

_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.(\w+)\}")


def gateway_response(
    status: int, message: str, error_type: str, request: PublicRequest, member: str = "message"
) -> Response:
    """API Gateway's own answer, in the form of its default gateway responses."""
    headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error_type)]
    return Response(status, headers + trace_headers(request), orjson.dumps({member: message}))


def trace_headers(request: PublicRequest) -> list[tuple[str, str]]:
    """The ids that AWS puts on every answer of an API."""
    return [("x-amzn-RequestId", request.request_id), ("x-amz-apigw-id", request.extended_request_id)]


async def answer(
    house: House,
    request: PublicRequest,
    stage: DeployedStage,
    found: Match,
    execution: ExecutionLog | None = None,
) -> Response:
    """Run the method's integration. ``execution`` gets what the owner of the API may know and the caller may not."""
    integration: Mapping[str, Any] = found.method["methodIntegration"]
    failed: Response
    try:
        if integration["type"] == "MOCK":
            done = mock.response(request, stage, integration, found.resource["path"])
        else:
            done = await _function(house, request, stage, found, integration, execution)
            if trace_id := request.header("x-amzn-trace-id"):
                done.headers = [*done.headers, ("X-Amzn-Trace-Id", trace_id)]
        done.headers = [*done.headers, *trace_headers(request)]
        return done
    except mock.MockError as error:
        reason: object = error
        kind = "UnsupportedMediaTypeException" if error.status == 415 else "InternalServerErrorException"
        message = "Unsupported Media Type" if error.status == 415 else "Internal server error"
        failed = gateway_response(error.status, message, kind, request)
    except proxy_answer.MalformedAnswerError as error:
        reason = f"Malformed Lambda proxy response: {error}"
        failed = gateway_response(502, "Internal server error", "InternalServerErrorException", request)
    except TimeoutError:
        reason = f"the integration did not answer within {integration['timeoutInMillis']} ms"
        failed = gateway_response(504, "Endpoint request timed out", "InternalServerErrorException", request)
    except AwsError as error:
        reason = error
        failed = gateway_response(500, "Internal server error", "InternalServerErrorException", request)
    if execution is not None:
        execution.note(f"Execution failed: {reason}")
    log.warning(
        "an API could not answer: %s",
        reason,
        extra={
            "api_id": stage.api_id,
            "stage": stage.stage,
            "path": request.path,
            "request_id": request.request_id,
        },
    )
    return failed


async def _function(
    house: House,
    request: PublicRequest,
    stage: DeployedStage,
    found: Match,
    integration: Mapping[str, Any],
    execution: ExecutionLog | None,
) -> Response:
    """Ask the function's resource policy, then the function. A function that goes on after the time-out is not stopped."""
    uri = _STAGE_VARIABLE.sub(lambda match: stage.variables.get(match[1], ""), integration["uri"])
    function = function_of(uri)
    caller = event.source_arn(stage, found)
    ref = parse_reference(function, stage.account_id, stage.region)
    if not await permits(house, ref, "apigateway.amazonaws.com", caller, stage.account_id):
        raise AwsError(
            "AccessDeniedException",
            f"the resource policy of {function} does not allow apigateway.amazonaws.com to invoke it for {caller}; "
            "lambda add-permission with --principal apigateway.amazonaws.com and that --source-arn does",
            status=403,
        )
    payload = orjson.dumps(event.proxy_event(request, stage, found))
    endpoint = f"https://lambda.{stage.region}.amazonaws.com/2015-03-31/functions/{function}/invocations"
    if execution is not None:
        execution.note(f"Endpoint request URI: {endpoint}")
        execution.note(f"Endpoint request body after transformations: {text_of(payload)}")
        execution.note(f"Sending request to {endpoint}")
    started_s = house.clock.monotonic()
    running = asyncio.ensure_future(
        run_function(
            house,
            stage.account_id,
            stage.region,
            function,
            payload,
            trace_id=request.header("x-amzn-trace-id") or None,
        )
    )
    result: InvokeResult
    async with asyncio.timeout(integration["timeoutInMillis"] / 1000):
        result = await asyncio.shield(running)
    if execution is not None:
        latency_ms = (house.clock.monotonic() - started_s) * 1000
        execution.note(f"Received response. Status: 200, Integration latency: {latency_ms:.0f} ms")
        execution.note(f"Endpoint response body before transformations: {text_of(result.payload)}")
    if result.function_error is not None:
        raise proxy_answer.MalformedAnswerError(
            f"the function failed: {result.payload[:500].decode('utf-8', 'replace')}"
        )
    return proxy_answer.response(result.payload, request.header("accept"), stage.binary_media_types)
