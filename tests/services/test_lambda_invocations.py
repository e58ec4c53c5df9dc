import asyncio
import base64
import json
import os
import re
import signal
from pathlib import Path

import pytest
from engine import houses
from services.lambda_house import ACCOUNT, REGION, LambdaHouse, run, until, zipped

from stagedoor.domain.errors import AwsError
from stagedoor.services.lambda_.invocations import permits, run_function
from stagedoor.services.lambda_.naming import FunctionRef

ECHO = "def handler(event, context):\n    return {'event': event, 'version': context.function_version}\n"
WHO = "import uuid\nME = uuid.uuid4().hex\ndef handler(event, context):\n    return ME\n"


def test_an_event_is_answered_and_logged_between_start_and_report(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function(
            "f", "print('loading')\ndef handler(event, context):\n    print('hello')\n    return event\n"
        )
        answer = await house.invoke("f", {"a": [1, None, "ü"]}, LogType="Tail")
        assert answer["Payload"] == {"a": [1, None, "ü"]}
        assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
        assert "FunctionError" not in answer
        tail = base64.b64decode(answer["LogResult"]).decode().splitlines()
        assert tail[0].startswith("START RequestId: ")
        request_id = tail[0].split()[2]
        assert tail[0] == f"START RequestId: {request_id} Version: $LATEST"
        assert tail[1:3] == ["hello", f"END RequestId: {request_id}"]
        assert re.fullmatch(
            rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB"
            r"(\tMax Memory Used: \d+ MB)?\tInit Duration: \d+\.\d\d ms\t",
            tail[3],
        )
        assert [line.split()[0] for line in await house.messages("/aws/lambda/f")] == [
            "loading",
            "START",
            "hello",
            "END",
            "REPORT",
        ]
        group = house.log_events.group(ACCOUNT, REGION, "/aws/lambda/f")
        assert group is not None
        (stream,) = house.log_events.streams(group.id)
        assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream.name)

    run(tmp_path / "house", story)


