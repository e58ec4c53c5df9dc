"""The function runtime in real worker processes: what a handler sees, what its caller gets, what its log shows."""

import asyncio
import json
import re
import time
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from engine import houses
from engine.houses import Told

from stagedoor.engine.interface import Workload
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime, default_runtimes
from stagedoor.traffic.channel import Channel, ChannelLostError, WorkerFailedError
from stagedoor.worker.specs import INIT_OUTPUT_END, LINE_GOES_ON, output_end

ARN = "arn:aws:lambda:us-east-1:000000000000:function:reader"


class Function:
    """One function worker: invoke it, see what it printed for each invocation."""

    def __init__(self, channel: Channel, told: Told) -> None:
        self.channel = channel
        self.told = told
        self._count = 0

    async def invoke(self, event: Any = None, raw: bytes | None = None, **meta: Any) -> tuple[Any, str]:
        """The answer and the log of the invocation; an error payload comes as it is."""
        self._count += 1
        request_id = f"request-{self._count}"
        call: dict[str, Any] = {
            "request_id": request_id,
            "deadline_ms": int(time.time() * 1000) + 3000,
            "invoked_function_arn": ARN,
            **meta,
        }
        before = len(self.told.output.get("f", b""))
        self.meta, body = await self.channel.call(
            call, json.dumps(event).encode() if raw is None else raw, 20
        )
        marker = output_end(call["request_id"])
        await self.told.until(lambda: marker in self.told.output["f"][before:])
        printed = self.told.output["f"][before:]
        assert printed.endswith(marker)
        return json.loads(body), printed.removesuffix(marker).removeprefix(INIT_OUTPUT_END).decode()


def package(path: Path, files: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, text in files.items():
            target.writestr(name, dedent(text))
    return path


def one_event(log: str) -> str:
    """The text of output that is one log event."""
    assert log.count("\n") == log.count(LINE_GOES_ON) + 1
    return log.replace(LINE_GOES_ON, "\n")


def workload(zipped: Path, handler: str = "app.handler", **environment: str) -> Workload:
    spec = {
        "function_name": "reader",
        "function_version": "$LATEST",
        "function_arn": ARN,
        "handler": handler,
        "package": "package.zip",
        "memory_limit_mb": 256,
        "log_group_name": "/aws/lambda/reader",
        "log_stream_name": "2026/01/01/[$LATEST]abc",
    }
    return Workload("f", "function", "plain", spec, environment=environment, files={"package.zip": zipped})


def tell(
    tmp_path: Path,
    code: str | Mapping[str, str],
    story: Callable[[Function], Awaitable[None]],
    handler: str = "app.handler",
    runtime: Runtime | None = None,
    **environment: str,
) -> None:
    files = {"app.py": code} if isinstance(code, str) else code
    engine = LocalEngine(tmp_path / "scratch", {"plain": runtime or Runtime()})

    async def whole(_: object, told: Told) -> None:
        placement = await engine.start(
            workload(package(tmp_path / "package.zip", files), handler, **environment)
        )
        channel = await Channel.open(placement.address, 20)
        await told.until(lambda: INIT_OUTPUT_END in told.output.get("f", b""))
        await story(Function(channel, told))
        channel.close()

    houses.run(engine, whole)


def init_error(
    tmp_path: Path, code: str | Mapping[str, str], handler: str = "app.handler"
) -> tuple[dict[str, Any], str]:
    """The error payload and the log of an initialisation that fails."""
    files = {"app.py": code} if isinstance(code, str) else code
    return _init_error(tmp_path, package(tmp_path / "package.zip", files), handler)


def _init_error(tmp_path: Path, zipped: Path, handler: str) -> tuple[dict[str, Any], str]:
    engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime()})
    found: list[tuple[dict[str, Any], str]] = []

    async def whole(_: object, told: Told) -> None:
        placement = await engine.start(workload(zipped, handler))
        with pytest.raises(WorkerFailedError) as raised:
            await Channel.open(placement.address, 20)
        assert await told.exit_of("f") == 1
        error = raised.value.meta["error"]
        assert raised.value.reason == f"{error['errorType']}: {error['errorMessage']}"
        printed = told.output["f"]
        assert printed.endswith(INIT_OUTPUT_END)
        found.append((error, printed.removesuffix(INIT_OUTPUT_END).decode()))

    houses.run(engine, whole)
    return found[0]


def test_a_handler_gets_its_event_and_its_answer_is_json(tmp_path: Path) -> None:
    async def story(function: Function) -> None:
        event = {"body": "Großartig ✓", "list": [1, 2.5, None, True]}
        answer, log = await function.invoke(event)
        assert answer == {"got": event}
        assert log == ""
        assert set(function.meta) == {"peak_bytes"}
        assert 1_000_000 < function.meta["peak_bytes"] < 4_000_000_000
        assert (await function.invoke(None))[0] == {"got": None}
        assert (await function.invoke(raw=b""))[0] == {"got": {}}

    tell(tmp_path, "def handler(event, context): return {'got': event}", story)


