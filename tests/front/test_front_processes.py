"""A server with front processes: they answer invocations whatever the control process does, from a table that is never old."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bench import processes
from botocore.config import Config
from botocore.exceptions import ClientError
from cli import commands
from front.line import Line, eventually
from front.wire_requests import Signed
from journeys.deployed import CSV, Deployed, all_end, numbers
from services.hosting_house import model_archive, train
from services.identities import document, make_role, make_user, unique

from stagedoor.services import denials
from stagedoor.testing import Server

ONCE = Config(retries={"total_max_attempts": 1})
MAY_INVOKE = {"Action": "sagemaker:InvokeEndpoint"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own with two front processes."""
    server = Server(tmp_path_factory.mktemp("fronts") / "data", None, "--fronts", "2").start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def app(server: Server) -> Deployed:
    return Deployed(server, unique("front")).bucket().model().endpoint()


def pids(server: Server) -> set[int]:
    """The front processes that run now."""
    return set(json.loads((server.data / "fronts.json").read_text()))


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process gets no time at all."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def log_lines(data: Path) -> list[dict[str, Any]]:
    path = data / "logs" / "access.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_invocations_go_on_while_the_control_process_gets_no_time(server: Server, app: Deployed) -> None:
    before = Line(server)
    assert before.invoke(app.name)[0] == 200
    _, keys = make_user(server)
    with stopped(server.pid):
        for line in (before, Line(server), Line(server)):
            status, body = line.invoke(app.name)
            assert status == 200
            assert numbers(body) == pytest.approx(app.expected, abs=1e-6)
        assert app.invoke_endpoint() == pytest.approx(app.expected, abs=1e-6)
        status, body = Line(server, keys).invoke(app.name)
        assert status == 403
        assert b"not authorized" in body
        forged = dict(keys, SecretAccessKey="made-up")
        assert Line(server, forged).invoke(app.name)[0] == 403
    assert before.invoke(app.name)[0] == 200
    assert server.client("s3").list_buckets()["Buckets"]


def test_status_shows_them(server: Server) -> None:
    found = json.loads(commands.stagedoor("status", "--json", "--data", str(server.data)).stdout)
    assert set(found["fronts"]) == pids(server)
    assert (
        commands.stagedoor("status", "--data", str(server.data)).stdout.count("  front process      pid ")
        == 2
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_benchmark_counts_them_among_the_servers_own_time(server: Server) -> None:
    assert set(processes.fronts_of(server.pid)) == pids(server)
    assert processes.server_cpu_s(server.pid) > processes.own_cpu_s(server.pid)


def test_a_deleted_or_inactive_key_is_refused_on_the_very_next_request_of_every_connection(
    server: Server, app: Deployed
) -> None:
    iam = server.client("iam")
    for turn in range(10):
        name, keys = make_user(server, MAY_INVOKE)
        lines = [Line(server, keys) for _ in range(6)]
        assert [line.invoke(app.name)[0] for line in lines] == [200] * 6
        key = {"UserName": name, "AccessKeyId": keys["AccessKeyId"]}
        if turn % 2:
            iam.delete_access_key(**key)
        else:
            iam.update_access_key(**key, Status="Inactive")
        answers = [line.invoke(app.name) for line in lines]
        assert [status for status, _ in answers] == [403] * 6
        assert all(b"security token" in body for _, body in answers)
        for line in lines:
            line.close()


def test_a_changed_policy_counts_from_the_very_next_request_on(server: Server, app: Deployed) -> None:
    iam = server.client("iam")
    name, keys = make_user(server)
    lines = [Line(server, keys) for _ in range(6)]
    allow, deny = document(MAY_INVOKE), document(MAY_INVOKE | {"Effect": "Deny"})
    for policy, status in ((None, 403), (allow, 200), (deny, 403), (allow, 200), (None, 403)):
        if policy is None:
            with contextlib.suppress(iam.exceptions.NoSuchEntityException):
                iam.delete_user_policy(UserName=name, PolicyName="own")
        else:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
        assert [line.invoke(app.name)[0] for line in lines] == [status] * 6


def test_a_session_ends_with_its_role(server: Server, app: Deployed) -> None:
    role = make_role(server, MAY_INVOKE)
    _, own = make_user(server, {"Action": "sts:AssumeRole"})
    sts = server.client("sts", credentials=own)
    keys = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="one")["Credentials"]
    line = Line(server, keys)
    assert line.invoke(app.name)[0] == 200
    seen = server.data / "logs" / "role-activity.jsonl"
    assert eventually(lambda: seen.exists() and role["Arn"] in seen.read_text())
    iam, name = server.client("iam"), role["RoleName"]
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    assert line.invoke(app.name)[0] == 403
    iam.delete_role(RoleName=name)
    status, body = line.invoke(app.name)
    assert (status, b"security token" in body) == (403, True)


