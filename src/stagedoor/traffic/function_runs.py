"""One event through one worker: time-out, crash, size of the answer, and the lines that frame it in the log.

Place in the flow: ``services.lambda_.invocations`` (callers) and ``reconcile.functions`` (queued events) run events here.
The function's own failures are answers, as on AWS: status 200 with an error payload; only what keeps it from running
(throttling) is raised.
"""

import asyncio
import math
import signal
from dataclasses import dataclass
from typing import Any

import orjson

from stagedoor.domain.clock import iso8601_ms
from stagedoor.traffic.channel import CallFaultError, CallTimeoutError, ChannelLostError
from stagedoor.traffic.function_output import FunctionOutput
from stagedoor.traffic.function_pools import FunctionPools, FunctionWorker, StartFailedError
from stagedoor.traffic.function_routes import FunctionVersion

MAX_RESPONSE_BYTES = 6_291_556
_OUTPUT_PATIENCE_S = 2.0
"""How long to wait for a worker's last output, and for the exit code of one that hung up."""


@dataclass(frozen=True, slots=True)
class FunctionEvent:
    """What a function is called with; ``payload`` is JSON text, ``client_context`` too (already decoded)."""

    request_id: str
    invoked_arn: str
    payload: bytes
    client_context: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of an event. ``function_error`` is ``Unhandled`` (or ``Handled``) when ``payload`` is an error."""

    payload: bytes
    function_error: str | None
    version: str
    log_tail: bytes


@dataclass(frozen=True, slots=True)
class _Outcome:
    """``status`` and ``error_type`` go into the REPORT line of what did not end well by itself, ``peak_bytes`` where the worker told it."""

    payload: bytes
    function_error: str | None = None
    status: str = ""
    error_type: str = ""
    peak_bytes: int | None = None


def _failure(error_type: str, message: str, *, status: str = "error") -> _Outcome:
    payload = orjson.dumps({"errorType": error_type, "errorMessage": message})
    return _Outcome(payload, "Unhandled", status, error_type)


async def run(pools: FunctionPools, version: FunctionVersion, event: FunctionEvent) -> RunResult:
    """Run one event; it goes on when the caller is cancelled. AwsError 429 when there is no room for it."""
    return await asyncio.shield(pools.keep_running(_run(pools, version, event)))


async def _run(pools: FunctionPools, version: FunctionVersion, event: FunctionEvent) -> RunResult:
    try:
        async with pools.lease(version) as worker:
            started = pools.clock.monotonic()
            worker.output.begin()
            worker.output.say(f"START RequestId: {event.request_id} Version: {version.key.version}")
            outcome = await _call(pools, worker, version, event)
            duration_s = pools.clock.monotonic() - started
            return _report(worker, version, event, outcome, duration_s)
    except StartFailedError as failed:
        output = failed.output
        output.begin()
        output.say(f"START RequestId: {event.request_id} Version: {version.key.version}")
        outcome = _start_failure(failed, version, event)
        _say_end(output, version, event, outcome, 0.0, None)
        return RunResult(outcome.payload, outcome.function_error, version.key.version, output.tail)


async def _call(
    pools: FunctionPools, worker: FunctionWorker, version: FunctionVersion, event: FunctionEvent
) -> _Outcome:
    assert worker.channel is not None
    meta: dict[str, Any] = {
        "request_id": event.request_id,
        "deadline_ms": int((pools.clock.now() + version.timeout_s) * 1000),
        "invoked_function_arn": event.invoked_arn,
    }
    if event.client_context is not None:
        meta["client_context"] = event.client_context
    if event.trace_id is not None:
        meta["trace_id"] = event.trace_id
    try:
        answer, body = await worker.channel.call(meta, event.payload, version.timeout_s)
    except CallTimeoutError:
        pools.condemn(worker)
        await _exit_code(worker)
        worker.output.flush()
        text = f"Task timed out after {version.timeout_s:.2f} seconds"
        worker.output.say(f"{iso8601_ms(pools.clock.now())} {event.request_id} {text}\n")
        return _failure("Sandbox.Timedout", f"RequestId: {event.request_id} Error: {text}", status="timeout")
    except ChannelLostError:
        pools.condemn(worker)
        exit_code = await _exit_code(worker)
        worker.output.flush()
        return _exit_failure(exit_code, event)
    except CallFaultError as fault:
        pools.condemn(worker)
        return _failure("Runtime.Unknown", f"RequestId: {event.request_id} Error: {fault.reason}")
    await worker.output.complete(event.request_id, _OUTPUT_PATIENCE_S)
    if len(body) > MAX_RESPONSE_BYTES:
        text = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
        return _failure("Function.ResponseSizeTooLarge", text)
    return _Outcome(body, answer.get("function_error"), peak_bytes=answer.get("peak_bytes"))


async def _exit_code(worker: FunctionWorker) -> int | None:
    try:
        return await asyncio.wait_for(asyncio.shield(worker.exit), _OUTPUT_PATIENCE_S)
    except TimeoutError:
        return None


def _exit_failure(exit_code: int | None, event: FunctionEvent) -> _Outcome:
    if exit_code is None or exit_code == 0:
        text = "Runtime exited without providing a reason"
    elif exit_code > 0:
        text = f"Runtime exited with error: exit status {exit_code}"
    else:
        text = f"Runtime exited with error: signal: {_signal_name(-exit_code)}"
    return _failure("Runtime.ExitError", f"RequestId: {event.request_id} Error: {text}")


def _signal_name(number: int) -> str:
    try:
        return (signal.strsignal(number) or str(number)).lower()
    except ValueError:
        return str(number)


def _start_failure(failed: StartFailedError, version: FunctionVersion, event: FunctionEvent) -> _Outcome:
    if failed.error is not None:
        payload = {**failed.error, "requestId": event.request_id}
        return _Outcome(orjson.dumps(payload), "Unhandled", "error", str(failed.error.get("errorType", "")))
    if failed.timed_out:
        text = f"RequestId: {event.request_id} Error: Task timed out after {version.timeout_s:.2f} seconds"
        return _failure("Sandbox.Timedout", text, status="timeout")
    if failed.exit_code is not None:
        return _exit_failure(failed.exit_code, event)
    return _failure("Runtime.StartError", f"RequestId: {event.request_id} Error: {failed.reason}")


def _report(
    worker: FunctionWorker,
    version: FunctionVersion,
    event: FunctionEvent,
    outcome: _Outcome,
    duration_s: float,
) -> RunResult:
    init_s, worker.init_s = worker.init_s, None
    _say_end(worker.output, version, event, outcome, duration_s, init_s)
    return RunResult(outcome.payload, outcome.function_error, version.key.version, worker.output.tail)


def _say_end(
    output: FunctionOutput,
    version: FunctionVersion,
    event: FunctionEvent,
    outcome: _Outcome,
    duration_s: float,
    init_s: float | None,
) -> None:
    output.flush()
    output.say(f"END RequestId: {event.request_id}")
    duration_ms = duration_s * 1000
    parts = [
        f"REPORT RequestId: {event.request_id}",
        f"Duration: {duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(duration_ms + (init_s or 0.0) * 1000)} ms",
        f"Memory Size: {version.memory_mb} MB",
    ]
    if outcome.peak_bytes is not None:
        parts.append(f"Max Memory Used: {math.ceil(outcome.peak_bytes / 1024 / 1024)} MB")
    if init_s is not None:
        parts.append(f"Init Duration: {init_s * 1000:.2f} ms")
    if outcome.status:
        parts.append(f"Status: {outcome.status}")
        if outcome.status == "error" and outcome.error_type:
            parts.append(f"Error Type: {outcome.error_type}")
    output.say("\t".join(parts) + "\t")