def test_the_context_has_what_aws_documents(tmp_path: Path) -> None:
    code = """
        def handler(event, context):
            client = context.client_context
            return {
                "members": {
                    name: getattr(context, name)
                    for name in ("aws_request_id", "log_group_name", "log_stream_name", "function_name",
                                 "function_version", "memory_limit_in_mb", "invoked_function_arn")
                },
                "left": context.get_remaining_time_in_millis(),
                "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
                "client": client and [client.client.app_title, client.custom, client.env],
            }
    """

    async def story(function: Function) -> None:
        answer, _ = await function.invoke({})
        assert answer["members"] == {
            "aws_request_id": "request-1",
            "log_group_name": "/aws/lambda/reader",
            "log_stream_name": "2026/01/01/[$LATEST]abc",
            "function_name": "reader",
            "function_version": "$LATEST",
            "memory_limit_in_mb": "256",
            "invoked_function_arn": ARN,
        }
        assert 0 < answer["left"] <= 3000
        assert answer["identity"] == [None, None]
        assert answer["client"] is None
        context = json.dumps({"client": {"app_title": "phone"}, "custom": {"a": 1}, "env": {"b": "2"}})
        answer, _ = await function.invoke(
            {}, deadline_ms=0, client_context=context, invoked_function_arn=ARN + ":live"
        )
        assert answer["left"] == 0
        assert answer["client"] == ["phone", {"a": 1}, {"b": "2"}]
        assert answer["members"]["invoked_function_arn"] == ARN + ":live"

    tell(tmp_path, code, story)


def test_the_environment_is_a_functions(tmp_path: Path) -> None:
    code = """
        import os, sys, time
        AT_IMPORT = os.environ["_HANDLER"]
        def handler(event, context):
            return {**os.environ, "import": AT_IMPORT, "cwd": os.getcwd(), "path0": sys.path[0],
                    "trace": os.environ.get("_X_AMZN_TRACE_ID"), "zone": time.tzname[0]}
    """

    async def story(function: Function) -> None:
        answer, _ = await function.invoke({}, trace_id="Root=1-2-3")
        root = answer["LAMBDA_TASK_ROOT"]
        expected = {
            "_HANDLER": "app.handler",
            "import": "app.handler",
            "AWS_LAMBDA_FUNCTION_NAME": "reader",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/reader",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]abc",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "eu-west-1",
            "MINE": "yes",
            "TZ": ":UTC",
            "zone": "UTC",
            "trace": "Root=1-2-3",
            "cwd": root,
            "path0": root,
        }
        assert {name: answer[name] for name in expected} == expected
        assert re.fullmatch(r"AWS_Lambda_python3\.\d+", answer["AWS_EXECUTION_ENV"])
        assert (await function.invoke({}))[0]["trace"] is None

    tell(tmp_path, code, story, AWS_REGION="eu-west-1", MINE="yes")


def test_state_stays_between_invocations_and_events_come_one_at_a_time(tmp_path: Path) -> None:
    code = """
        import time
        count, running = 0, 0
        def handler(event, context):
            global count, running
            count += 1
            running += 1
            time.sleep(0.01)
            running -= 1
            return [count, running]
    """

    async def story(function: Function) -> None:
        answers = await asyncio.gather(
            *(
                function.channel.call(
                    {"request_id": f"r{number}", "deadline_ms": 0, "invoked_function_arn": ARN}, b"{}", 20
                )
                for number in range(4)
            )
        )
        assert [json.loads(body) for _, body in answers] == [[1, 0], [2, 0], [3, 0], [4, 0]]

    tell(tmp_path, code, story)


def test_an_exception_is_aws_error_payload_and_is_logged(tmp_path: Path) -> None:
    code = """\
        def handler(event, context):
            return helper(event)

        def helper(event):
            raise ValueError(f"bad {event}")
    """

    async def story(function: Function) -> None:
        answer, log = await function.invoke("ü")
        assert function.meta["function_error"] == "Unhandled"
        assert answer == {
            "errorMessage": "bad ü",
            "errorType": "ValueError",
            "requestId": "request-1",
            "stackTrace": [
                '  File "/var/task/app.py", line 2, in handler\n    return helper(event)\n',
                '  File "/var/task/app.py", line 5, in helper\n    raise ValueError(f"bad {event}")\n',
            ],
        }
        assert list(answer) == ["errorMessage", "errorType", "requestId", "stackTrace"]
        assert one_event(log) == (
            "[ERROR] ValueError: bad ü\n"
            "Traceback (most recent call last):\n"
            '  File "/var/task/app.py", line 2, in handler\n    return helper(event)\n'
            '  File "/var/task/app.py", line 5, in helper\n    raise ValueError(f"bad {event}")\n'
        )
        assert (await function.invoke("again"))[0]["errorMessage"] == "bad again"

    tell(tmp_path, code, story)