def test_a_policy_that_asks_for_tags_of_the_endpoint_is_decided_by_the_control_process(
    server: Server, app: Deployed
) -> None:
    condition = {"StringEquals": {"aws:ResourceTag/stage": "prod"}}
    _, keys = make_user(server, MAY_INVOKE | {"Condition": condition})
    line = Line(server, keys)
    assert line.invoke(app.name)[0] == 403
    described = server.client("sagemaker").describe_endpoint(EndpointName=app.name)
    tags = [{"Key": "stage", "Value": "prod"}]
    server.client("sagemaker").add_tags(ResourceArn=described["EndpointArn"], Tags=tags)
    for each in (line, Line(server, keys)):
        assert each.invoke(app.name)[0] == 200


def test_when_a_key_was_used_is_kept(server: Server, app: Deployed) -> None:
    _, keys = make_user(server, MAY_INVOKE)
    assert Line(server, keys).invoke(app.name)[0] == 200
    iam = server.client("iam")

    def last_used() -> dict[str, Any]:
        return iam.get_access_key_last_used(AccessKeyId=keys["AccessKeyId"])["AccessKeyLastUsed"]

    assert eventually(lambda: last_used().get("LastUsedDate"))
    assert (last_used()["ServiceName"], last_used()["Region"]) == ("sagemaker", "us-east-1")


def test_every_other_kind_of_request_is_answered_on_the_same_connection(
    server: Server, app: Deployed
) -> None:
    s3 = server.client("s3")
    s3.put_object(Bucket=app.name, Key="note", Body=b"words")
    kinds: list[Callable[[Line], tuple[int, bytes]]] = [
        lambda line: line.ask(Signed(server, "s3", target=f"/{app.name}/note")),
        lambda line: line.ask(Signed(server, "sts")),
        lambda line: line.ask(Signed(server, "sagemaker")),
        lambda line: line.ask(
            Signed(server, "s3", method="PUT", target=f"/{app.name}/big", body=b"x" * 3_000_000)
        ),
        lambda line: line.ask(
            line.invocation(app.name, headers={"X-Amzn-SageMaker-Target-Variant": "AllTraffic"})
        ),
        lambda line: line.ask(line.invocation("no-such-endpoint")),
        lambda line: line.ask(Signed(server, "s3", query_form=True)),
    ]
    expected = [200, 200, 200, 200, 200, 400, 200]
    for kind, status in zip(kinds, expected, strict=True):
        line = Line(server)
        client = line.socket_name
        assert line.invoke(app.name)[0] == 200
        assert kind(line)[0] == status
        if status == 200:
            assert line.ask(Signed(server, "sts"))[0] == 200
            assert line.socket_name == client
        # Invocations that the control process answers end its connection: the next one finds a front process.
        assert line.invoke(app.name)[0] == 200
        assert line.connection.sock is None or status == 400
        line.close()
    assert s3.get_object(Bucket=app.name, Key="big")["Body"].read() == b"x" * 3_000_000


def test_pipelined_requests_are_answered_in_order_across_the_hand_over(server: Server, app: Deployed) -> None:
    line = Line(server)
    invoke, health = line.invocation(app.name), b"GET /_stagedoor/health HTTP/1.1\r\nHost: h\r\n\r\n"
    head = "".join(f"{name}: {value}\r\n" for name, value in invoke.headers.items())
    length = f"Content-Length: {len(invoke.body)}\r\n"
    host = f"Host: {server.api.removeprefix('http://')}\r\n"
    one = f"POST {invoke.path} HTTP/1.1\r\n{host}{head}{length}\r\n".encode() + invoke.body
    connection: socket.socket = line.connection.sock
    connection.sendall(one + one + health + one + health[:20])
    time.sleep(0.2)
    connection.sendall(health[20:])
    answers = list[bytes]()
    with connection.makefile("rb") as reader:
        for _ in range(5):
            head = list[str]()
            while (text := reader.readline().decode().strip()) or not head:
                assert text, "the connection ended"
                head.append(text.lower())
            (length,) = [text.rpartition(" ")[2] for text in head if text.startswith("content-length")]
            answers.append(reader.read(int(length)))
    assert [body.startswith(b"{") for body in answers] == [False, False, True, False, True]
    assert {tuple(numbers(answers[n])) for n in (0, 1, 3)} == {tuple(numbers(answers[0]))}


