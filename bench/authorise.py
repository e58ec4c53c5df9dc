"""What a signature and a policy cost on the invoke path, in µs of CPU per request and step: ``python -m bench.authorise``.

One InvokeEndpoint of 10 KB, signed by botocore, goes through the server's own functions without a socket: its signature is
verified, its action and resource are worked out, the policies decide. Batches are timed by CPU time; the least and the middle one
are printed. Nothing else should run meanwhile.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench import machine
from stagedoor.authz import actions, sigv4
from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.domain.clock import SystemClock
from stagedoor.front import authorise
from stagedoor.front.authenticate import authenticate
from stagedoor.http.message import Request
from stagedoor.services import permissions
from stagedoor.services.call import House
from stagedoor.services.principals import Principals
from stagedoor.services.role_activity import RoleActivity
from stagedoor.settings import Settings
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.records import Key, SqliteRecords
from stagedoor.traffic.invocation_metrics import InvocationMetrics
from stagedoor.wire.requests import WireRequest

ACCOUNT = "000000000000"
HOST = "127.0.0.1:4566"
PATH = "/endpoints/reviews/invocations"
BODY = b"0," * 5_000
PARAMETERS = {"EndpointName": "reviews", "Body": BODY, "ContentType": "text/csv"}
RESOURCE = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/reviews"
PLAIN = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sagemaker:InvokeEndpoint", "logs:*"], '
    f'"Resource": ["{RESOURCE}", "arn:aws:logs:*:*:*"]}}]}}'
)
CONDITIONAL = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sagemaker:Invoke*", "Resource": "*", '
    '"Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}, "StringEquals": {"aws:RequestedRegion": "us-east-1"}}}]}'
)


class _Body:
    """A body that has arrived whole."""

    content_length = len(BODY)

    async def read(self, limit_bytes: int) -> bytes:
        return BODY

    async def __aiter__(self) -> Any:
        yield BODY


def house(folder: Path) -> House:
    """A house with two users and a role that may invoke the endpoint."""
    records = SqliteRecords(folder / "state.sqlite")
    tokens = SessionTokens(bytes(32))
    opened = House(
        **dict.fromkeys(House.__dataclass_fields__, cast(Any, None))
        | {
            "settings": Settings(data=folder),
            "clock": SystemClock(),
            "records": records,
            "session_tokens": tokens,
            "principals": Principals(records, tokens),
            "role_activity": RoleActivity(folder / "logs"),
            "invocation_metrics": InvocationMetrics(MetricPoints(folder / "metrics.sqlite"), SystemClock()),
        }
    )
    with records.transaction() as transaction:
        for name, policy in (("plain", PLAIN), ("conditional", CONDITIONAL)):
            arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
            user = {
                "UserName": name,
                "UserId": f"AIDA{name}",
                "Arn": arn,
                "Path": "/",
                "inlinePolicies": {"own": policy},
            }
            transaction.put(Key("iam.user", ACCOUNT, "", name), user)
            key = {"UserName": name, "Status": "Active", "secretAccessKey": "secret"}
            transaction.put(Key("iam.access_key", ACCOUNT, "", f"AKIA{name}"), key)
        role = {
            "RoleName": "role",
            "RoleId": "AROAROLE",
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/role",
            "Path": "/",
        }
        transaction.put(Key("iam.role", ACCOUNT, "", "role"), role | {"inlinePolicies": {"own": PLAIN}})
    return opened


def callers(opened: House) -> Mapping[str, Credentials]:
    """Who signs: a title and keys."""
    session = opened.principals.role_credentials(
        f"arn:aws:iam::{ACCOUNT}:role/role", "function", time.time(), 3_600
    )
    return {
        "a user with a policy": Credentials("AKIAplain", "secret"),
        "a function's role": Credentials(
            session.access_key_id, session.secret_access_key, session.session_token
        ),
        "a user whose policy has conditions": Credentials("AKIAconditional", "secret"),
    }


def signed(keys: Credentials) -> Request:
    """The request as it came from a socket, signed now."""
    unsigned = AWSRequest(
        "POST", f"http://{HOST}{PATH}", data=BODY, headers={"Content-Type": "text/csv", "Host": HOST}
    )
    SigV4Auth(keys, "sagemaker", "us-east-1").add_auth(unsigned)
    headers = [(name.lower(), value) for name, value in unsigned.headers.items()]
    headers += [
        ("user-agent", "Boto3/1.40"),
        ("content-length", str(len(BODY))),
        ("accept-encoding", "identity"),
    ]
    return Request("POST", PATH, "", headers, dict(headers), _Body(), "127.0.0.1")


def _finish(step: Awaitable[Any]) -> Any:
    """The result of a coroutine that never has to wait: what a step costs without the event loop."""
    coroutine = cast("Any", step)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the step waited")


def _steps(opened: House, keys: Credentials) -> Iterator[tuple[str, Callable[[], object]]]:
    """Names and calls, from the whole to its parts."""
    request = signed(keys)
    wire = WireRequest(request.method, request.path, request.query, request.header, BODY)
    who = _finish(authenticate(request, "sagemaker-runtime", opened, 10**7))
    asked = actions.Asked("InvokeEndpoint", PARAMETERS, "us-east-1", ACCOUNT, who.caller, "POST", PATH)

    def verify() -> object:
        return _finish(authenticate(request, "sagemaker-runtime", opened, 10**7))

    def decide() -> None:
        authorise.authorise(who, "sagemaker-runtime", "InvokeEndpoint", PARAMETERS, wire, opened)

    def both() -> None:
        verify()
        decide()

    yield "verify and authorise", both
    yield "  verify the signature", verify
    yield "    read what it states", lambda: sigv4.parse(request.header, request.query)
    yield "  authorise", decide
    yield "    action and resource", lambda: actions.required("sagemaker-runtime", asked)
    yield (
        "    decision",
        lambda: permissions.decision(opened, who.caller, "sagemaker:InvokeEndpoint", RESOURCE),
    )


def measured_us(call: Callable[[], object], batches: int, size: int) -> tuple[float, float]:
    """The least and the middle CPU time of a call, over ``batches`` of ``size``, in µs."""
    found: list[float] = []
    for _ in range(batches):
        started_s = time.process_time()
        for _ in range(size):
            call()
        found.append((time.process_time() - started_s) / size * 1e6)
    found.sort()
    return found[0], found[len(found) // 2]


async def _run(folder: Path, batches: int, size: int) -> None:
    opened = house(folder)
    print(f"{'µs of CPU per request':<40}{'least':>8}{'median':>8}")
    for title, keys in callers(opened).items():
        print(title)
        for name, call in _steps(opened, keys):
            call()
            least_us, median_us = measured_us(call, batches, size)
            print(f"  {name:<38}{least_us:>8.1f}{median_us:>8.1f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.authorise", description=__doc__)
    parser.add_argument("--batches", type=int, default=31, help="(31)")
    parser.add_argument("--size", type=int, default=1_000, help="requests per batch (1000)")
    given = parser.parse_args()
    print(machine.describe(("botocore", "uvloop")))
    with tempfile.TemporaryDirectory(prefix="stagedoor-bench-") as folder:
        asyncio.run(_run(Path(folder), given.batches, given.size))
    return 0


if __name__ == "__main__":
    sys.exit(main())
