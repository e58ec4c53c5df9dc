"""The Lambda runtime for Python functions: loads the handler, then runs one event at a time.

Place in the flow: the entry of workloads of kind ``function``. ``traffic.function_pools`` connects by ``traffic.channel``, waits
for the HELLO and calls; the answer is a RESULT whose body is the handler's JSON, or AWS's error payload. Before each answer
the output is flushed and ends with ``specs.output_end``, so that the server knows which lines belong to it. Time-outs are the
server's: it kills the process. ``sys.exit`` in a handler ends the process, as on AWS (``Runtime.ExitError``).
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from stagedoor.worker import archives, connections, frames, function_errors, function_log
from stagedoor.worker.connections import Connection, Connections
from stagedoor.worker.function_context import Context
from stagedoor.worker.function_errors import FunctionFailure
from stagedoor.worker.process import Process
from stagedoor.worker.specs import INIT_OUTPUT_END, FunctionCallMeta, FunctionSpec, output_end

Handler = Callable[[Any, Context], Any]

_MAX_PACKAGE_BYTES = 262_144_000
_RECEIVE_LIMIT_BYTES = 16 * 1024 * 1024
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
# As AWS's runtimes do: from Python 3.12 on, answers are not escaped to ASCII.
_ENSURE_ASCII = sys.version_info < (3, 12)


def serve(process: Process) -> int:
    """Load the function and serve until killed. Exit code 1 when it cannot be loaded."""
    assert process.listener is not None
    spec = cast(FunctionSpec, process.assignment.spec)
    began = time.monotonic()
    log = function_log.set_up()
    try:
        handler = _load(spec, process.scratch)
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises is the init error
        details = function_errors.payload(error, "")
        function_errors.log(details)
        _end_output(process.output_fd, INIT_OUTPUT_END)
        fault = {
            "reason": f"{details['errorType']}: {details['errorMessage']}",
            "traceback": "".join(details["stackTrace"]),
            "error": details,
        }
        connections.refuse(process.listener, fault)
        return 1
    gc.collect()
    gc.freeze()
    _end_output(process.output_fd, INIT_OUTPUT_END)
    hello = {
        "ready": True,
        "init_s": round(time.monotonic() - began, 6),
        "rungs": process.rungs,
    }
    server = Connections(
        process.listener,
        hello,
        process.assignment.server_pid,
        stays_awake=process.assignment.stays_awake,
    )
    while True:
        for connection, frame in server.wait(_RECEIVE_LIMIT_BYTES, block=True):
            call = cast(FunctionCallMeta, frame.meta)
            log.request_id = call["request_id"]
            _answer(server, connection, frame, handler, spec, process.output_fd)
            log.request_id = ""


def _answer(
    server: Connections,
    connection: Connection,
    frame: frames.Frame,
    handler: Handler,
    spec: FunctionSpec,
    output_fd: int,
) -> None:
    call = cast(FunctionCallMeta, frame.meta)
    meta, body = invoke(handler, spec, call, frame.body)
    meta["peak_bytes"] = _peak_bytes()
    _end_output(output_fd, output_end(call["request_id"]))
    try:
        answer = frames.encode(frames.RESULT, frame.id, meta, body)
    except frames.FrameError as error:
        answer = frames.encode(frames.FAULT, frame.id, {"status": 500, "reason": str(error)})
    server.answer(connection, answer)
    server.flush()


def invoke(
    handler: Handler, spec: FunctionSpec, call: FunctionCallMeta, event: bytes
) -> tuple[dict[str, Any], bytes]:
    """Run the handler on one event: meta and body of the RESULT."""
    if "trace_id" in call:
        os.environ["_X_AMZN_TRACE_ID"] = call["trace_id"]
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        arguments = _unmarshal(event), Context(spec, call)
        return {}, _marshal(handler(*arguments))
    except Exception as error:  # noqa: BLE001 - whatever the handler raises is its answer
        details = function_errors.payload(error, call["request_id"])
        with contextlib.suppress(Exception):  # the user may have closed the output
            function_errors.log(details)
        return {"function_error": "Unhandled"}, json.dumps(details, ensure_ascii=_ENSURE_ASCII).encode(
            errors="backslashreplace"
        )


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _unmarshal(event: bytes) -> Any:
    try:
        return json.loads(event) if event else {}
    except (ValueError, RecursionError) as error:
        raise FunctionFailure("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from error


def _marshal(answer: Any) -> bytes:
    try:
        return json.dumps(answer, ensure_ascii=_ENSURE_ASCII, default=_decimal).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FunctionFailure("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def _decimal(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _end_output(output_fd: int, marker: bytes) -> None:
    """Everything printed so far goes out, then the marker, on a descriptor that user code cannot have closed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(OSError):
        os.write(output_fd, marker)


# Initialisation


def _load(spec: FunctionSpec, scratch: Path) -> Handler:
    task_root = scratch / "task"
    task_root.mkdir(exist_ok=True)
    try:
        archives.extract_zip(
            scratch / spec["package"], task_root, max_bytes=spec.get("max_package_bytes", _MAX_PACKAGE_BYTES)
        )
    except archives.ArchiveError as error:
        raise FunctionFailure("Runtime.InvalidPackage", str(error)) from error
    _set_environment(spec, task_root)
    os.chdir(task_root)
    sys.path.insert(0, str(task_root))
    importlib.invalidate_caches()
    return load_handler(spec["handler"])


def _set_environment(spec: FunctionSpec, task_root: Path) -> None:
    os.environ.update(
        _HANDLER=spec["handler"],
        LAMBDA_TASK_ROOT=str(task_root),
        LAMBDA_RUNTIME_DIR=str(Path(__file__).parent),
        AWS_LAMBDA_FUNCTION_NAME=spec["function_name"],
        AWS_LAMBDA_FUNCTION_VERSION=spec["function_version"],
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(spec["memory_limit_mb"]),
        AWS_LAMBDA_LOG_GROUP_NAME=spec["log_group_name"],
        AWS_LAMBDA_LOG_STREAM_NAME=spec["log_stream_name"],
        AWS_LAMBDA_INITIALIZATION_TYPE="on-demand",
        AWS_EXECUTION_ENV=f"AWS_Lambda_{_VERSION}",
    )
    os.environ.setdefault("TZ", ":UTC")
    time.tzset()


def load_handler(name: str) -> Handler:
    """The handler ``module.function`` (also ``folder/module.function``); FunctionFailure as AWS's runtime names it."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise FunctionFailure(
            "Runtime.MalformedHandlerName",
            f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)",
        )
    dotted_name = module_name.replace("/", ".")
    if dotted_name.split(".")[0] in sys.builtin_module_names:
        raise FunctionFailure(
            "Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        module = importlib.import_module(dotted_name)
    except ImportError as error:
        raise FunctionFailure(
            "Runtime.ImportModuleError",
            f"Unable to import module '{module_name}': {error}",
        ) from error
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise FunctionFailure(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {function_errors.on_aws(str(error))}",
            [function_errors.on_aws(place)],
        ) from error
    except ValueError as error:  # an empty name between dots
        raise FunctionFailure("Runtime.MalformedHandlerName", f"Bad handler '{name}': {error}") from error
    if not hasattr(module, function_name):
        raise FunctionFailure(
            "Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'"
        )
    return cast(Handler, getattr(module, function_name))
