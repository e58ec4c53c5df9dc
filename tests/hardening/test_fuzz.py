"""Bytes that nobody meant, at every parser: HTTP, XML, JSON, forms, policies, archives. Never a crash, never a 500.

The mutations are drawn from fixed seeds, so that what fails once fails always. STAGEDOOR_TEST_FUZZ_ROUNDS makes a long run of it.
"""

import contextlib
import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from urllib.parse import urlencode

import pytest
from front.wire_requests import Signed
from hardening.raw_http import alive, connect
from services.identities import unique

from stagedoor.store import function_packages
from stagedoor.store.function_packages import PackageError
from stagedoor.testing import Server
from stagedoor.worker.archives import ArchiveError, extract_tar, extract_zip

ROUNDS = int(os.environ.get("STAGEDOOR_TEST_FUZZ_ROUNDS", "150"))
_TOKENS = (
    b"\0", b"\r\n", b"\n", b"\r\n\r\n", b"%00", b"%", b"..", b"//", b"&", b"=", b"<", b">", b"<!DOCTYPE x [", b"<![CDATA[", b"]]>",
    b"&#x0;", b"&amp;", b"<!--", b"{", b"}", b"[", b"]", b'"', b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"-1", b"9" * 40, b"null",
    b"true", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n", b"HTTP/1.1", b"*", b"?", b"${aws:username}", b"arn:aws:iam::000000000000:root", b"A" * 5000,
)  # fmt: skip


def mutated(data: bytes, random: Random) -> bytes:
    """``data`` with one to four changes: bits, bytes, pieces, words that mean something to some parser."""
    found = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(found) + 1)
        match random.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << random.randrange(8)
            case 1 if at < len(found):
                found[at] = random.randrange(256)
            case 2:
                found[at:at] = random.choice(_TOKENS)
            case 3:
                del found[at : at + random.randint(1, 20)]
            case 4:
                piece = found[at : at + random.randint(1, 40)]
                found[at:at] = piece * random.randint(1, 3)
            case _:
                end = random.randrange(len(found) + 1)
                found[min(at, end) : max(at, end)] = random.choice(_TOKENS)
    return bytes(found)


@pytest.fixture
def unharmed(stagedoor: Server) -> Iterator[None]:
    """Whatever was sent: the server still answers, and its log has no traceback."""
    log = stagedoor.data / "logs" / "server.jsonl"
    before = log.stat().st_size
    yield
    assert alive(stagedoor.api) and alive(stagedoor.public)
    with log.open("rb") as file:
        file.seek(before)
        faults = [line for line in map(json.loads, file) if "traceback" in line]
    assert faults == []


def statuses(data: bytes) -> list[int]:
    """The status of each answer in what a connection sent back."""
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


