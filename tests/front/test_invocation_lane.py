"""The short lane of InvokeEndpoint answers exactly as the long way does, whatever is asked and whatever goes wrong."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.lambda_house import ACCOUNT, REGION, ROOT, LambdaHouse

from stagedoor.front import invocation_lane
from stagedoor.front.access_log import AccessLog
from stagedoor.front.held_answers import HeldAnswers
from stagedoor.front.listener import SignedListener
from stagedoor.http.body import BytesBody
from stagedoor.http.message import Request, Response, answer_of
from stagedoor.services.denials import Denials
from stagedoor.store.records import Key
from stagedoor.traffic.channel import CallFaultError, ChannelLostError
from stagedoor.traffic.endpoint_routes import EndpointKey, VariantRoute

HOST = "127.0.0.1:4566"
SHORT, LONG = "/endpoints/reviews/invocations", "/endpoints/review%73/invocations"
KEYS = Credentials(ROOT.access_key_id, ROOT.secret_access_key)
DENIED = Credentials("AKIADENIED", "secret")
LIMITED = Credentials("AKIALIMITED", "secret")


class Worker:
    """Answers with what it was asked, or with the fault it is told."""

    in_flight = 0
    is_closed = False
    fault: Exception | None = None

    def call(self, meta: Mapping[str, object], body: bytes, timeout_s: float) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.fault is not None:
            future.set_exception(self.fault)
        else:
            future.set_result(
                ({"content_type": "application/json"}, json.dumps([dict(meta), len(body)]).encode())
            )
        return future


class Front:
    def __init__(self, folder: Path) -> None:
        self.house = LambdaHouse(folder)
        self.worker = Worker()
        house = self.house.house
        allow = {
            "Effect": "Allow",
            "Action": "sagemaker:InvokeEndpoint",
            "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        }
        with self.house.records.transaction() as transaction:
            for name, keys, statements in (("denied", DENIED, []), ("limited", LIMITED, [allow])):
                document = json.dumps({"Version": "2012-10-17", "Statement": statements})
                user = {"UserName": name, "UserId": f"AIDA{name}", "Path": "/"} | (
                    {"inlinePolicies": {"own": document}} if statements else {}
                )
                user["Arn"] = f"arn:aws:iam::{ACCOUNT}:user/{name}"
                transaction.put(Key("iam.user", ACCOUNT, "", name), user)
                key = {"UserName": name, "Status": "Active", "secretAccessKey": keys.secret_key}
                transaction.put(Key("iam.access_key", ACCOUNT, "", keys.access_key), key)
        house.endpoint_routes.publish(
            EndpointKey(ACCOUNT, REGION, "reviews"), [VariantRoute("AllTraffic", 1.0, (self.worker,))]
        )
        house.endpoint_routes.loaded()
        self.access_log = AccessLog(folder / "access.jsonl", house.clock)
        self.listener = SignedListener(
            house,
            lambda: b"{}",
            lambda request: False,
            self._nothing,
            self._nothing,
            self.access_log,
            Denials(folder, house.principals, house.clock),
            HeldAnswers(house.records, 0),
        )

    @staticmethod
    async def _nothing(request: Request) -> Response:
        raise AssertionError(request.path)

    def ask(self, request: Request) -> Response:
        async def answered() -> Response:
            return await answer_of(self.listener.handle(request))

        return asyncio.run(answered())


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("front"))
    yield front
    front.house.close_stores()


def signed(
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    keys: Credentials = KEYS,
    *,
    peer_host: str = "127.0.0.1",
    spoil: Mapping[str, str] | None = None,
) -> Request:
    unsigned = AWSRequest("POST", f"http://{HOST}{path}", data=body, headers={"Host": HOST, **headers})
    SigV4Auth(keys, "sagemaker", REGION).add_auth(unsigned)
    found = {name.lower(): value for name, value in unsigned.headers.items()} | dict(spoil or {})
    return Request("POST", path, "", list(found.items()), found, BytesBody(body), peer_host)


def told(response: Response) -> tuple[int, list[tuple[str, str]], object]:
    """All of an answer but what no two answers share."""
    headers = sorted((name.lower(), value) for name, value in response.headers)
    return response.status, [pair for pair in headers if pair[0] != "x-amzn-requestid"], response.body


def both_ways(front: Front, body: bytes, headers: Mapping[str, str], **how: Any) -> tuple[int, Any, Any]:
    short, long = signed(SHORT, body, headers, **how), signed(LONG, body, headers, **how)
    assert invocation_lane.endpoint_name(short) == "reviews"
    assert invocation_lane.endpoint_name(long) is None
    by_lane, by_model = told(front.ask(short)), told(front.ask(long))
    assert by_lane == by_model
    return by_lane


PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)


@given(
    body=st.binary(max_size=2_000),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Accept", "X-Amzn-Trace-Id", "Accept-Encoding"]), PRINTABLE
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_both_ways_answer_the_same(
    front: Front, body: bytes, headers: dict[str, str]
) -> None:
    status, _, answered = both_ways(front, body, headers)
    assert status == 200
    meta, length = json.loads(answered)
    assert length == len(body)
    assert meta.get("accept") == headers.get("Accept")


def test_whoever_may_not_is_refused_in_the_same_words(front: Front) -> None:
    status, _, body = both_ways(front, b"1", {}, keys=DENIED)
    assert status == 403
    assert b"user/denied is not authorized to perform: sagemaker:InvokeEndpoint" in body
    assert both_ways(front, b"1", {}, keys=LIMITED)[0] == 403
    assert both_ways(front, b"1", {}, keys=LIMITED, peer_host="10.1.2.3")[0] == 200


@pytest.mark.parametrize(
    "spoil",
    [
        {"x-amz-date": "20200101T000000Z"},
        {"host": "elsewhere"},
        {"x-amz-security-token": "nonsense"},
    ],
)
def test_bad_signatures_are_refused_in_the_same_words(front: Front, spoil: dict[str, str]) -> None:
    status, _, body = both_ways(front, b"1", {}, spoil=spoil)
    assert status == 403
    assert b"__type" in body or b"message" in body


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (CallFaultError({"reason": "no such column", "status": 400}, b""), 424),
        (ChannelLostError("gone"), 424),
    ],
)
def test_faults_of_the_model_are_told_in_the_same_words(front: Front, fault: Exception, status: int) -> None:
    front.worker.fault = fault
    try:
        assert both_ways(front, b"1", {})[0] == status
    finally:
        front.worker.fault = None


def test_what_the_lane_does_not_know_takes_the_long_way() -> None:
    plain = signed(SHORT, b"1", {})
    assert invocation_lane.endpoint_name(plain) == "reviews"
    for further in (
        {"X-Amzn-SageMaker-Target-Variant": "a"},
        {"X-Amzn-SageMaker-Target-Model": "m.tar.gz"},
        {"X-Amzn-SageMaker-Custom-Attributes": "a"},
        {"X-Amzn-SageMaker-Inference-Component": "a"},
        {"Accept": "a" * 1_025},
        {"Accept": "é"},
    ):
        assert invocation_lane.endpoint_name(signed(SHORT, b"1", further)) is None, further
    for path in (
        "/endpoints/-reviews/invocations",
        f"/endpoints/{'a' * 64}/invocations",
        "/endpoints/reviews/invocations/",
        "/endpoints/reviews/async-invocations",
        "/endpoints/a/b/invocations",
    ):
        assert invocation_lane.endpoint_name(signed(path, b"1", {})) is None, path
    plain.header["authorization"] = plain.header["authorization"].replace("/sagemaker/", "/s3/")
    assert invocation_lane.endpoint_name(plain) is None
    assert invocation_lane.endpoint_name(Request("POST", SHORT, "", [], {}, BytesBody(b""))) is None
    assert invocation_lane.endpoint_name(Request("GET", SHORT, "", [], plain.header, BytesBody(b""))) is None


def test_the_lane_knows_every_member_of_the_models_request() -> None:
    from stagedoor.wire import models

    shape = models.service("sagemaker-runtime").operation("InvokeEndpoint").input_shape
    assert shape is not None
    headers = {
        member.serialization["name"].lower()
        for member in shape.members.values()
        if member.serialization.get("location") == "header"
    }
    taken = {"content-type", "accept"}
    for name in headers - taken:
        request = signed(SHORT, b"1", {name: "x"})
        assert invocation_lane.endpoint_name(request) is None, name


def test_the_access_log_has_a_line_for_each(front: Front) -> None:
    front.ask(signed(SHORT, b"1", {}))
    front.access_log.flush()
    last = json.loads((front.house.settings.data / "access.jsonl").read_text().splitlines()[-1])
    told = last["service"], last["operation"], last["status"], last["principal"]
    assert told == ("sagemaker-runtime", "InvokeEndpoint", 200, f"arn:aws:iam::{ACCOUNT}:root")