def test_a_warm_worker_is_used_again_without_reading_the_store(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", WHO)
        first = await house.invoke("f")
        house.records.close()
        assert await house.invoke("f", None) == first
        assert len(house.pools.workers) == 1

    run(tmp_path / "house", story)


def test_a_raised_error_is_the_answer_with_type_message_and_stack(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", "def handler(event, context):\n    raise KeyError('gone')\n")
        answer = await house.invoke("f")
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert answer["Payload"]["errorType"] == "KeyError"
        assert answer["Payload"]["errorMessage"] == "'gone'"
        assert 'File "/var/task/app.py", line 2, in handler' in answer["Payload"]["stackTrace"][0]
        assert any("[ERROR] KeyError: 'gone'" in line for line in await house.messages("/aws/lambda/f"))

    run(tmp_path / "house", story)


def test_an_event_that_takes_too_long_is_cut_off_and_the_next_one_served(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        source = "import time\ndef handler(event, context):\n    print('in')\n    time.sleep(event)\n    return 'out'\n"
        await house.function("f", source, Timeout=1)
        answer = await house.invoke("f", 60, LogType="Tail")
        assert answer["FunctionError"] == "Unhandled"
        assert answer["Payload"]["errorType"] == "Sandbox.Timedout"
        assert re.fullmatch(
            r"RequestId: \S+ Error: Task timed out after 1\.00 seconds", answer["Payload"]["errorMessage"]
        )
        tail = base64.b64decode(answer["LogResult"]).decode()
        assert "in\n" in tail
        assert re.search(r"\S+Z \S+ Task timed out after 1\.00 seconds\n", tail)
        assert tail.rstrip().endswith("Status: timeout")
        assert (await house.invoke("f", 0))["Payload"] == "out"
        await until(lambda: len(house.pools.workers) == 1)

    run(tmp_path / "house", story)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os._exit(3)", "Runtime exited with error: exit status 3"),
        ("import sys; sys.exit(0)", "Runtime exited without providing a reason"),
        ("import os; os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_worker_that_dies_is_an_exit_error_and_the_next_event_gets_another(
    tmp_path: Path, body: str, said: str
) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", f"def handler(event, context):\n    if event: {body}\n    return 'alive'\n")
        answer = await house.invoke("f", True)
        assert answer["FunctionError"] == "Unhandled"
        assert answer["Payload"]["errorType"] == "Runtime.ExitError"
        assert answer["Payload"]["errorMessage"].endswith(f"Error: {said}")
        assert (await house.invoke("f", False))["Payload"] == "alive"

    run(tmp_path / "house", story)


def test_an_idle_worker_that_is_killed_is_replaced_without_a_failed_event(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", WHO)
        first = (await house.invoke("f"))["Payload"]
        (placement,) = await house.engine.list()
        assert placement.pid is not None
        os.kill(placement.pid, signal.SIGKILL)
        await until(lambda: not house.pools.workers)
        other = await house.invoke("f")
        assert "FunctionError" not in other
        assert other["Payload"] != first

    run(tmp_path / "house", story)


@pytest.mark.parametrize(
    ("source", "error_type"),
    [
        ("import nothing_of_the_kind\n", "Runtime.ImportModuleError"),
        ("def handler(event context):\n", "Runtime.UserCodeSyntaxError"),
        ("x = 1\n", "Runtime.HandlerNotFound"),
        ("raise RuntimeError('at import')\n", "RuntimeError"),
    ],
)
def test_a_module_that_does_not_load_is_the_answer_and_is_logged(
    tmp_path: Path, source: str, error_type: str
) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", source)
        answers = await asyncio.gather(house.invoke("f"), house.invoke("f"))
        for answer in answers:
            assert answer["FunctionError"] == "Unhandled"
            assert answer["Payload"]["errorType"] == error_type
        lines = await house.messages("/aws/lambda/f")
        assert any(error_type in line for line in lines)
        assert any(line.startswith("REPORT RequestId: ") and "Status: error" in line for line in lines)
        await until(lambda: not house.pools.workers)
        await house.ask("lambda", "UpdateFunctionCode", FunctionName="f", ZipFile=zipped(ECHO))
        assert (await house.invoke("f", 1))["Payload"] == {"event": 1, "version": "$LATEST"}

    run(tmp_path / "house", story)


def test_a_module_that_exits_at_load_is_an_exit_error(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", "import os\nos._exit(7)\n")
        answer = await house.invoke("f")
        assert answer["Payload"]["errorMessage"].endswith("Runtime exited with error: exit status 7")

    run(tmp_path / "house", story)


def test_an_answer_that_is_too_large_is_refused_and_the_worker_goes_on(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", "def handler(event, context):\n    return 'x' * event\n")
        answer = await house.invoke("f", 6_300_000)
        assert answer["FunctionError"] == "Unhandled"
        assert answer["Payload"] == {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        }
        assert len((await house.invoke("f", 6_000_000))["Payload"]) == 6_000_000

    run(tmp_path / "house", story)


def test_what_a_function_allocates_beyond_its_memory_fails_there_alone(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function(
            "f", "def handler(event, context):\n    return len(bytearray(event << 20))\n", MemorySize=128
        )
        answer = await house.invoke("f", 1024)
        assert answer["FunctionError"] == "Unhandled"
        assert answer["Payload"]["errorType"] in ("MemoryError", "Runtime.ExitError")
        assert (await house.invoke("f", 1))["Payload"] == 1 << 20

    run(tmp_path / "house", story)


def test_the_function_gets_its_role_its_region_and_its_variables(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        source = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
        variables = {"STAGE": "test", "TZ": "Europe/Berlin"}
        await house.function("f", source, Environment={"Variables": variables}, MemorySize=256)
        found = (await house.invoke("f"))["Payload"]
        expected = {
            "STAGE": "test",
            "TZ": "Europe/Berlin",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "_HANDLER": "app.handler",
        }
        assert {name: found.get(name) for name in expected} == expected
        now = house.house.clock.now()
        credential = house.house.principals.by_access_key(
            found["AWS_ACCESS_KEY_ID"], found["AWS_SESSION_TOKEN"], now
        )
        assert credential.secret == found["AWS_SECRET_ACCESS_KEY"]
        assert credential.caller.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/reviews/f"

    run(tmp_path / "house", story)


def test_the_context_tells_what_runs(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        source = """
def handler(event, context):
    return {
        "arn": context.invoked_function_arn, "name": context.function_name, "memory": context.memory_limit_in_mb,
        "id": context.aws_request_id, "left": context.get_remaining_time_in_millis(), "client": context.client_context.custom,
    }
"""
        await house.function("f", source, Timeout=30)
        client = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
        found = (await house.invoke("f", ClientContext=client))["Payload"]
        assert found["arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
        assert (found["name"], str(found["memory"]), found["client"]) == ("f", "128", {"k": "v"})
        assert 20_000 < found["left"] <= 30_000
        assert re.fullmatch(r"[0-9a-f-]{36}", found["id"])

    run(tmp_path / "house", story)


def test_an_empty_payload_is_an_empty_event(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        answer = await house.ask("lambda", "Invoke", FunctionName="f")
        assert json.loads(answer["Payload"])["event"] == {}

    run(tmp_path / "house", story)


@pytest.mark.parametrize("payload", [b"{", b"\x87", b"nan", b"[" * 100_000, b"{'a': 1}"])
def test_a_payload_that_is_not_json_is_refused(tmp_path: Path, payload: bytes) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        with pytest.raises(AwsError, match="Could not parse request body into json") as raised:
            await house.invoke("f", payload)
        assert (raised.value.code, raised.value.status) == ("InvalidRequestContentException", 400)
        assert not house.pools.workers

    run(tmp_path / "house", story)


def test_a_payload_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        for kind, size in (("RequestResponse", 6_291_457), ("Event", 1_048_577)):
            with pytest.raises(AwsError) as raised:
                await house.invoke("f", b'"' + b"x" * (size - 2) + b'"', InvocationType=kind)
            assert (raised.value.code, raised.value.status) == ("RequestTooLargeException", 413)

    run(tmp_path / "house", story)


def test_a_dry_run_checks_and_runs_nothing(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        assert (await house.invoke("f", InvocationType="DryRun"))["StatusCode"] == 204
        assert not house.pools.workers
        with pytest.raises(
            AwsError, match=r"Function not found: arn:aws:lambda:us-east-1:000000000000:function:g"
        ):
            await house.invoke("g", InvocationType="DryRun")

    run(tmp_path / "house", story)


SLEEP = WHO.replace("    return", "    import time; time.sleep(event)\n    return")


def test_events_at_the_same_time_get_workers_of_their_own(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", SLEEP)
        answers = await asyncio.gather(*(house.invoke("f", 0.3) for _ in range(4)))
        assert len({answer["Payload"] for answer in answers}) == 4
        again = await asyncio.gather(*(house.invoke("f", 0) for _ in range(4)))
        assert {answer["Payload"] for answer in again} <= {answer["Payload"] for answer in answers}

    run(tmp_path / "house", story)


def test_events_wait_their_turn_when_no_more_workers_are_allowed(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", SLEEP)
        answers = await asyncio.gather(*(house.invoke("f", 0.02) for _ in range(9)))
        assert len({answer["Payload"] for answer in answers}) <= 2
        assert all("FunctionError" not in answer for answer in answers)

    run(tmp_path / "house", story, function_concurrency=2)


def test_too_many_waiting_events_are_refused_at_once(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", SLEEP)
        answers = await asyncio.gather(*(house.invoke("f", 0.01) for _ in range(30)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, AwsError)]
        assert refused
        assert {(error.code, error.status) for error in refused} == {("TooManyRequestsException", 429)}
        assert {error.members["Reason"] for error in refused} == {"ConcurrentInvocationLimitExceeded"}
        served = [answer for answer in answers if isinstance(answer, dict)]
        assert len(served) >= 8

    run(tmp_path / "house", story, function_concurrency=1)


def test_reserved_concurrency_is_a_limit_and_nought_stops_the_function(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", SLEEP)
        await house.ask("lambda", "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
        answers = await asyncio.gather(*(house.invoke("f", 0.2) for _ in range(3)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, AwsError)]
        assert [error.members["Reason"] for error in refused] == [
            "ReservedFunctionConcurrentInvocationLimitExceeded"
        ] * 2
        await house.ask("lambda", "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)
        with pytest.raises(AwsError, match="Rate Exceeded"):
            await house.invoke("f", 0)
        await house.ask("lambda", "DeleteFunctionConcurrency", FunctionName="f")
        assert "FunctionError" not in await house.invoke("f", 0)

    run(tmp_path / "house", story)


def test_another_function_gets_the_place_of_an_idle_worker(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", WHO)
        await house.function("g", WHO)
        first = (await house.invoke("f"))["Payload"]
        assert (await house.invoke("g"))["Payload"] != first
        assert [worker.key.name for worker in house.pools.workers if worker.state != "condemned"] == ["g"]

    run(tmp_path / "house", story, function_concurrency=1)


def test_an_idle_worker_is_stopped_after_a_while(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        await house.invoke("f")
        await asyncio.sleep(0.05)
        house.loop.wake()
        await until(lambda: not house.pools.workers)
        assert (await house.invoke("f", 2))["Payload"]["event"] == 2

    run(tmp_path / "house", story, function_idle_s=0.04)


def test_an_update_changes_every_later_event_and_none_that_runs(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        def source(answer: int) -> str:
            return f"import time\ndef handler(event, context):\n    time.sleep(event)\n    return {answer}\n"

        await house.function("f", source(0))
        await house.invoke("f", 0)
        for number in range(1, 6):
            running = asyncio.ensure_future(house.invoke("f", 0.2))
            await until(lambda: any(worker.state == "busy" for worker in house.pools.workers))
            await house.ask("lambda", "UpdateFunctionCode", FunctionName="f", ZipFile=zipped(source(number)))
            assert (await house.invoke("f", 0))["Payload"] == number
            assert (await running)["Payload"] == number - 1
        await until(lambda: len(house.pools.workers) == 1)

    run(tmp_path / "house", story)


def test_deleting_a_function_ends_its_workers_and_answers_not_found(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        await house.invoke("f")
        await house.ask("lambda", "DeleteFunction", FunctionName="f")
        with pytest.raises(AwsError, match="Function not found") as raised:
            await house.invoke("f")
        assert (raised.value.code, raised.value.status) == ("ResourceNotFoundException", 404)
        await until(lambda: not house.pools.workers)

    run(tmp_path / "house", story)


def test_versions_and_aliases_run_the_code_they_name(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        def source(answer: int) -> str:
            return f"def handler(event, context):\n    return [{answer}, context.function_version, context.invoked_function_arn]\n"

        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
        await house.function("f", source(1), Publish=True)
        await house.ask(
            "lambda", "UpdateFunctionCode", FunctionName="f", ZipFile=zipped(source(2)), Publish=True
        )
        await house.ask("lambda", "UpdateFunctionCode", FunctionName="f", ZipFile=zipped(source(3)))
        await house.ask("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        assert (await house.invoke("f"))["Payload"] == [3, "$LATEST", arn]
        assert (await house.invoke("f", Qualifier="2"))["Payload"] == [2, "2", f"{arn}:2"]
        answer = await house.invoke("f:live")
        assert (answer["Payload"], answer["ExecutedVersion"]) == ([1, "1", f"{arn}:live"], "1")
        await house.ask("lambda", "UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
        assert (await house.invoke(f"{arn}:live"))["Payload"][0] == 2
        routing = {"AdditionalVersionWeights": {"1": 0.5}}
        await house.ask("lambda", "UpdateAlias", FunctionName="f", Name="live", RoutingConfig=routing)
        assert {(await house.invoke("f:live"))["ExecutedVersion"] for _ in range(60)} == {"1", "2"}

    run(tmp_path / "house", story)


def test_an_asynchronous_event_is_accepted_and_run_later(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", "def handler(event, context):\n    print('seen', event)\n")
        answer = await house.invoke("f", {"n": 1}, InvocationType="Event")
        assert (answer["StatusCode"], answer["Payload"]) == (202, None)
        await until(lambda: not house.records.list("lambda.event"))
        assert "seen {'n': 1}\n" in await house.messages("/aws/lambda/f")
        assert not house.records.list("lambda.payload")

    run(tmp_path / "house", story)


def test_an_asynchronous_event_that_fails_is_run_exactly_three_times(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function(
            "f",
            "def handler(event, context):\n    print('try', context.aws_request_id)\n    raise ValueError\n",
        )
        await house.invoke("f", InvocationType="Event")
        await until(lambda: not house.records.list("lambda.event"))
        tries = [line for line in await house.messages("/aws/lambda/f") if line.startswith("try ")]
        assert len(tries) == 3
        assert len(set(tries)) == 1, "all attempts have the same request id"

    run(tmp_path / "house", story, function_retry_delays_s="0.01,0.02")


def test_a_queued_event_survives_a_restart(tmp_path: Path) -> None:
    async def stopped() -> None:
        house = LambdaHouse(tmp_path / "house")
        await house.function("f", "def handler(event, context):\n    print('seen', event)\n")
        await house.invoke("f", 7, InvocationType="Event")
        house.close_stores()

    async def story(house: LambdaHouse) -> None:
        await until(lambda: not house.records.list("lambda.event"))
        assert "seen 7\n" in await house.messages("/aws/lambda/f")

    asyncio.run(stopped())
    run(tmp_path / "house", story)


def test_events_of_a_deleted_function_are_dropped(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", "def handler(event, context):\n    raise ValueError\n")
        await house.invoke("f", InvocationType="Event")
        await until(
            lambda: all(record.document["attempts"] == 1 for record in house.records.list("lambda.event"))
        )
        await house.ask("lambda", "DeleteFunction", FunctionName="f")
        await until(lambda: not house.records.list("lambda.event"))

    run(tmp_path / "house", story, function_retry_delays_s="0.2,0.2")


def test_an_invocation_goes_on_when_its_caller_goes_away(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function(
            "f", "import time\ndef handler(event, context):\n    time.sleep(0.1)\n    print('done')\n"
        )
        caller = asyncio.ensure_future(house.invoke("f"))
        await until(lambda: any(worker.state == "busy" for worker in house.pools.workers))
        caller.cancel()
        await until(lambda: all(worker.state == "idle" for worker in house.pools.workers))
        assert "done\n" in await house.messages("/aws/lambda/f")

    run(tmp_path / "house", story)


def test_much_output_is_kept_in_order_and_long_lines_are_split(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        source = """
def handler(event, context):
    for number in range(3000):
        print(number)
    print("x" * 1_000_000)
    print("\\x1b[31mred\\x00", end="")
"""
        await house.function("f", source, Timeout=30)
        answer = await house.invoke("f", LogType="Tail")
        assert len(base64.b64decode(answer["LogResult"])) == 4096
        lines = await house.messages("/aws/lambda/f")
        assert [int(line) for line in lines[1:3001]] == list(range(3000))
        assert "".join(lines[3001:-3]) == "x" * 1_000_000 + "\n"
        assert max(len(line) for line in lines) <= 262_144
        assert lines[-3] == "\x1b[31mred\0"

    run(tmp_path / "house", story)


def test_a_function_whose_role_is_gone_says_so(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        with house.records.transaction() as transaction:
            for record in transaction.list("iam.role"):
                transaction.delete(record.key)
        answer = await house.invoke("f")
        assert answer["FunctionError"] == "Unhandled"
        assert "The role arn:aws:iam::000000000000:role/service-role/reviews does not exist" in str(
            answer["Payload"]
        )
        assert not house.pools.workers

    run(tmp_path / "house", story)


SOURCE = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:api123"


def test_the_resource_policy_decides_which_service_may_invoke_for_what(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function("f", ECHO)
        ref = FunctionRef(ACCOUNT, REGION, "f")
        source = f"{SOURCE}/test/POST/predict"
        assert not await permits(house.house, ref, "apigateway.amazonaws.com", source)
        await house.ask(
            "lambda",
            "AddPermission",
            FunctionName="f",
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"{SOURCE}/*/POST/predict",
        )
        assert await permits(house.house, ref, "apigateway.amazonaws.com", source)
        assert not await permits(
            house.house, ref, "apigateway.amazonaws.com", source.replace("api123", "api999")
        )
        assert not await permits(house.house, ref, "s3.amazonaws.com", source)
        assert not await permits(house.house, ref.at("$LATEST"), "apigateway.amazonaws.com", source)
        await house.ask("lambda", "RemovePermission", FunctionName="f", StatementId="api")
        assert not await permits(house.house, ref, "apigateway.amazonaws.com", source)

    run(tmp_path / "house", story)


def test_services_invoke_by_name_or_arn(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        arn = (await house.function("f", ECHO))["FunctionArn"]
        for function in ("f", arn, f"{ACCOUNT}:function:f", f"{arn}:$LATEST"):
            result = await run_function(house.house, ACCOUNT, REGION, function, b'{"a": 1}')
            assert json.loads(result.payload)["event"] == {"a": 1}
            assert (result.function_error, result.executed_version) == (None, "$LATEST")
            assert result.log_tail.startswith(b"START RequestId: " + result.request_id.encode())

    run(tmp_path / "house", story)


def test_a_function_that_closes_its_output_still_answers(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        await house.function(
            "f",
            "import os\ndef handler(event, context):\n    os.close(1)\n    os.close(2)\n    return 'fine'\n",
        )
        assert (await house.invoke("f"))["Payload"] == "fine"
        assert (await house.invoke("f"))["Payload"]["errorType"] == "OSError"

    run(tmp_path / "house", story)


def test_what_a_function_started_ends_with_its_worker(tmp_path: Path) -> None:
    async def story(house: LambdaHouse) -> None:
        source = """
import subprocess
def handler(event, context):
    return subprocess.Popen(["sleep", "300"], start_new_session=True).pid
"""
        await house.function("f", source)
        told = (await house.invoke("f"))["Payload"]
        (placement,) = await house.engine.list()
        (pid,) = houses.outside(placement.pid, [told])
        assert _is_alive(pid)
        await house.ask("lambda", "DeleteFunction", FunctionName="f")
        await until(lambda: not _is_alive(pid))

    run(tmp_path / "house", story)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