@pytest.mark.parametrize(
    ("expression", "error_type", "message"),
    [
        (
            "object()",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type object is not JSON serializable",
        ),
        (
            "{1, 2}",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type set is not JSON serializable",
        ),
        (
            "b'x'",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type bytes is not JSON serializable",
        ),
        ("[].pop()", "IndexError", "pop from empty list"),
        ("(_ for _ in ()).throw(type('Mine', (Exception,), {})())", "Mine", ""),
        ("(lambda f: f(f))(lambda f: f(f))", "RecursionError", "maximum recursion depth exceeded"),
    ],
)
def test_errors_have_the_names_of_aws_runtime(
    tmp_path: Path, expression: str, error_type: str, message: str
) -> None:
    async def story(function: Function) -> None:
        answer, log = await function.invoke({})
        assert (answer["errorType"], answer["errorMessage"]) == (error_type, message)
        assert log.startswith(f"[ERROR] {error_type}")

    tell(tmp_path, f"def handler(event, context): return {expression}", story)


def test_a_handler_that_is_no_function_fails_the_invocation(tmp_path: Path) -> None:
    async def story(function: Function) -> None:
        answer, _ = await function.invoke({})
        assert (answer["errorType"], answer["errorMessage"]) == ("TypeError", "'int' object is not callable")

    tell(tmp_path, "handler = 3", story)


def test_an_event_that_is_not_json_is_named(tmp_path: Path) -> None:
    async def story(function: Function) -> None:
        answer, _ = await function.invoke(raw=b"{'a': 1}")
        assert answer["errorType"] == "Runtime.UnmarshalError"
        assert answer["errorMessage"].startswith("Unable to unmarshal input: Expecting property name")
        assert (await function.invoke({}))[0] == 1

    tell(tmp_path, "def handler(event, context): return 1", story)


def test_decimals_become_numbers_and_text_survives(tmp_path: Path) -> None:
    async def story(function: Function) -> None:
        assert (await function.invoke({}))[0] == {"price": 1.5, "text": "ü😀", "lone": "\ud800"}

    code = r"""
        from decimal import Decimal
        def handler(event, context):
            return {"price": Decimal("1.5"), "text": "ü😀", "lone": "\ud800"}
    """
    tell(tmp_path, code, story)


def test_output_belongs_to_its_invocation_whatever_wrote_it(tmp_path: Path) -> None:
    code = """
        import logging, os, subprocess, sys
        print("at import")
        def handler(event, context):
            print("printed", end="" if event else None)
            sys.stderr.write("to stderr\\n")
            os.write(1, b"raw\\n")
            subprocess.run(["sh", "-c", "echo from a child"])
            logging.getLogger().warning("careful %s", event)
            logging.getLogger("mine").info("not shown")
            logging.getLogger().setLevel("INFO")
            logging.getLogger("mine").info("shown from now on")
    """

    async def story(function: Function) -> None:
        assert function.told.output["f"] == b"at import\n" + INIT_OUTPUT_END
        _, log = await function.invoke("")
        assert re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", log) == (
            "printed\nto stderr\nraw\nfrom a child\n"
            "[WARNING]\tTIME\trequest-1\tcareful \n"
            "[INFO]\tTIME\trequest-1\tshown from now on\n"
        )
        _, log = await function.invoke("x")
        assert log.count("printed") == 1
        assert "\trequest-2\tcareful x\n" in log

    tell(tmp_path, code, story)


def test_a_handler_that_breaks_its_own_output_still_answers(tmp_path: Path) -> None:
    code = """
        import os, sys
        def handler(event, context):
            if event == "close":
                sys.stdout.close()
            elif event == "close all":
                os.close(1), os.close(2)
            elif event == "zeros":
                print("\\x00stagedoor-end another\\x00")
            elif event == "unprintable":
                print("\\udcff")
            elif event == "raise":
                raise ValueError("unseen")
            return event
    """

    async def story(function: Function) -> None:
        answer, log = await function.invoke("zeros")
        assert (answer, log) == ("zeros", "\x00stagedoor-end another\x00\n")
        assert await function.invoke("unprintable") == ("unprintable", "\\udcff\n")
        for event in ("close", "close all"):
            assert (await function.invoke(event))[0] == event
        assert (await function.invoke("raise"))[0]["errorMessage"] == "unseen"

    tell(tmp_path, code, story)


