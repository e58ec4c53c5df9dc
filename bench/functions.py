"""Functions and the web app: a cold start with boto3, what a warm call adds, and the whole way of the main job.

The web app is the one of ``examples/sentiment``: its own handler and word reader, behind a public API, asking an endpoint of 200
trees with its role's credentials. The memory told is that of the server with all of it live.
"""

import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import load, processes, stage, work
from bench.load import BenchError
from bench.options import Options
from bench.stage import Stage

EXAMPLE = Path(__file__).parents[1] / "examples" / "sentiment"
SETTLE_S = 2.0
NOTHING = b"def handle(event, context):\n    return {}\n"
WITH_BOTO3 = (
    b"import os\nimport boto3\n\nruntime = boto3.client('sagemaker-runtime')\nmark = os.urandom(8).hex()\n\n"
    b"def handle(event, context):\n    return {'mark': mark}\n"
)


def run(options: Options) -> dict[str, Any]:
    load.require_wrk()
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name:
        folder = Path(name)
        with stage.running() as made:
            told: dict[str, Any] = {"cold_ms": _cold(made, options), "warm": _warm(made, folder, options)}
        options.say("training the boosters")
        one = work.make(folder, "review")["review"]
        with stage.running() as made:
            options.say("the web app")
            told["web_app"] = _measure_web_app(made, _web_app(made, one), folder, options)
            told["boto3"] = _boto3(made, one, options)
    return told


def _cold(made: Stage, options: Options) -> list[float]:
    """Invoke of a function without a worker, ms: from the request to the answer, imports of boto3 and a client included."""
    options.say("cold starts")
    made.function("cold", {"code.py": WITH_BOTO3}, "code.handle", {})
    functions = made.client("lambda")
    seen, found = set(), []
    for number in range(max(5, options.repeats)):
        variables = {"Variables": {"NUMBER": str(number)}}
        functions.update_function_configuration(FunctionName="cold", Environment=variables)
        functions.get_waiter("function_updated_v2").wait(FunctionName="cold")
        time.sleep(0.5)
        answers, took_s = load.send_all(made.ask_function("cold", b"{}", 1), 1)
        mark = json.loads(answers[0].body).get("mark")
        if answers[0].status != 200 or mark in seen:
            raise BenchError(f"not a cold start: {answers[0]}")
        seen.add(mark)
        found.append(round(took_s * 1e3, 3))
    return found


def _warm(made: Stage, folder: Path, options: Options) -> list[dict[str, Any]]:
    """Invoke of a function that does nothing: all of it is overhead."""
    made.function("nothing", {"code.py": NOTHING}, "code.handle", {})
    url = f"{made.server.api}/2015-03-31/functions/nothing/invocations"
    load.send_all(made.ask_function("nothing", b"{}"), 8)
    found = []
    for connections in (1, 8):
        for repeat in range(options.repeats):
            requests = load.write(folder / "requests", made.ask_function("nothing", b"{}"))
            seen = load.wrk(url, requests, connections, options.seconds)
            found.append(_told(connections, repeat, seen))
    return found


def _told(connections: int, repeat: int, seen: load.Measured) -> dict[str, Any]:
    return {
        "connections": connections,
        "repeat": repeat,
        "requests_per_s": round(seen.requests_per_s, 1),
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
    }


# The web app ------------------------------------------------------------------------------------------------------


def _web_app(made: Stage, one: work.Work) -> str:
    """Endpoint, function and API as the example makes them; the public URL."""
    made.endpoint(one)
    vocabulary = [
        f"word{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}{chr(97 + number // 676)}"
        for number in range(work.COLUMNS)
    ]
    files = {
        "handler.py": (EXAMPLE / "handler.py").read_bytes(),
        "words.py": (EXAMPLE / "words.py").read_bytes(),
        "vocabulary.json": json.dumps(vocabulary).encode(),
    }
    arn = made.function("web-app", files, "handler.handle", {"ENDPOINT_NAME": one.name})
    with _example_modules(made.server.environment):
        import api
        import place
        import plan

        found = place.find()
        given = plan.Plan("web-app", "data", "page", "data", "training")
        api_id, _ = api.ensure(found, given, arn)
        url = found.api_url_by_path(api_id, plan.STAGE, plan.RESOURCE)
    if url is None:
        raise BenchError("the example takes this server for AWS")
    return url


@contextlib.contextmanager
def _example_modules(environment: Mapping[str, str]) -> Iterator[None]:
    """The example's modules importable, and its clients speaking to this server."""
    before = dict(os.environ)
    sys.path.insert(0, str(EXAMPLE))
    os.environ.update(environment)
    try:
        yield
    finally:
        sys.path.remove(str(EXAMPLE))
        os.environ.clear()
        os.environ.update(before)


def _reviews(count: int = 100, words_each: int = 40) -> list[bytes]:
    drawn = random.Random(23)
    names = [chr(97 + number % 26) + chr(97 + number // 26 % 26) for number in range(676)]
    return [
        json.dumps(
            {
                "review": " ".join(
                    f"word{drawn.choice(names)}{drawn.choice('abcdefg')}" for _ in range(words_each)
                )
            }
        ).encode()
        for _ in range(count)
    ]


def _measure_web_app(made: Stage, url: str, folder: Path, options: Options) -> dict[str, Any]:
    asked = [load.request("POST", url, body, {"Content-Type": "application/json"}) for body in _reviews()]
    load.send_all(asked[:1], 1)
    time.sleep(SETTLE_S)
    pss_bytes, processes_of_it = processes.memory_bytes(made.server.pid)
    answers, _ = load.send_all(asked, 4)
    for answer in answers:
        if answer.status != 200 or json.loads(answer.body)["verdict"] not in ("positive", "negative"):
            raise BenchError(f"the web app answered {answer.status}: {answer.body[:300]!r}")
    requests = load.write(folder / "requests", asked)
    runs = [
        _told(connections, repeat, load.wrk(url, requests, connections, options.seconds))
        for connections in (1, 8)
        for repeat in range(options.repeats)
    ]
    return {"words_each": 40, "runs": runs, "pss_bytes": pss_bytes, "processes": processes_of_it}


# boto3 ------------------------------------------------------------------------------------------------------------


def _boto3(made: Stage, one: work.Work, options: Options) -> list[dict[str, Any]]:
    """InvokeEndpoint by boto3 clients, each a process of its own: nearly all of the time is the client's."""
    from bench import boto3_clients

    found = []
    for count in (1, 2, 4):
        options.say(f"{count} boto3 clients")
        found.append(boto3_clients.measure(made, one, count, max(2.0, options.seconds)))
    return found
