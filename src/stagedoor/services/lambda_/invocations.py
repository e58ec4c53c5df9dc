"""Invoke: synchronous calls, events for later, dry runs; and who may invoke by a function's resource policy.

Place in the flow: ``front`` calls ``invoke``; API Gateway calls ``run_function`` after ``permits``. Coroutines on the event
loop: nothing here blocks it.
"""

import asyncio
import base64
import binascii
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import orjson

from stagedoor.authz.caller import service_caller
from stagedoor.authz.conditions import Context
from stagedoor.authz.policy import Question, decide
from stagedoor.authz.policy_document import PolicyError
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call, House
from stagedoor.services.lambda_.naming import (
    EVENT_KIND,
    PAYLOAD_KIND,
    FunctionRef,
    invalid,
    parse_reference,
    requested_function,
)
from stagedoor.services.lambda_.routing import route_of
from stagedoor.store.records import Key
from stagedoor.traffic.function_routes import FunctionRoute
from stagedoor.traffic.function_runs import FunctionEvent, run

MAX_PAYLOAD_BYTES = 6_291_456
MAX_EVENT_BYTES = 1_048_576
_MAX_CLIENT_CONTEXT_BYTES = 3_583
_PARSED_IN_LOOP_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What an invocation answered. ``payload`` is JSON text, an error payload when ``function_error`` is set
    (``Unhandled``); ``executed_version`` the version that ran; ``log_tail`` the last 4 KB of its log.
    """

    payload: bytes
    function_error: str | None
    executed_version: str
    log_tail: bytes
    request_id: str


async def invoke(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The operation: RequestResponse (200), Event (202, queued durably) or DryRun (204)."""
    for member in ("DurableExecutionName", "TenantId"):
        if request.get(member):
            raise invalid(f"stagedoor does not support {member} for Invoke.")
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    route = await route_of(call.house, ref)
    kind = request.get("InvocationType") or "RequestResponse"
    if kind == "DryRun":
        return {"StatusCode": 204, "Payload": b""}
    payload: bytes = request.get("Payload") or b""
    await _check_payload(payload, MAX_EVENT_BYTES if kind == "Event" else MAX_PAYLOAD_BYTES, kind)
    if kind == "Event":
        await asyncio.to_thread(_queue, call, ref, payload)
        return {"StatusCode": 202, "Payload": b""}
    client_context = _client_context(request.get("ClientContext"))
    trace_id = call.request.header.get("x-amzn-trace-id") if call.request is not None else None
    result = await _run(
        call.house,
        route,
        payload,
        request_id=call.request_id,
        client_context=client_context,
        trace_id=trace_id,
    )
    answer: dict[str, Any] = {
        "StatusCode": 200,
        "Payload": result.payload,
        "ExecutedVersion": result.executed_version,
    }
    if result.function_error is not None:
        answer["FunctionError"] = result.function_error
    if request.get("LogType") == "Tail":
        answer["LogResult"] = base64.b64encode(result.log_tail).decode()
    return answer


async def run_function(
    house: House,
    account_id: str,
    region: str,
    function: str,
    payload: bytes,
    *,
    qualifier: str | None = None,
    request_id: str | None = None,
    client_context: str | None = None,
    trace_id: str | None = None,
) -> InvokeResult:
    """Invoke a function for a service of the house (API Gateway), synchronously.

    ``function`` is a name or an ARN, perhaps qualified; ``payload`` is JSON text; ``client_context`` too. AwsError:
    ResourceNotFoundException, TooManyRequestsException (429), RequestTooLargeException. What fails inside the function is
    a result with ``function_error``.
    """
    ref = parse_reference(function, account_id, region, qualifier)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise too_large(MAX_PAYLOAD_BYTES, "Invoke")
    return await _run(
        house,
        await route_of(house, ref),
        payload,
        request_id=request_id or str(uuid.uuid4()),
        client_context=client_context,
        trace_id=trace_id,
    )


async def _run(
    house: House,
    route: FunctionRoute,
    payload: bytes,
    *,
    request_id: str,
    client_context: str | None,
    trace_id: str | None,
) -> InvokeResult:
    event = FunctionEvent(
        request_id, route.arn, payload, client_context, trace_id or _new_trace(house.clock.now())
    )
    result = await run(house.function_pools, route.pick(), event)
    return InvokeResult(result.payload, result.function_error, result.version, result.log_tail, request_id)


def _new_trace(now: float) -> str:
    return f"Root=1-{int(now):08x}-{secrets.token_hex(12)};Sampled=0"


async def permits(
    house: House,
    ref: FunctionRef,
    service_principal: str,
    source_arn: str,
    source_account_id: str | None = None,
) -> bool:
    """Whether a function's resource policy lets a service invoke it for a resource.

    ``source_arn`` is what the service acts for (``arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH``), and
    ``source_account_id`` whose that is. ResourceNotFoundException when there is no such function or qualifier.
    """
    route = await route_of(house, ref)
    if route.policy is None:
        return False
    context: Context = {"aws:sourcearn": source_arn}
    if source_account_id is not None:
        context = {**context, "aws:sourceaccount": source_account_id}
    question = Question(service_caller(service_principal), "lambda:InvokeFunction", route.arn, context)
    try:
        return decide(question, resource_policies=(route.policy,), resource_account_id=ref.account_id).allowed
    except PolicyError:
        return False


def too_large(limit_bytes: int, operation: str) -> AwsError:
    """413 for a payload; ``operation`` is ``Invoke``, or ``InvokeAsync`` for events."""
    return AwsError(
        "RequestTooLargeException",
        f"Request must be smaller than {limit_bytes} bytes for the {operation}Function operation",
        status=413,
    )


async def _check_payload(payload: bytes, limit_bytes: int, kind: str) -> None:
    if len(payload) > limit_bytes:
        raise too_large(limit_bytes, "InvokeAsync" if kind == "Event" else "Invoke")
    if not payload:
        return
    try:
        if len(payload) > _PARSED_IN_LOOP_BYTES:
            await asyncio.to_thread(orjson.loads, payload)
        else:
            orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise AwsError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
            status=400,
        ) from error


def _client_context(encoded: str | None) -> str | None:
    if not encoded:
        return None
    try:
        if len(encoded) > _MAX_CLIENT_CONTEXT_BYTES:
            raise ValueError(f"longer than {_MAX_CLIENT_CONTEXT_BYTES} bytes")
        text = base64.b64decode(encoded, validate=True).decode()
        if not isinstance(orjson.loads(text), dict):
            raise ValueError("not an object")
    except (binascii.Error, ValueError) as error:
        raise AwsError(
            "InvalidRequestContentException",
            f"Client context must be a valid Base64-encoded JSON object: {error}",
            status=400,
        ) from error
    return text


def _queue(call: Call, ref: FunctionRef, payload: bytes) -> None:
    """Store an event; the commit wakes the reconciler that runs it. Names sort by the time of arrival."""
    key = Key(EVENT_KIND, ref.account_id, ref.region, f"{int(call.now * 1000):015d}-{call.request_id}")
    document = {
        "function": ref.name,
        "qualifier": ref.qualifier,
        "requestId": call.request_id,
        "acceptedAt": call.now,
        "attempts": 0,
        "dueAt": call.now,
    }
    with call.house.records.transaction() as transaction:
        transaction.insert(key, document)
        # Beside it, so that whoever looks at the queue need not read every payload.
        transaction.insert(key._replace(kind=PAYLOAD_KIND), {"payload": payload.decode()})
