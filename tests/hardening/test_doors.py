"""Cases 13, 44, 45 and 46: replayed requests, what lies around, the first start, and pages that point names at this machine."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from front.wire_requests import Signed, clock_off_by
from hardening.raw_http import exchange
from living import paths_under
from services.identities import unique

from stagedoor.testing import Server


def test_case_13_a_captured_request_can_be_sent_again_within_the_window_as_on_aws(stagedoor: Server) -> None:
    # That is why leaving this machine without TLS takes a flag of its own: see case 45.
    captured = Signed(stagedoor, "sts")
    assert [captured.send().status for _ in range(3)] == [200, 200, 200]
    with clock_off_by(-16 * 60):
        old = Signed(stagedoor, "sts")
    assert old.send().status == 403


def refused_start(tmp_path: Path, *flags: str, **environment: str) -> str:
    command = [sys.executable, "-m", "stagedoor", "up", "--data", str(tmp_path / "data"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--api", "0.0.0.0:0"),
        ("--api", "[::]:0"),
        ("--public", "0.0.0.0:0"),
        ("--api", "192.168.1.7:0"),
        ("--api", "myhost:0"),
        ("--api", "[::ffff:192.168.1.7]:0"),
    ],
)
def test_case_45_leaving_this_machine_without_tls_takes_a_flag(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    said = refused_start(tmp_path, *flags)
    for way in ("--tls self-signed", "--tls-cert", "--insecure", flags[1]):
        assert way in said
    assert not (tmp_path / "data" / "keys.json").exists()


def test_case_45_the_same_from_variables_and_nonsense(tmp_path: Path) -> None:
    assert "--insecure" in refused_start(tmp_path, STAGEDOOR_API="0.0.0.0:0")
    assert "self-signed" in refused_start(tmp_path, "--tls", "yes")
    assert "go together" in refused_start(tmp_path, "--tls-cert", "x.pem")
    assert "exclude" in refused_start(tmp_path, "--tls", "self-signed", "--tls-cert", "x", "--tls-key", "y")
    assert "x.pem cannot be read" in refused_start(tmp_path, "--tls-cert", "x.pem", "--tls-key", "y.pem")
    assert "not a valid bool" in refused_start(tmp_path, STAGEDOOR_INSECURE="perhaps")
    assert "loopback" in refused_start(tmp_path, STAGEDOOR_LOCAL="0.0.0.0:0")


@pytest.mark.parametrize("flags", [("--insecure",), ("--tls", "self-signed")])
def test_case_45_with_the_flag_or_with_tls_it_listens(
    stagedoor_server: Callable[..., Server], flags: tuple[str, ...]
) -> None:
    server = stagedoor_server({"STAGEDOOR_API": "0.0.0.0:0"}, *flags, "--api", "0.0.0.0:0")
    assert server.api.startswith("https://127.0.0.1:" if "--tls" in flags else "http://127.0.0.1:")
    assert server.client("sts").get_caller_identity()["Account"] == server.account_id


def test_case_45_the_first_start_makes_a_secret_of_its_own_and_shows_it_once(tmp_path: Path) -> None:
    outputs: list[str] = []
    secrets: set[str] = set()
    for name in ("one", "two"):
        for _ in range(2):
            server = Server(tmp_path / name / "data").start()
            secrets.add(server.secret_access_key)
            host = server.api.removeprefix("http://").partition(":")[0]
            assert host == "127.0.0.1"
            server.stop()
        outputs.append((tmp_path / name / "data.output").read_text())
    assert len(secrets) == 2
    for output in outputs:
        assert sum(output.count(secret) for secret in secrets) == 1
    assert all(len(secret) >= 40 for secret in secrets)


def test_case_45_nobody_else_on_the_network_reaches_a_plain_start(stagedoor: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no other address")
    for url in (stagedoor.api, stagedoor.public):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((own, int(url.rpartition(":")[2])), timeout=5)


@pytest.mark.parametrize("tls", [(), ("--tls", "self-signed")], ids=["http", "https"])
def test_case_44_what_lies_on_the_disk_is_the_owners_alone(
    stagedoor_server: Callable[..., Server], tls: tuple[str, ...]
) -> None:
    server = stagedoor_server(None, *tls)
    server.client("s3").create_bucket(Bucket=unique("mine"))
    subprocess.run(
        [sys.executable, "-m", "stagedoor", "env", "--proxy", "--data", str(server.data)],
        check=True,
        capture_output=True,
    )
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    for path in paths_under(server.data):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    keys = json.loads((server.data / "keys.json").read_text())
    authority = (server.data / "tls" / "authority.pem").read_text().partition("-----BEGIN CERT")[0]
    told = [
        (server.data / "stagedoor.json").read_text(),
        *(p.read_text() for p in (server.data / "logs").iterdir()),
    ]
    for secret in (
        keys["session_secret"],
        keys["proxy_password"],
        keys["root_secret_access_key"],
        authority[30:90],
    ):
        assert not any(secret in text for text in told)
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    assert keys["proxy_password"] not in listed


def test_case_44_errors_never_say_what_must_stay_secret(stagedoor: Server) -> None:
    proxy = "Proxy-Authorization: Basic c2VjcmV0OnBhc3N3b3Jk"
    for raw in (
        f"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n{proxy}\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: secret-in-a-header\r\nX: {'a' * 70_000}\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: secret-in-a-header\r\nX : y\r\n\r\n",
    ):
        answer = exchange(stagedoor.api, raw.encode())
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        assert b"secret" not in answer
        assert b"c2VjcmV0" not in answer


REBOUND = "evil.example"


@pytest.mark.parametrize("host", [REBOUND, f"{REBOUND}:4566", "127.0.0.1.nip.example", "s3.evil.example", ""])
@pytest.mark.parametrize(
    "target", ["/", "/private-bucket", "/private-bucket/k", "/restapis", "/2015-03-31/functions/"]
)
def test_case_46_a_page_whose_name_points_here_gets_nothing_private(
    stagedoor: Server, host: str, target: str
) -> None:
    s3 = stagedoor.client("s3")
    s3.create_bucket(Bucket="private-bucket")
    s3.put_object(Bucket="private-bucket", Key="k", Body=b"private content")
    head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{REBOUND}\r\nCookie: a=b\r\nConnection: close\r\n\r\n"
    for url in (stagedoor.api, stagedoor.public):
        answer = exchange(url, head.encode())
        assert answer.split()[1] in (b"400", b"403", b"404"), answer
        assert b"private content" not in answer
        low = answer.lower()
        assert b"access-control-allow-origin" not in low
        assert b"access-control-allow-credentials" not in low
        assert b"set-cookie" not in low


def test_case_46_preflights_of_strangers_are_refused(stagedoor: Server) -> None:
    stagedoor.client("s3").create_bucket(Bucket="private-bucket")
    for target in ("/", "/private-bucket/k", "/restapis", "/endpoints/any/invocations"):
        head = (
            f"OPTIONS {target} HTTP/1.1\r\nHost: {REBOUND}\r\nOrigin: http://{REBOUND}\r\n"
            "Access-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n"
        )
        answer = exchange(stagedoor.api, head.encode())
        assert answer.split()[1] in (b"403", b"404", b"400")
        assert b"access-control-allow" not in answer.lower()


def test_case_46_health_says_nothing_private(stagedoor: Server) -> None:
    for url in (stagedoor.api, stagedoor.public):
        head = f"GET /_stagedoor/health HTTP/1.1\r\nHost: {REBOUND}\r\nConnection: close\r\n\r\n"
        body = json.loads(exchange(url, head.encode()).partition(b"\r\n\r\n")[2])
        assert set(body) == {"status", "version", "api", "public", "isolation"}
