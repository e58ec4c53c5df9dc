"""S3 through the whole server, signatures and policies included: boto3, the AWS CLI, raw requests, restarts."""

import base64
import hashlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from living import paths_under

from stagedoor.testing import Server

MIB = 1024 * 1024


def code(action: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as raised:
        action()
    return raised.value.response["Error"]["Code"]


@pytest.fixture
def bucket(stagedoor: Server) -> str:
    name = f"words-{uuid.uuid4().hex[:12]}"
    stagedoor.client("s3").create_bucket(Bucket=name)
    return name


def fetch(url: str, method: str = "GET", data: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_presigned_urls_read_write_and_end(stagedoor: Server, bucket: str) -> None:
    s3 = stagedoor.client("s3", config=Config(signature_version="s3v4"))
    target = {"Bucket": bucket, "Key": "a b/é"}
    put = s3.generate_presigned_url("put_object", Params=target)
    assert fetch(put, "PUT", b"data")[0] == 200
    get = s3.generate_presigned_url("get_object", Params={**target, "ResponseContentType": "text/x-test"})
    status, headers, body = fetch(get)
    assert (status, headers["content-type"], body) == (200, "text/x-test", b"data")
    assert fetch(get, "PUT", b"other")[0] == 403
    assert fetch(get.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601"))[0] == 403
    status, _, body = fetch(f"{stagedoor.api}/{bucket}/a%20b/%C3%A9")
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)


def test_virtual_host_addressing(stagedoor: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Browsers resolve names under localhost themselves; not every machine's resolver does.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest: resolve("127.0.0.1" if "localhost" in host else host, *rest),
    )
    port = urllib.parse.urlsplit(stagedoor.api).port
    client = boto3.client(
        "s3",
        endpoint_url=f"http://localhost:{port}",
        region_name=stagedoor.region,
        aws_access_key_id=stagedoor.access_key_id,
        aws_secret_access_key=stagedoor.secret_access_key,
        config=Config(s3={"addressing_style": "virtual"}),
    )
    client.put_object(Bucket=bucket, Key="key", Body=b"data")
    assert client.get_object(Bucket=bucket, Key="key")["Body"].read() == b"data"
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


class Signed:
    """Raw signed requests, for what boto3 would not send."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def put(self, path: str, body: bytes, headers: dict[str, str], payload_hash: str) -> tuple[int, bytes]:
        url = self._server.api + path
        request = AWSRequest("PUT", url, headers={**headers, "x-amz-content-sha256": payload_hash})
        auth = S3SigV4Auth(
            Credentials(self._server.access_key_id, self._server.secret_access_key), "s3", self._server.region
        )
        auth.payload = lambda _request: payload_hash  # type: ignore[method-assign]
        auth.add_auth(request)
        address = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        connection.request("PUT", path, body, dict(request.headers.items()))
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer


def chunked(data: bytes, trailer: str = "") -> bytes:
    body = b"".join(
        b"%x\r\n%b\r\n" % (len(data[start : start + 70_000]), data[start : start + 70_000])
        for start in range(0, len(data), 70_000)
    )
    return body + b"0\r\n" + (trailer.encode() + b"\r\n" if trailer else b"") + b"\r\n"


def test_a_trailing_checksum_is_checked_before_anything_is_stored(stagedoor: Server, bucket: str) -> None:
    s3 = stagedoor.client("s3")
    data = random.Random(3).randbytes(200_000)
    right = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    signed = Signed(stagedoor)
    path = f"/{bucket}/key"
    assert signed.put(path, chunked(data, f"x-amz-checksum-crc32:{right}"), headers, kind)[0] == 200
    head = s3.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC32"], head["ContentLength"]) == (right, len(data))
    assert "ContentEncoding" not in head
    wrong = base64.b64encode(b"0000").decode()
    status, body = signed.put(path, chunked(b"x" * len(data), f"x-amz-checksum-crc32:{wrong}"), headers, kind)
    assert (status, b"BadDigest" in body) == (400, True)
    status, body = signed.put(path, chunked(b"x" * len(data)), headers, kind)
    assert (status, b"MalformedTrailerError" in body) == (400, True)
    status, body = signed.put(path, chunked(b"short", f"x-amz-checksum-crc32:{right}"), headers, kind)
    assert status == 400
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == data


def test_a_body_that_is_not_the_signed_one_is_not_stored(stagedoor: Server, bucket: str) -> None:
    signed = Signed(stagedoor)
    status, body = signed.put(f"/{bucket}/key", b"y" * 300_000, {}, hashlib.sha256(b"x").hexdigest())
    assert (status, b"XAmzContentSHA256Mismatch" in body) == (400, True)
    assert code(lambda: stagedoor.client("s3").head_object(Bucket=bucket, Key="key")) == "404"


def test_a_document_that_is_not_the_announced_one_is_refused(stagedoor: Server, bucket: str) -> None:
    s3 = stagedoor.client("s3")
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    assert code(lambda: s3.put_bucket_tagging(Bucket=bucket, Tagging=tags, ContentMD5=wrong)) == "BadDigest"
    assert code(lambda: s3.get_bucket_tagging(Bucket=bucket)) == "NoSuchTagSet"


@pytest.fixture
def reader(stagedoor: Server, bucket: str) -> Iterator[Any]:
    """A user who may read the bucket's objects, and nothing else."""
    iam = stagedoor.client("iam")
    name = f"reader-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    yield stagedoor.client("s3", credentials=key)


def test_who_may_not_list_is_not_told_what_is_missing(stagedoor: Server, bucket: str, reader: Any) -> None:
    stagedoor.client("s3").put_object(Bucket=bucket, Key="there", Body=b"x")
    assert reader.get_object(Bucket=bucket, Key="there")["Body"].read() == b"x"
    assert code(lambda: reader.get_object(Bucket=bucket, Key="missing")) == "AccessDenied"
    assert code(lambda: reader.head_object(Bucket=bucket, Key="missing")) == "403"
    assert code(lambda: reader.list_objects_v2(Bucket=bucket)) == "AccessDenied"
    assert code(lambda: reader.put_object(Bucket=bucket, Key="there", Body=b"y")) == "AccessDenied"
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/there"}
    assert code(lambda: reader.copy_object(**copy)) == "AccessDenied"


def test_browsers_are_answered_by_the_cors_rules(stagedoor: Server, bucket: str) -> None:
    s3 = stagedoor.client("s3")
    s3.put_object(Bucket=bucket, Key="key", Body=b"data")
    preflight = {"Origin": "https://app.example", "Access_Control_Request_Method": "GET"}
    status, _, body = fetch(f"{stagedoor.api}/{bucket}/key", "OPTIONS", **preflight)
    assert (status, b"CORS is not enabled" in body) == (403, True)
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://app.example"], "ExposeHeaders": ["ETag"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    status, headers, _ = fetch(f"{stagedoor.api}/{bucket}/key", "OPTIONS", **preflight)
    assert (status, headers["access-control-allow-origin"]) == (200, "https://app.example")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"})
    status, headers, body = fetch(url, Origin="https://app.example")
    assert (status, body, headers["access-control-expose-headers"]) == (200, b"data", "ETag")
    assert fetch(url, Origin="https://evil.example")[1]["access-control-allow-origin"] is None


def test_a_public_bucket_is_a_website_and_readable_without_a_signature(
    stagedoor: Server, bucket: str
) -> None:
    s3 = stagedoor.client("s3")
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<h1>hello</h1>", ContentType="text/html")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    by_path = f"{stagedoor.public}/_aws/s3-website/{bucket}/"
    assert fetch(by_path)[0] == 403
    s3.delete_public_access_block(Bucket=bucket)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    status, headers, body = fetch(by_path)
    assert (status, headers["content-type"], body) == (200, "text/html", b"<h1>hello</h1>")
    status, _, body = fetch(f"{stagedoor.public}/", Host=f"{bucket}.s3-website.localhost")
    assert (status, body) == (200, b"<h1>hello</h1>")
    assert fetch(f"{stagedoor.api}/{bucket}/index.html")[0] == 200
    assert fetch(f"{stagedoor.api}/{bucket}/missing")[0] == 403
    assert fetch(f"{stagedoor.api}/{bucket}/index.html", "PUT", b"x")[0] == 403


def aws(server: Server, *arguments: str, **environment: str) -> str:
    """Run the AWS CLI; its output."""
    command = [str(Path(sys.executable).parent / "aws"), *arguments]
    run = subprocess.run(
        command,
        env=os.environ | server.environment | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.journey
def test_the_cli_copies_syncs_moves_and_removes(stagedoor: Server, bucket: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub dir").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "sub dir" / "é.txt").write_text("b")
    big = random.Random(5).randbytes(17 * MIB)
    (tree / "big.bin").write_bytes(big)
    s3 = stagedoor.client("s3")

    def keys() -> list[str]:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    aws(stagedoor, "s3", "sync", str(tree), f"s3://{bucket}/tree")
    assert keys() == ["tree/a.txt", "tree/big.bin", "tree/sub dir/é.txt"]
    assert s3.head_object(Bucket=bucket, Key="tree/a.txt")["ContentType"] == "text/plain"
    aws(stagedoor, "s3", "mv", f"s3://{bucket}/tree/big.bin", f"s3://{bucket}/moved/big.bin")
    aws(stagedoor, "s3", "cp", f"s3://{bucket}/moved/big.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == big
    assert aws(stagedoor, "s3", "ls", f"s3://{bucket}/").split() == ["PRE", "moved/", "PRE", "tree/"]
    aws(stagedoor, "s3", "rb", "--force", f"s3://{bucket}")
    assert bucket not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]


@pytest.mark.crash
def test_what_was_answered_survives_kill_9_and_a_broken_upload_leaves_nothing(
    stagedoor_server: Callable[..., Server],
) -> None:
    server = stagedoor_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="key", Body=b"old" * 100_000, Metadata={"a": "b"})
    upload_id = s3.create_multipart_upload(Bucket="kept", Key="big")["UploadId"]
    etag = s3.upload_part(Bucket="kept", Key="big", UploadId=upload_id, PartNumber=1, Body=b"p" * MIB)["ETag"]
    address = urllib.parse.urlsplit(
        s3.generate_presigned_url("put_object", Params={"Bucket": "kept", "Key": "key"})
    )
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.putrequest("PUT", f"{address.path}?{address.query}")
    connection.putheader("Content-Length", str(8 * MIB))
    connection.endheaders()
    connection.send(b"new" * MIB)
    server.kill()
    connection.close()
    contents = server.data / "contents"
    server.start()
    s3 = server.client("s3")
    got = s3.get_object(Bucket="kept", Key="key")
    assert (got["Body"].read(), got["Metadata"]) == (b"old" * 100_000, {"a": "b"})
    parts = s3.list_parts(Bucket="kept", Key="big", UploadId=upload_id)["Parts"]
    assert [part["ETag"] for part in parts] == [etag]
    listed = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket="kept", Key="big", UploadId=upload_id, MultipartUpload=listed)
    assert s3.head_object(Bucket="kept", Key="big")["ContentLength"] == MIB
    assert list((contents / "incoming").iterdir()) == []
    assert sum(path.is_file() for path in paths_under(contents)) == 2


class _Zeros:
    """A file of ``size`` zero bytes that is never in memory; seekable, so that boto3 can sign and checksum it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def read(self, amount: int = -1) -> bytes:
        left = self._size - self._position
        amount = min(left, MIB) if amount < 0 else min(left, amount)
        self._position += amount
        return bytes(amount)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + {0: 0, 1: self._position, 2: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position


def peak_rss_bytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_big_object_moves_through_little_memory(stagedoor_server: Callable[..., Server]) -> None:
    size = int(os.environ.get("STAGEDOOR_TEST_BIG_OBJECT_BYTES", 300 * MIB))
    server = stagedoor_server()
    s3 = server.client("s3", config=Config(read_timeout=300))
    s3.create_bucket(Bucket="big")
    s3.put_object(Bucket="big", Key="warm", Body=bytes(MIB))
    s3.get_object(Bucket="big", Key="warm")["Body"].read()
    before = peak_rss_bytes(server.pid)
    s3.put_object(Bucket="big", Key="key", Body=cast(BinaryIO, _Zeros(size)))
    digest = hashlib.md5()
    total = 0
    for piece in s3.get_object(Bucket="big", Key="key")["Body"].iter_chunks(MIB):
        digest.update(piece)
        total += len(piece)
    s3.copy_object(Bucket="big", Key="copy", CopySource="big/key", ChecksumAlgorithm="SHA256")
    assert total == size
    assert s3.head_object(Bucket="big", Key="copy")["ETag"] == f'"{digest.hexdigest()}"'
    after = peak_rss_bytes(server.pid)
    assert after - before < 40 * MIB, f"{before} bytes before, {after} after"
