"""Case 42: keys are names and never paths. Every one of them comes back as it was given, and none touches a file."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config
from front.wire_requests import Signed
from hardening.raw_http import exchange
from living import paths_under
from services.identities import unique

from stagedoor.testing import Server

KEYS = [
    "..", ".", "../../etc/passwd", "/etc/passwd", "a/../b", "a/./b", "a//b", "a/b", "/", "//", "a/", "a", "..%2f..%2fetc",
    "%2e%2e/x", "%252e%252e/x", "..\\..\\x", "con", "CON", "nul.txt", "aux/prn", "Key", "key", "KEY",
    "\u00e9", "e\u0301", "\u212b", "\u00c5", "a b", "a+b", "a%20b", " a", "a ", "a.", "~root", "$HOME", "`id`", "a;b", "a\nb",
    "a\tb", "x" * 1024, "\u00e4" * 512, "\U0001f600", "a?b=c", "a#b", "-rf", "state.sqlite", "../keys.json", "a\x7fb", "a\x00b",
]  # fmt: skip


@pytest.fixture(scope="module")
def bucket(stagedoor: Server) -> Iterator[str]:
    name = unique("keys")
    s3 = stagedoor.client("s3")
    s3.create_bucket(Bucket=name)
    for number, key in enumerate(KEYS):
        s3.put_object(Bucket=name, Key=key, Body=f"object {number}".encode())
    yield name


def test_case_42_every_key_is_another_object_and_comes_back_as_it_was(stagedoor: Server, bucket: str) -> None:
    assert len(set(KEYS)) == len(KEYS)
    s3 = stagedoor.client("s3")
    for number, key in enumerate(KEYS):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == f"object {number}".encode(), key
    listed = [
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for entry in page["Contents"]
    ]
    assert listed == sorted(KEYS, key=lambda key: key.encode())


def test_case_42_in_virtual_host_form_as_well(
    stagedoor: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not every system resolves names below localhost.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **named: resolve(
            "127.0.0.1" if host.endswith(".localhost") else host, *more, **named
        ),
    )
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://localhost:{stagedoor.api.rpartition(':')[2]}",
        region_name="us-east-1",
        aws_access_key_id=stagedoor.access_key_id,
        aws_secret_access_key=stagedoor.secret_access_key,
        config=Config(s3={"addressing_style": "virtual"}),
    )
    assert s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}).startswith(
        f"http://{bucket}.localhost:"
    )
    for number, key in enumerate(KEYS):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == f"object {number}".encode(), key


def test_case_42_no_file_is_named_by_a_key(stagedoor: Server, bucket: str) -> None:
    s3 = stagedoor.client("s3")
    marker = unique("marker")
    for key in (marker, f"../{marker}", f"../../../{marker}", f"/tmp/{marker}", f"a/{marker}"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert not paths_under(stagedoor.data.parent, f"*{marker}*")
    assert not (Path("/tmp") / marker).exists()
    for key in (marker, f"../{marker}", f"../../../{marker}", f"/tmp/{marker}", f"a/{marker}"):
        s3.delete_object(Bucket=bucket, Key=key)


@pytest.mark.parametrize("target", ["%ff%fe", "%ed%a0%80", "x" * 1025, quote("\u00e4" * 513)])
def test_case_42_what_is_no_key_is_refused(stagedoor: Server, bucket: str, target: str) -> None:
    before = stagedoor.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]
    for method, body in (("PUT", b"x"), ("GET", b"")):
        answer = Signed(stagedoor, "s3", method=method, target=f"/{bucket}/{target}", body=body).send()
        assert 400 <= answer.status < 500, answer
    assert stagedoor.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == before


@pytest.mark.parametrize(
    "target", ["..", "../keys.json", "%2e%2e/%2e%2e/keys.json", "..%2fkeys.json", "%252e%252e%252fkeys.json"]
)
def test_case_42_websites_serve_objects_and_no_files(stagedoor: Server, bucket: str, target: str) -> None:
    for path in (f"/_aws/s3-website/{bucket}/{target}", f"/_aws/s3-website/{target}"):
        answer = exchange(
            stagedoor.public, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.split()[1] in (b"403", b"404", b"400")
        assert stagedoor.secret_access_key.encode() not in answer