HEADS: dict[str, bytes] = {
    "get": b"GET /bucket/key?versionId=1&x=%20 HTTP/1.1\r\nHost: s3.localhost\r\nRange: bytes=0-1\r\nX-Amz-Date: 20260101T000000Z\r\n\r\n",
    "form": b"POST / HTTP/1.1\r\nHost: sts.localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 43\r\n\r\n"
    b"Action=GetCallerIdentity&Version=2011-06-15",
    "chunked": b"PUT /bucket/key HTTP/1.1\r\nHost: s3.localhost\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n"
    b"5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "signed": b"POST /endpoints/e/invocations HTTP/1.1\r\nHost: localhost\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: "
    b"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host;x-amz-date, Signature="
    + b"a" * 64
    + b"\r\nContent-Length: 3\r\n\r\n1,2",
    "presigned": b"GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    b"&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="
    + b"b" * 64
    + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "api": b"POST /_aws/execute-api/abc/prod/x?y=1 HTTP/1.1\r\nHost: h\r\nX-Api-Key: k\r\nContent-Length: 2\r\n\r\n{}",
    "website": b"GET /_aws/s3-website/bucket/a/../b%20 HTTP/1.1\r\nHost: b.s3-website.localhost\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
    "upload": b"POST /bucket HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 167\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\na/${filename}\r\n--b\r\nContent-Disposition: form-data; name="file";'
    b' filename="x"\r\nContent-Type: a/b\r\n\r\ncontent\r\n--b--\r\n',
    "package": b"GET /_stagedoor/function-code/"
    + b"a" * 64
    + b".zip?Expires=9999999999&Signature=abc HTTP/1.1\r\nHost: h\r\n\r\n",
    "connect": b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\nHost: sts.amazonaws.com:443\r\nProxy-Authorization: Basic eDp5\r\n\r\n",
    "preflight": b"OPTIONS /bucket/key HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("listener", ["api", "public"])
@pytest.mark.usefixtures("unharmed")
def test_http(stagedoor: Server, listener: str, name: str) -> None:
    random = Random(name)
    for _ in range(ROUNDS // 3):
        raw = mutated(HEADS[name], random)
        with connect(getattr(stagedoor, listener)) as connection:
            connection.settimeout(0.4)
            got = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(raw)
            # What is not a whole request is waited for; it need not be answered.
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection.shutdown(1)
                while piece := connection.recv(65536):
                    got += piece
        assert not [status for status in statuses(got) if status in {500, 502, 503, 504}], raw


XML = {
    "tagging": b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    "cors": b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    b"<MaxAgeSeconds>5</MaxAgeSeconds></CORSRule></CORSConfiguration>",
    "website": b"<WebsiteConfiguration><IndexDocument><Suffix>i.html</Suffix></IndexDocument><RoutingRules><RoutingRule><Condition>"
    b"<KeyPrefixEquals>a</KeyPrefixEquals></Condition><Redirect><ReplaceKeyWith>b</ReplaceKeyWith></Redirect></RoutingRule>"
    b"</RoutingRules></WebsiteConfiguration>",
    "delete": b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a</Key></Object><Quiet>true</Quiet></Delete>',
    "versioning": b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    "publicAccessBlock": b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
}


def refused_or_done(signed: Signed) -> None:
    answer = signed.send()
    assert answer.status < 500 or answer.status == 501, (signed.body, answer)
    if answer.status >= 400:
        assert answer.code, (signed.body, answer)


@pytest.mark.parametrize("name", XML)
@pytest.mark.usefixtures("unharmed")
def test_xml(stagedoor: Server, name: str) -> None:
    random, bucket = Random(name), unique("fuzzed")
    stagedoor.client("s3").create_bucket(Bucket=bucket)
    for _ in range(ROUNDS):
        method = "POST" if name == "delete" else "PUT"
        refused_or_done(
            Signed(
                stagedoor, "s3", method=method, target=f"/{bucket}?{name}", body=mutated(XML[name], random)
            )
        )


JSON: dict[str, tuple[str, str, str, dict[str, str], bytes]] = {
    "sagemaker": (
        "sagemaker",
        "POST",
        "/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.CreateEndpointConfig"},
        (
            b'{"EndpointConfigName": "fuzzed", "ProductionVariants": [{"VariantName": "v", "ModelName": "m", "InitialVariantWeight": 1.0,'
            b' "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}], "Tags": [{"Key": "a", "Value": "b"}]}'
        ),
    ),
    "logs": (
        "logs",
        "POST",
        "/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.FilterLogEvents"},
        b'{"logGroupName": "/a", "filterPattern": "[a, b = 1]", "startTime": 1, "limit": 5}',
    ),
    "lambda": (
        "lambda",
        "POST",
        "/2015-03-31/functions",
        {"Content-Type": "application/json"},
        (
            b'{"FunctionName": "f", "Runtime": "python3.12", "Role": "arn:aws:iam::000000000000:role/r", "Handler": "a.b", "Code": {"ZipFile":'
            b' "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}, "Timeout": 3, "Environment": {"Variables": {"A": "b"}}}'
        ),
    ),
    "apigateway": (
        "apigateway",
        "POST",
        "/restapis",
        {"Content-Type": "application/json"},
        b'{"name": "fuzzed", "endpointConfiguration": {"types": ["REGIONAL"]}, "binaryMediaTypes": ["image/*"], "tags": {"a": "b"}}',
    ),
    "form": (
        "iam",
        "POST",
        "/",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"Action=ListUsers&Version=2010-05-08&MaxItems=5&PathPrefix=%2Fa%2F&Tags.member.1.Key=a&Tags.member.1.Value=b",
    ),
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.usefixtures("unharmed")
def test_json_and_forms(stagedoor: Server, name: str) -> None:
    service, method, target, headers, body = JSON[name]
    random = Random(name)
    for _ in range(ROUNDS):
        refused_or_done(
            Signed(
                stagedoor, service, method=method, target=target, headers=headers, body=mutated(body, random)
            )
        )


def _put_bucket_policy(stagedoor: Server, text: bytes) -> Signed:
    return Signed(stagedoor, "s3", method="PUT", target="/fuzzed-policies?policy", body=text)


def _create_api(stagedoor: Server, text: bytes) -> Signed:
    body = json.dumps({"name": "fuzzed", "policy": text.decode("utf-8", "replace")}).encode()
    return Signed(
        stagedoor,
        "apigateway",
        method="POST",
        target="/restapis",
        headers={"Content-Type": "application/json"},
        body=body,
    )


def _simulate(stagedoor: Server, text: bytes) -> Signed:
    form = {
        "Action": "SimulateCustomPolicy",
        "Version": "2010-05-08",
        "PolicyInputList.member.1": text.decode("utf-8", "replace"),
        "ActionNames.member.1": "s3:GetObject",
        "ResourceArns.member.1": "arn:aws:s3:::fuzzed-policies/key",
    }
    return Signed(stagedoor, "iam", body=urlencode(form).encode())


@pytest.mark.parametrize("put", [_put_bucket_policy, _create_api, _simulate])
@pytest.mark.usefixtures("unharmed")
def test_policies(stagedoor: Server, put: Callable[[Server, bytes], Signed]) -> None:
    """Whatever was stored, decisions over it are made: the anonymous read is answered, too."""
    s3 = stagedoor.client("s3")
    s3.create_bucket(Bucket="fuzzed-policies")
    s3.delete_public_access_block(Bucket="fuzzed-policies")
    random = Random(put.__name__)
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "One",
                "Effect": "Allow",
                "Principal": {"AWS": ["*", "arn:aws:iam::000000000000:root"]},
                "Action": ["s3:GetObject", "execute-api:Invoke"],
                "Resource": "arn:aws:s3:::fuzzed-policies/${aws:username}*",
                "Condition": {
                    "ForAnyValue:StringLikeIfExists": {"aws:PrincipalTag/a": ["b*"]},
                    "IpAddress": {"aws:SourceIp": "127.0.0.0/8"},
                },
            }
        ],
    }
    try:
        for round_ in range(ROUNDS):
            refused_or_done(put(stagedoor, mutated(json.dumps(document).encode(), random)))
            if round_ % 10 == 0:
                plain = Signed(stagedoor, "s3", target="/fuzzed-policies/key")
                plain.headers = {"Host": plain.headers.get("Host", "localhost")}
                assert plain.send().status in {403, 404}
    finally:
        s3.delete_bucket_policy(Bucket="fuzzed-policies")


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, link in (
            ("folder", tarfile.DIRTYPE, ""),
            ("folder/" + "long" * 40 + "ü", tarfile.REGTYPE, ""),
            ("link", tarfile.SYMTYPE, "folder"),
            ("hard", tarfile.LNKTYPE, "folder/x"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = 700 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return packed.getvalue()


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", "def handler(event, context): return event\n" * 20)
        archive.writestr("folder/ü.txt", b"x" * 100)
        archive.writestr("folder/", b"")
    return packed.getvalue()


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
def test_archives(tmp_path: Path, form: str) -> None:
    """Extracted or refused, and nothing outside the folder in any case. (A zip's list of entries is all the server reads itself.)"""
    random = Random(form)
    (tmp_path / "outside").write_text("safe")
    for round_ in range(ROUNDS * 3):
        folder = tmp_path / str(round_)
        folder.mkdir()
        data = _zip() if form == "zip" else _tar()
        # Of a compressed file, mostly what is inside is interesting: its outside has a checksum.
        data = mutated(data, random) if form != "tar.gz" or round_ % 4 else data
        if form == "tar.gz":
            data = gzip.compress(data) if round_ % 4 else mutated(gzip.compress(data), random)
        archive = tmp_path / "archive"
        archive.write_bytes(data)
        with contextlib.suppress(ArchiveError):
            (extract_zip if form == "zip" else extract_tar)(archive, folder, max_bytes=2**20)
        if form == "zip":
            with contextlib.suppress(PackageError):
                function_packages.inspect(io.BytesIO(data))
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 2**20
        assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.isdigit()) == [
        "archive",
        "outside",
    ]
    assert (tmp_path / "outside").read_text() == "safe"