def test_a_request_that_is_none_is_refused_at_once(server: Server) -> None:
    host, _, port = server.api.removeprefix("http://").partition(":")
    with stopped(server.pid), socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(b"NO SUCH THING\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_the_forged_and_the_unauthorised_are_refused_and_why_is_kept(server: Server, app: Deployed) -> None:
    _, keys = make_user(server, {"Action": "sagemaker:ListModels"})
    client = server.client("sagemaker-runtime", credentials=keys, config=ONCE)
    with pytest.raises(ClientError) as refused:
        client.invoke_endpoint(EndpointName=app.name, ContentType="text/csv", Body=CSV)
    error, metadata = refused.value.response["Error"], refused.value.response["ResponseMetadata"]
    assert (error["Code"], metadata["HTTPStatusCode"]) == ("AccessDeniedException", 403)
    assert f"endpoint/{app.name} because no identity-based policy allows" in error["Message"]
    logs = server.data / "logs"
    (entry,) = eventually(lambda: list(denials.find(logs, metadata["RequestId"])))
    assert (entry["action"], entry["decision"]) == ("sagemaker:InvokeEndpoint", "implicit deny")

    line = Line(server)
    forged = line.invocation(app.name)
    forged.body = forged.body.replace(b"1", b"2")
    status, body = line.ask(forged)
    assert (status, b"signature we calculated" in body) == (403, True)
    assert line.invoke(app.name)[0] == 200


def test_a_body_that_is_too_large_is_refused_by_its_length(server: Server, app: Deployed) -> None:
    with pytest.raises(ClientError) as refused:
        server.client("sagemaker-runtime", config=ONCE).invoke_endpoint(
            EndpointName=app.name, Body=b"0" * 6_291_457
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


@pytest.mark.journey
def test_an_update_under_load_fails_no_request(server: Server) -> None:
    app = Deployed(server, unique("moves")).bucket().model().endpoint()
    sagemaker = server.client("sagemaker")
    other = train(seed=7)
    server.client("s3").put_object(Bucket=app.name, Key="other.tar.gz", Body=model_archive(other))
    model = sagemaker.describe_model(ModelName=app.name)
    container = model["PrimaryContainer"] | {"ModelDataUrl": f"s3://{app.name}/other.tar.gz"}
    sagemaker.create_model(
        ModelName=f"{app.name}-2", PrimaryContainer=container, ExecutionRoleArn=model["ExecutionRoleArn"]
    )
    for number, name in enumerate((f"{app.name}-2", app.name), 2):
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 2,
        }
        sagemaker.create_endpoint_config(
            EndpointConfigName=f"{app.name}-{number}", ProductionVariants=[variant]
        )
    over = threading.Event()

    def load(_: int) -> list[int]:
        line, statuses = Line(server), list[int]()
        while not over.is_set():
            statuses.append(line.invoke(app.name)[0])
        return statuses

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, number) for number in range(4)]
        try:
            for number in (2, 3):
                sagemaker.update_endpoint(EndpointName=app.name, EndpointConfigName=f"{app.name}-{number}")
                app.in_service()
        finally:
            over.set()
        statuses = [status for each in running for status in each.result()]
    assert set(statuses) == {200}
    sagemaker.delete_endpoint(EndpointName=app.name)
    app.wait("endpoint_deleted")
    status, body = Line(server).invoke(app.name)
    assert (status, b"not found" in body) == (400, True)


@pytest.mark.crash
def test_a_front_process_that_dies_takes_nobody_along(server: Server, app: Deployed) -> None:
    lines = [Line(server) for _ in range(6)]
    assert {line.invoke(app.name)[0] for line in lines} == {200}
    before = pids(server)
    os.kill(min(before), signal.SIGKILL)
    assert Line(server).invoke(app.name)[0] == 200
    lived = 0
    for line in lines:
        with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
            lived += line.invoke(app.name)[0] == 200
    assert 0 < lived < len(lines)  # connections are shared out evenly
    after = eventually(lambda: len(now := pids(server)) == 2 and now != before and now)
    assert len(after & before) == 1
    assert {Line(server).invoke(app.name)[0] for _ in range(6)} == {200}


@pytest.mark.crash
def test_a_front_process_that_hangs_serves_no_old_table(server: Server, app: Deployed) -> None:
    name, keys = make_user(server, MAY_INVOKE)
    lines = [Line(server, keys) for _ in range(4)]
    assert {line.invoke(app.name)[0] for line in lines} == {200}
    victim = min(pids(server))
    os.kill(victim, signal.SIGSTOP)
    server.client("iam").delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
    eventually(lambda: victim not in pids(server))
    for line in lines:
        with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
            assert line.invoke(app.name)[0] == 403
    assert Line(server, keys).invoke(app.name)[0] == 403
    eventually(lambda: len(pids(server)) == 2)


@pytest.mark.crash
def test_front_processes_end_with_a_control_process_that_is_killed(
    stagedoor_server: Callable[..., Server],
) -> None:
    server = stagedoor_server(None, "--fronts", "2")
    running = pids(server)
    assert len(running) == 2
    server.kill()
    assert all_end(running, within_s=10)
    server.start()
    assert Line(server).ask(Signed(server, "sts"))[0] == 200


@pytest.mark.journey
def test_a_stop_finishes_what_is_asked_and_loses_no_line_of_the_access_log(
    stagedoor_server: Callable[..., Server],
) -> None:
    server = stagedoor_server(None, "--fronts", "2")
    app = Deployed(server, unique("ends")).bucket().model().endpoint()
    running = pids(server)
    over = threading.Event()

    def load(_: int) -> int:
        line, count = Line(server), 0
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            while not over.is_set():
                assert line.invoke(app.name)[0] == 200
                count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        counting = [pool.submit(load, number) for number in range(4)]
        time.sleep(0.7)
        assert server.stop() == 0
        over.set()
        answered = sum(each.result() for each in counting)
    lines = [line for line in log_lines(server.data) if line["operation"] == "InvokeEndpoint"]
    assert answered > 0
    assert len(lines) == answered
    assert {(line["status"], line["principal"]) for line in lines} == {
        (200, f"arn:aws:iam::{server.account_id}:root")
    }
    assert all_end(running, within_s=10)
