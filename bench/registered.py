"""Whether an invocation costs the same with one endpoint registered and with a thousand, with one function and with ten thousand.

Counted in processor time a request of the whole server, in one run of interleaved turns between two servers: one that holds only
what is asked, one that holds all the rest, too. Of the endpoints ten are in use; the others were left idle and have given their
workers back.
"""

import base64
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import deploys, load, processes, stage, work
from bench.load import Asked, BenchError
from bench.options import Options
from bench.stage import Stage

ACTIVE = 10
CONNECTIONS = 8
IDLE_S = 5
SETTLE_S = 3
_AT_ONCE = 4


def run(options: Options) -> dict[str, Any]:
    load.require_wrk()
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        options.say("training the boosters")
        one = work.make(folder, "row")["row"]
        settings = {"STAGEDOOR_ENDPOINT_IDLE_S": str(IDLE_S)} if deploys.can_go_to_zero() else {}
        # Ten that stay live all the time: more than that, and all of this machine's memory would be theirs.
        count = options.endpoints if settings else ACTIVE
        small, large = (stack.enter_context(stage.running(settings)) for _ in range(2))
        told: dict[str, Any] = {"endpoints": count, "active": ACTIVE, "functions": options.functions}
        told["note"] = (
            "" if settings else f"this server keeps every worker: {ACTIVE} endpoints were registered"
        )
        for made, endpoints in ((small, 1), (large, count)):
            made.model(one)
            made.configuration("row", "row")
            options.say(f"registering {endpoints} endpoints")
            told[f"register_{'small' if made is small else 'large'}_s"] = _register_endpoints(made, endpoints)
        if settings:
            time.sleep(IDLE_S + SETTLE_S)  # the last ones give their workers back
        told["invoke"] = _turns(small, large, one, folder, options)
        told["memory"] = _memory(small, large)
        told["register_functions_s"] = [
            _register_functions(made, functions, options)
            for made, functions in ((small, 1), (large, options.functions))
        ]
        told["function"] = _function_turns(small, large, folder, options)
        told["invoke_with_functions"] = _turns(small, large, one, folder, options)
    return told


def _register_endpoints(made: Stage, count: int) -> float:
    """Create them a few at a time, each waited for until it answers; the seconds it took."""
    sagemaker = made.client("sagemaker")
    url, headers = made.server.api + "/", {"Content-Type": "application/x-amz-json-1.1"}
    took_s = 0.0
    for first in range(0, count, _AT_ONCE):
        names = [_name(number) for number in range(first, min(count, first + _AT_ONCE))]
        asked = [
            load.request(
                "POST",
                url,
                json.dumps({"EndpointName": name, "EndpointConfigName": "row"}).encode(),
                headers | {"X-Amz-Target": "SageMaker.CreateEndpoint"},
                credentials=made.root,
            )
            for name in names
        ]
        answers, seconds = load.send_all(asked, _AT_ONCE)
        _all_good(answers)
        took_s += seconds
        for name in names:
            made.wait_in_service(name)
    assert sagemaker.list_endpoints(MaxResults=1)["Endpoints"]
    return round(took_s, 3)


def _name(number: int) -> str:
    return f"grown-{number}"


def _all_good(answers: Sequence[load.Answer]) -> None:
    for answer in answers:
        if answer.status not in (200, 201):
            raise BenchError(f"answered {answer.status}: {answer.body[:300]!r}")


def _turns(
    small: Stage, large: Stage, one: work.Work, folder: Path, options: Options
) -> list[dict[str, Any]]:
    """The same requests to one endpoint of the small server, to one of the large, and to ten of the large."""
    ways = {
        "1 of 1": (small, 1),
        "1 of all": (large, 1),
        f"{ACTIVE} of all": (large, ACTIVE),
    }
    found = []
    for repeat in range(options.repeats):
        for title, (made, active) in ways.items():
            options.say(f"invoking {title}")
            each = [made.ask(one, _name(number)) for number in range(active)]
            asked = [each[number % active][number] for number in range(len(one.bodies))]
            load.send_all([requests[0] for requests in each], active)  # wakes those that had been idle
            found.append({"way": title, "repeat": repeat} | _cost(made, asked, folder, options))
    return found


def _cost(made: Stage, asked: Sequence[Asked], folder: Path, options: Options) -> dict[str, Any]:
    requests = load.write(folder / "requests", asked)
    before_s, before_front_s = processes.cpu_s(made.server.pid), processes.server_cpu_s(made.server.pid)
    seen = load.wrk(made.server.api + "/", requests, CONNECTIONS, max(2.0, options.seconds))
    answers = seen.accepted + seen.refused
    return {
        "requests_per_s": round(seen.requests_per_s, 1),
        "p50_ms": seen.p50_ms,
        "cpu_us": round((processes.cpu_s(made.server.pid) - before_s) / answers * 1e6, 1),
        "front_cpu_us": round((processes.server_cpu_s(made.server.pid) - before_front_s) / answers * 1e6, 1),
    }


def _memory(small: Stage, large: Stage) -> list[dict[str, Any]]:
    found = []
    for title, made in (("small", small), ("large", large)):
        pss_bytes, count = processes.memory_bytes(made.server.pid)
        found.append({"server": title, "pss_bytes": pss_bytes, "processes": count})
    return found


def _register_functions(made: Stage, count: int, options: Options) -> float:
    options.say(f"registering {count} functions")
    code = base64.b64encode(
        stage.zipped({"code.py": b"def handle(event, context):\n    return {}\n"})
    ).decode()
    asked = []
    for number in range(count):
        given = {
            "FunctionName": f"grown-{number}",
            "Runtime": "python3.13",
            "Role": made.role,
            "Handler": "code.handle",
            "Code": {"ZipFile": code},
        }
        url, headers = f"{made.server.api}/2015-03-31/functions", {"Content-Type": "application/json"}
        body = json.dumps(given).encode()
        asked.append(load.request("POST", url, body, headers, credentials=made.root, service="lambda"))
    answers, took_s = load.send_all(asked, CONNECTIONS, timeout_s=600)
    _all_good(answers)
    made.client("lambda").get_waiter("function_active_v2").wait(FunctionName=f"grown-{count - 1}")
    return round(took_s, 3)


def _function_turns(small: Stage, large: Stage, folder: Path, options: Options) -> list[dict[str, Any]]:
    found = []
    for repeat in range(options.repeats):
        for title, made in (("1 of 1", small), ("1 of all", large)):
            options.say(f"invoking a function, {title}")
            asked = made.ask_function("grown-0", b"{}")
            load.send_all(asked[:8], 8)
            found.append({"way": title, "repeat": repeat} | _cost(made, asked, folder, options))
    return found