@pytest.mark.parametrize(
    ("statement", "exit_code"), [("sys.exit(4)", 4), ("os._exit(9)", 9), ("os.kill(os.getpid(), 9)", -9)]
)
def test_a_handler_that_ends_the_process_loses_the_call(
    tmp_path: Path, statement: str, exit_code: int
) -> None:
    async def story(function: Function) -> None:
        with pytest.raises(ChannelLostError):
            await function.invoke({})
        assert await function.told.exit_of("f") == exit_code

    tell(tmp_path, f"import os, sys\ndef handler(event, context): {statement}", story)


def test_handlers_may_lie_in_folders_and_import_their_neighbours(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/deep/app.py": "import shared\nfrom pkg.deep import near\ndef run(e, c): return [shared.A, near.B]",
        "pkg/deep/__init__.py": "",
        "pkg/deep/near.py": "B = 2",
        "shared.py": "A = 1",
    }

    async def story(function: Function) -> None:
        assert (await function.invoke({}))[0] == [1, 2]

    tell(tmp_path, files, story, "pkg/deep/app.run")
    tell(tmp_path / "2", files, story, "pkg.deep.app.run")


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"),
    [
        ("", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            "",
            "missing.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'missing': No module named 'missing'",
        ),
        (
            "import nothing_here",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_here'",
        ),
        (
            "",
            "handler",
            "Runtime.MalformedHandlerName",
            "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "",
            "sys.exit",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module sys as a handler module",
        ),
        ("1 / 0", "app.handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_errors_of_the_initialisation_have_aws_names(
    tmp_path: Path, code: str, handler: str, error_type: str, message: str
) -> None:
    error, log = init_error(tmp_path, code, handler)
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert one_event(log).startswith(f"[ERROR] {error_type}: {message}\n")


def test_a_syntax_error_says_where(tmp_path: Path) -> None:
    error, log = init_error(tmp_path, "def handler(event context):\n    pass\n")
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"].startswith("Syntax error in module 'app': ")
    assert error["errorMessage"].endswith("(app.py, line 1)")
    assert error["stackTrace"] == ['  File "/var/task/app.py" Line 1\n    def handler(event context):\n']
    assert '  File "/var/task/app.py" Line 1' in log


def test_an_import_that_fails_shows_the_users_lines_only(tmp_path: Path) -> None:
    error, _ = init_error(tmp_path, {"app.py": "import other\n", "other.py": "x = 1\nraise KeyError('x')\n"})
    assert error["errorType"] == "KeyError"
    assert [line.splitlines()[0] for line in error["stackTrace"]] == [
        '  File "/var/task/app.py", line 1, in <module>',
        '  File "/var/task/other.py", line 2, in <module>',
    ]


def test_a_package_that_cannot_be_opened_is_an_error_of_the_initialisation(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    error, _ = _init_error(tmp_path, tmp_path / "bad.zip", "app.handler")
    assert error["errorType"] == "Runtime.InvalidPackage"
    assert "not a zip" in error["errorMessage"]


def test_threads_of_a_module_that_fails_do_not_hold_the_process(tmp_path: Path) -> None:
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n1 / 0"
    error, _ = init_error(tmp_path, code)
    assert error["errorType"] == "ZeroDivisionError"


def test_a_module_that_exits_while_it_is_loaded_fails_the_open(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "scratch", {"plain": Runtime()})
    zipped = package(tmp_path / "package.zip", {"app.py": "import sys\nsys.exit(3)"})

    async def whole(_: object, told: Told) -> None:
        placement = await engine.start(workload(zipped))
        with pytest.raises(WorkerFailedError):
            await Channel.open(placement.address, 20)
        assert await told.exit_of("f") == 3

    houses.run(engine, whole)


def test_boto3_in_a_function_is_warm_and_follows_the_functions_environment(tmp_path: Path) -> None:
    code = """
        import boto3, os
        def handler(event, context):
            client = boto3.client("sagemaker-runtime")
            credentials = boto3.Session().get_credentials()
            default = boto3.DEFAULT_SESSION.get_credentials()
            return [client.meta.region_name, client.meta.endpoint_url, credentials.access_key, default.access_key,
                    default.token, boto3.client("s3").meta.config.s3]
    """
    files = {"app.py": code, "config": "[default]\ns3 =\n    addressing_style = path\n"}

    async def story(function: Function) -> None:
        answer, _ = await function.invoke({})
        assert answer == [
            "eu-central-1",
            "http://127.0.0.1:4566",
            "ASIAEXAMPLE",
            "ASIAEXAMPLE",
            "token",
            {"addressing_style": "path"},
        ]

    tell(
        tmp_path,
        files,
        story,
        runtime=default_runtimes()["python"],
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_ENDPOINT_URL="http://127.0.0.1:4566",
        AWS_ACCESS_KEY_ID="ASIAEXAMPLE",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_SESSION_TOKEN="token",
        AWS_CONFIG_FILE="config",
    )
