"""Front processes behind TLS: they end it, answer invocations, and carry everything else inside it to the control process."""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from front.line import Line, eventually
from front.wire_requests import Signed
from journeys.deployed import Deployed, numbers
from services.identities import make_user, unique

from stagedoor.http.local_ca import LOCAL_NAMES, LocalCa
from stagedoor.testing import Server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ("--fronts", "2", "--tls", "self-signed")
    server = Server(tmp_path_factory.mktemp("fronts") / "data", None, *flags).start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def app(server: Server) -> Deployed:
    return Deployed(server, unique("front")).bucket().model().endpoint()


def fronts(server: Server) -> list[int]:
    return json.loads((server.data / "fronts.json").read_text())


def test_invocations_over_tls_go_on_while_the_control_process_gets_no_time(
    server: Server, app: Deployed
) -> None:
    assert server.api.startswith("https://")
    before = Line(server)
    assert before.invoke(app.name)[0] == 200
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for line in (before, Line(server), Line(server)):
            status, body = line.invoke(app.name)
            assert status == 200
            assert numbers(body) == pytest.approx(app.expected, abs=1e-6)
        forged = {"AccessKeyId": server.access_key_id, "SecretAccessKey": "made-up"}
        assert Line(server).invoke(app.name, keys=forged)[0] == 403
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_everything_else_is_answered_on_the_same_connection(server: Server, app: Deployed) -> None:
    line = Line(server)
    client = line.connection.sock.getsockname()
    body = os.urandom(3_000_000)
    assert line.invoke(app.name)[0] == 200
    assert line.call("s3", method="PUT", target=f"/{app.name}/big", body=body)[0] == 200
    assert line.call("s3", target=f"/{app.name}/big") == (200, body)
    assert line.call("sts")[0] == 200
    assert line.connection.sock.getsockname() == client
    # The control process ends it behind an invocation: the next one comes to a front process again.
    assert line.invoke(app.name)[0] == 200
    assert line.connection.sock is None
    assert line.invoke(app.name)[0] == 200


def test_the_clients_address_counts_and_not_the_relays(server: Server) -> None:
    def identity(address: str) -> tuple[int, bytes]:
        condition = {"IpAddress": {"aws:SourceIp": address}}
        _, keys = make_user(server, {"Action": "s3:ListAllMyBuckets", "Condition": condition})
        return Line(server).call("s3", keys=keys)

    assert identity("127.0.0.0/8")[0] == 200
    assert identity("10.0.0.0/8")[0] == 403


def _most_memory_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_large_objects_go_both_ways_in_little_memory(server: Server, app: Deployed) -> None:
    s3 = server.client("s3")
    before_kb = {pid: _most_memory_kb(pid) for pid in fronts(server)}
    body = os.urandom(MIB) * 64
    s3.put_object(Bucket=app.name, Key="large", Body=body)
    # A slow reader: the relay must not read ahead of it.
    answer = s3.get_object(Bucket=app.name, Key="large")["Body"]
    digest = hashlib.sha256(answer.read(MIB))
    time.sleep(0.5)
    for piece in answer.iter_chunks(MIB):
        digest.update(piece)
    assert digest.digest() == hashlib.sha256(body).digest()
    for pid, was_kb in before_kb.items():
        assert _most_memory_kb(pid) - was_kb < 24_000


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_nothing_is_left_of_connections_that_end(server: Server, app: Deployed) -> None:
    def sockets() -> int:
        """Those of all three processes; files come and go with the threads that read from the database."""
        count = 0
        try:
            for pid in (*fronts(server), server.pid):
                for each in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(FileNotFoundError):
                        count += str(each.readlink()).startswith("socket:")
        except PermissionError:
            pytest.skip("the system shows descriptors to root alone")
        return count

    Line(server).call("sts")
    time.sleep(0.1)
    before = sockets()
    for number in range(40):
        line = Line(server)
        if number % 4 == 0:  # in the middle of a request
            line.connection.putrequest("PUT", f"/{app.name}/never")
            line.connection.putheader("Content-Length", "1000000")
            line.connection.endheaders(b"x" * 1000)
        else:
            assert line.call("sts")[0] == 200
        line.connection.close()
    eventually(lambda: sockets() <= before + 6)


def test_a_wrong_beginning_is_no_harm(server: Server) -> None:
    host, _, port = server.api.removeprefix("https://").partition(":")
    plain = http.client.HTTPConnection(host, int(port), timeout=20)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.request("GET", "/_stagedoor/health")
        plain.getresponse()
    assert Line(server).call("sts")[0] == 200


def test_a_stop_finishes_what_is_relayed(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server(None, "--fronts", "2", "--tls", "self-signed")
    bucket, first = unique("ends"), Line(server)
    assert first.call("s3", method="PUT", target=f"/{bucket}")[0] == 200
    first.connection.close()
    begun, statuses = threading.Event(), list[int]()

    def pieces() -> Iterator[bytes]:
        for number in range(10):
            yield b"x" * 1000
            begun.set()
            time.sleep(0.1 if number < 9 else 0)

    def put() -> None:
        line, request = (
            Line(server),
            Signed(
                server,
                "s3",
                method="PUT",
                target=f"/{bucket}/slow",
                body=b"x" * 10_000,
                headers={"Content-Length": "10000"},
            ),
        )
        line.connection.request("PUT", request.path, pieces(), request.headers)
        statuses.append(line.connection.getresponse().status)
        line.connection.close()

    putting = threading.Thread(target=put)
    putting.start()
    assert begun.wait(20)
    assert server.stop() == 0
    putting.join(20)
    assert statuses == [200]


def test_a_certificate_of_ones_own(
    server: Server, stagedoor_server: Callable[..., Server], tmp_path: Path
) -> None:
    ca = LocalCa(server.data / "tls")
    ca.open()
    both = tmp_path / "both.pem"
    both.write_bytes(ca._new_leaf(LOCAL_NAMES))
    own = stagedoor_server(None, "--fronts", "1", "--tls-cert", str(both), "--tls-key", str(both))
    own.ca = server.ca
    assert Line(own).call("sts")[0] == 200
    status, body = Line(own).invoke("nobody")
    assert (status, b"not found" in body) == (400, True)
