"""Objects in and out, through boto3 over a socket."""

import base64
import errno
import hashlib
import http.client
import os
import random
import urllib.parse
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ResponseStreamingError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from living import paths_under
from services.s3_server import S3Server

from stagedoor.store.contents import ContentWriter

BIG = random.Random(7).randbytes(3 * 1024 * 1024 + 17)


def code(action: Callable[[], Any]) -> str:
    """The error code that ``action`` fails with."""
    with pytest.raises(ClientError) as raised:
        action()
    return raised.value.response["Error"]["Code"]


def status(action: Callable[[], Any]) -> int:
    with pytest.raises(ClientError) as raised:
        action()
    return raised.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 262_144, BIG], ids=["empty", "one", "piece", "big"])
def test_an_object_comes_back_as_it_went_in(s3: Any, data: bytes) -> None:
    put = s3.put_object(
        Bucket="bucket", Key="key", Body=data, ContentType="text/csv", Metadata={"A-b": "c d"}
    )
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    got = s3.get_object(Bucket="bucket", Key="key")
    assert got["Body"].read() == data
    assert (got["ContentLength"], got["ContentType"], got["ETag"]) == (len(data), "text/csv", put["ETag"])
    assert got["Metadata"] == {"a-b": "c d"}
    assert got["ServerSideEncryption"] == "AES256"
    assert "VersionId" not in got
    head = s3.head_object(Bucket="bucket", Key="key")
    assert (head["ContentLength"], head["ETag"], head["LastModified"]) == (
        len(data),
        put["ETag"],
        got["LastModified"],
    )


ODD_KEYS = [
    "..",
    "../../etc/passwd",
    "/leading",
    "a//b",
    "a/./b",
    "con",
    "C",
    "c",
    "e\u0301",
    "\u00e9",
    "with space+plus%20percent",
    "tab\tnew\nline",
    "\U0001f600",
    "<&>\"'",
    "k" * 1024,
]


def test_odd_keys_are_all_different_and_come_back_as_they_were(s3: Any) -> None:
    for number, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket="bucket", Key=key, Body=str(number).encode())
    for number, key in enumerate(ODD_KEYS):
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == str(number).encode()
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert listed == sorted(ODD_KEYS, key=str.encode)
    assert code(lambda: s3.put_object(Bucket="bucket", Key="k" * 1025, Body=b"")) == "KeyTooLongError"


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1048570-1048580", 1048570, 1048580),
        ("bytes=-5", -5, None),
        ("bytes=3145000-", 3145000, None),
    ],
)
def test_a_range_is_answered_with_206(s3: Any, header: str, first: int, last: int | None) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=BIG)
    got = s3.get_object(Bucket="bucket", Key="key", Range=header)
    start = first % len(BIG)
    end = len(BIG) - 1 if last is None else last
    assert got["Body"].read() == BIG[start : end + 1]
    assert got["ContentRange"] == f"bytes {start}-{end}/{len(BIG)}"
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_ranges_outside_are_416_and_nonsense_is_the_whole_object(s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"0123456789")
    s3.put_object(Bucket="bucket", Key="empty", Body=b"")
    assert code(lambda: s3.get_object(Bucket="bucket", Key="key", Range="bytes=10-")) == "InvalidRange"
    assert code(lambda: s3.get_object(Bucket="bucket", Key="key", Range="bytes=-0")) == "InvalidRange"
    assert status(lambda: s3.get_object(Bucket="bucket", Key="empty", Range="bytes=0-")) == 416
    for header in ("bytes=5-2", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4"):
        got = s3.get_object(Bucket="bucket", Key="key", Range=header)
        assert (got["Body"].read(), got["ResponseMetadata"]["HTTPStatusCode"]) == (b"0123456789", 200)


def test_conditional_reads(s3: Any) -> None:
    etag = s3.put_object(Bucket="bucket", Key="key", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket="bucket", Key="key")["LastModified"]
    before, after = modified - timedelta(hours=1), modified + timedelta(seconds=1)
    get = lambda **conditions: s3.get_object(Bucket="bucket", Key="key", **conditions)  # noqa: E731
    assert get(IfMatch=etag)["Body"].read() == b"x"
    assert get(IfMatch=etag, IfUnmodifiedSince=before)["Body"].read() == b"x"
    assert get(IfNoneMatch='"other"', IfModifiedSince=after)["Body"].read() == b"x"
    assert get(IfModifiedSince=before)["Body"].read() == b"x"
    assert get(IfUnmodifiedSince=modified)["Body"].read() == b"x"
    assert status(lambda: get(IfMatch='"other"')) == 412
    assert status(lambda: get(IfUnmodifiedSince=before)) == 412
    assert status(lambda: get(IfNoneMatch=etag)) == 304
    assert status(lambda: get(IfNoneMatch="*")) == 304
    assert status(lambda: get(IfModifiedSince=modified)) == 304
    assert status(lambda: s3.head_object(Bucket="bucket", Key="key", IfNoneMatch=etag)) == 304


def test_of_many_conditional_creations_exactly_one_wins(s3_server: S3Server, s3: Any) -> None:
    def create(number: int) -> int:
        try:
            s3.put_object(Bucket="bucket", Key="once", Body=str(number).encode() * 20_000, IfNoneMatch="*")
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]
        return 200

    with ThreadPoolExecutor(10) as pool:
        outcomes = sorted(pool.map(create, range(50)))
    assert outcomes == [200] + [412] * 49
    files = [path for path in paths_under(s3_server.folder / "contents") if path.is_file()]
    assert len(files) == 1


def test_conditional_overwrites(s3: Any) -> None:
    put = lambda **conditions: s3.put_object(Bucket="bucket", Key="key", Body=b"x", **conditions)  # noqa: E731
    assert code(lambda: put(IfMatch='"abc"')) == "NoSuchKey"
    etag = put()["ETag"]
    assert code(lambda: put(IfMatch='"abc"')) == "PreconditionFailed"
    assert put(IfMatch=etag)["ETag"] == etag
    assert code(lambda: put(IfNoneMatch=etag)) == "NotImplemented"


CHECKSUMS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_every_checksum_algorithm_is_checked_stored_and_answered(s3: Any, algorithm: str) -> None:
    member = f"Checksum{algorithm}"
    put = s3.put_object(Bucket="bucket", Key="key", Body=BIG, ChecksumAlgorithm=algorithm)
    assert put["ChecksumType"] == "FULL_OBJECT"
    if algorithm in CHECKSUMS:
        assert base64.b64decode(put[member]) == CHECKSUMS[algorithm](BIG)
    head = s3.head_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")
    assert head[member] == put[member]
    assert s3.get_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")["Body"].read() == BIG
    assert member not in s3.head_object(Bucket="bucket", Key="key")
    wrong = base64.b64encode(bytes(len(base64.b64decode(put[member])))).decode()
    assert (
        code(lambda: s3.put_object(Bucket="bucket", Key="other", Body=BIG, **{member: wrong})) == "BadDigest"
    )
    assert (
        code(lambda: s3.put_object(Bucket="bucket", Key="other", Body=b"", **{member: "?"}))
        == "InvalidRequest"
    )
    assert status(lambda: s3.head_object(Bucket="bucket", Key="other")) == 404


def test_without_a_checksum_crc64nvme_is_computed(s3_server: S3Server, s3: Any) -> None:
    plain = s3_server.client(request_checksum_calculation="when_required")
    put = plain.put_object(Bucket="bucket", Key="key", Body=b"123456789")
    assert put["ChecksumCRC64NVME"] == base64.b64encode(0xAE8B14860A799888.to_bytes(8, "big")).decode()


def test_content_md5(s3: Any) -> None:
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ContentMD5=right)
    assert code(lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"y", ContentMD5=right)) == "BadDigest"
    assert (
        code(lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"y", ContentMD5="abc"))
        == "InvalidDigest"
    )
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"x"


def test_algorithms_that_are_not_built_are_refused_by_name(s3: Any) -> None:
    with pytest.raises(ClientError, match="x-amz-checksum-xxhash64"):
        s3.put_object(Bucket="bucket", Key="key", Body=b"x", ChecksumXXHASH64="AAAAAAAAAAA=")
    for member in (
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.now(UTC)},
        {"ServerSideEncryption": "aws:kms:dsse"},
    ):
        assert (
            code(lambda member=member: s3.put_object(Bucket="bucket", Key="key", Body=b"x", **member))
            == "NotImplemented"
        )
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")


def test_metadata_over_2_kb_is_refused(s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"", Metadata={"k": "v" * 2047})
    assert (
        code(lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"", Metadata={"k": "v" * 2048}))
        == "MetadataTooLarge"
    )


def test_system_headers_are_stored_and_overridden_on_request(s3: Any) -> None:
    headers = {
        "CacheControl": "max-age=5",
        "ContentDisposition": 'attachment; filename="a.csv"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "StorageClass": "STANDARD_IA",
        "Tagging": "a=1&b=",
        "WebsiteRedirectLocation": "/other",
    }
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", Expires=datetime(2030, 1, 1, tzinfo=UTC), **headers)
    head = s3.head_object(Bucket="bucket", Key="key")
    for name, value in headers.items():
        if name != "Tagging":
            assert head[name] == value
    assert head["ExpiresString"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    assert head["TagCount"] == 2
    got = s3.get_object(
        Bucket="bucket",
        Key="key",
        ResponseContentType="text/html",
        ResponseCacheControl="no-cache",
        ResponseExpires=datetime(2031, 1, 1, tzinfo=UTC),
    )
    assert (got["ContentType"], got["CacheControl"]) == ("text/html", "no-cache")
    assert got["ExpiresString"] == "Wed, 01 Jan 2031 00:00:00 GMT"
    assert (
        code(lambda: s3.get_object(Bucket="bucket", Key="key", ResponseContentType="a\r\nX-Evil: 1"))
        == "InvalidArgument"
    )


def test_archived_objects_have_to_be_restored_first(s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", StorageClass="GLACIER")
    assert s3.head_object(Bucket="bucket", Key="key")["StorageClass"] == "GLACIER"
    assert code(lambda: s3.get_object(Bucket="bucket", Key="key")) == "InvalidObjectState"
    assert (
        code(lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"x", StorageClass="OUTPOSTS"))
        == "InvalidStorageClass"
    )


def test_missing_things_have_their_own_errors(s3: Any) -> None:
    with pytest.raises(s3.exceptions.NoSuchKey) as raised:
        s3.get_object(Bucket="bucket", Key="a/b")
    assert raised.value.response["Error"]["Key"] == "a/b"
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket="absent-bucket")
    assert status(lambda: s3.head_object(Bucket="bucket", Key="absent")) == 404
    assert code(lambda: s3.put_object(Bucket="absent-bucket", Key="k", Body=BIG)) == "NoSuchBucket"


def test_the_expected_owner_is_checked(s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ExpectedBucketOwner="000000000000")
    for action in (
        lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"y", ExpectedBucketOwner="111111111111"),
        lambda: s3.get_object(Bucket="bucket", Key="key", ExpectedBucketOwner="111111111111"),
        lambda: s3.list_objects_v2(Bucket="bucket", ExpectedBucketOwner="111111111111"),
        lambda: s3.copy_object(
            Bucket="bucket", Key="c", CopySource="bucket/key", ExpectedSourceBucketOwner="111111111111"
        ),
    ):
        assert code(action) == "AccessDenied"
    assert status(lambda: s3.head_bucket(Bucket="bucket", ExpectedBucketOwner="111111111111")) == 403


def test_a_damaged_disk_never_gives_wrong_bytes(s3_server: S3Server, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=BIG)
    (path,) = [path for path in paths_under(s3_server.folder / "contents") if path.is_file()]

    def flip(position: int) -> None:
        with path.open("r+b") as file:
            file.seek(position)
            file.write(bytes([BIG[position] ^ 0x10]))

    flip(2_500_000)
    with pytest.raises((ResponseStreamingError, http.client.IncompleteRead)):
        s3.get_object(Bucket="bucket", Key="key")["Body"].read()
    assert s3.get_object(Bucket="bucket", Key="key", Range="bytes=0-99")["Body"].read() == BIG[:100]
    assert status(lambda: s3.get_object(Bucket="bucket", Key="key", Range="bytes=2500001-2500001")) == 500
    assert (
        status(
            lambda: s3.copy_object(
                Bucket="bucket", Key="c", CopySource="bucket/key", ChecksumAlgorithm="SHA1"
            )
        )
        == 500
    )
    flip(0)
    assert status(lambda: s3.get_object(Bucket="bucket", Key="key")) == 500


def test_a_body_that_breaks_off_stores_nothing(s3_server: S3Server, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"old")
    address = urllib.parse.urlsplit(s3_server.url)
    for _ in range(2):
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        connection.putrequest("PUT", "/bucket/key")
        connection.putheader(
            "Authorization", "AWS4-HMAC-SHA256 Credential=A/20240101/us-east-1/s3/aws4_request"
        )
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        connection.send(b"x" * 600_000)
        connection.close()
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"old"
    s3.delete_object(Bucket="bucket", Key="key")
    for _ in range(200):
        left = [path for path in paths_under(s3_server.folder / "contents") if path.is_file()]
        if not left:
            break
        s3.head_bucket(Bucket="bucket")
    assert left == []


def test_copies_share_bytes_and_carry_or_replace_metadata(s3_server: S3Server, s3: Any) -> None:
    source = s3.put_object(
        Bucket="bucket", Key="a b/ü", Body=BIG, ContentType="text/csv", Metadata={"m": "1"}, Tagging="t=1"
    )
    copied = s3.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "a b/ü"})
    assert copied["CopyObjectResult"]["ETag"] == source["ETag"]
    assert copied["CopyObjectResult"]["ChecksumCRC32"] == source["ChecksumCRC32"]
    head = s3.head_object(Bucket="bucket", Key="copy")
    assert (head["ContentType"], head["Metadata"], head["TagCount"]) == ("text/csv", {"m": "1"}, 1)
    files = [path for path in paths_under(s3_server.folder / "contents") if path.is_file()]
    assert len(files) == 1
    s3.copy_object(
        Bucket="bucket",
        Key="copy2",
        CopySource="/bucket/a b/ü",
        MetadataDirective="REPLACE",
        Metadata={"n": "2"},
        TaggingDirective="REPLACE",
        Tagging="x=1&y=2",
        ChecksumAlgorithm="SHA256",
    )
    head = s3.head_object(Bucket="bucket", Key="copy2", ChecksumMode="ENABLED")
    assert (head["ContentType"], head["Metadata"], head["TagCount"]) == ("binary/octet-stream", {"n": "2"}, 2)
    assert base64.b64decode(head["ChecksumSHA256"]) == hashlib.sha256(BIG).digest()
    s3.delete_object(Bucket="bucket", Key="a b/ü")
    assert s3.get_object(Bucket="bucket", Key="copy")["Body"].read() == BIG


def test_copies_that_change_nothing_or_fail_their_conditions_are_refused(s3: Any) -> None:
    etag = s3.put_object(Bucket="bucket", Key="key", Body=b"x")["ETag"]

    def copy(**more: Any) -> Any:
        return s3.copy_object(**{"Bucket": "bucket", "Key": "to", "CopySource": "bucket/key"} | more)

    assert code(lambda: copy(Key="key")) == "InvalidRequest"
    copy(Key="key", MetadataDirective="REPLACE", Metadata={"a": "b"})
    assert s3.head_object(Bucket="bucket", Key="key")["Metadata"] == {"a": "b"}
    assert copy(CopySourceIfMatch=etag)["CopyObjectResult"]["ETag"] == etag
    assert code(lambda: copy(CopySourceIfMatch='"other"')) == "PreconditionFailed"
    assert code(lambda: copy(CopySourceIfNoneMatch=etag)) == "PreconditionFailed"
    assert code(lambda: copy(IfNoneMatch="*")) == "PreconditionFailed"
    assert code(lambda: copy(CopySource="bucket/absent")) == "NoSuchKey"
    assert code(lambda: copy(CopySource="absent-bucket/key")) == "NoSuchBucket"
    assert code(lambda: copy(CopySource="bucket")) == "InvalidArgument"


def test_deleting_is_idempotent_and_many_go_at_once(s3: Any) -> None:
    for number in range(5):
        s3.put_object(Bucket="bucket", Key=f"k{number}", Body=b"x")
    assert s3.delete_object(Bucket="bucket", Key="absent")["ResponseMetadata"]["HTTPStatusCode"] == 204
    answer = s3.delete_objects(
        Bucket="bucket", Delete={"Objects": [{"Key": "k0"}, {"Key": "absent"}, {"Key": "k\n"}]}
    )
    assert [entry["Key"] for entry in answer["Deleted"]] == ["k0", "absent", "k\n"]
    answer = s3.delete_objects(
        Bucket="bucket",
        Delete={
            "Quiet": True,
            "Objects": [{"Key": "k1"}, {"Key": "k2", "ETag": '"no"'}, {"Key": "k3", "VersionId": "?"}],
        },
    )
    assert "Deleted" not in answer
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [
        ("k2", "PreconditionFailed"),
        ("k3", "NoSuchVersion"),
    ]
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert keys == ["k2", "k3", "k4"]
    too_many = {"Objects": [{"Key": str(number)} for number in range(1001)]}
    assert code(lambda: s3.delete_objects(Bucket="bucket", Delete=too_many)) == "MalformedXML"


def test_tags_of_objects_and_buckets(s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", Tagging="a=1")
    assert s3.get_object_tagging(Bucket="bucket", Key="key")["TagSet"] == [{"Key": "a", "Value": "1"}]
    s3.put_object_tagging(Bucket="bucket", Key="key", Tagging={"TagSet": [{"Key": "b", "Value": "é 2"}]})
    assert s3.get_object_tagging(Bucket="bucket", Key="key")["TagSet"] == [{"Key": "b", "Value": "é 2"}]
    s3.delete_object_tagging(Bucket="bucket", Key="key")
    assert s3.get_object_tagging(Bucket="bucket", Key="key")["TagSet"] == []
    twice = {"TagSet": [{"Key": "b", "Value": "1"}, {"Key": "b", "Value": "2"}]}
    assert code(lambda: s3.put_object_tagging(Bucket="bucket", Key="key", Tagging=twice)) == "InvalidTag"
    many = {"TagSet": [{"Key": str(number), "Value": ""} for number in range(11)]}
    assert code(lambda: s3.put_object_tagging(Bucket="bucket", Key="key", Tagging=many)) == "BadRequest"
    assert (
        code(lambda: s3.put_object(Bucket="bucket", Key="key", Body=b"", Tagging="a=1&a=2")) == "InvalidTag"
    )
    assert code(lambda: s3.get_object_tagging(Bucket="bucket", Key="absent")) == "NoSuchKey"
    assert code(lambda: s3.get_bucket_tagging(Bucket="bucket")) == "NoSuchTagSet"
    s3.put_bucket_tagging(Bucket="bucket", Tagging={"TagSet": [{"Key": "team", "Value": "x"}]})
    assert s3.get_bucket_tagging(Bucket="bucket")["TagSet"] == [{"Key": "team", "Value": "x"}]
    s3.delete_bucket_tagging(Bucket="bucket")
    assert code(lambda: s3.get_bucket_tagging(Bucket="bucket")) == "NoSuchTagSet"


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60),
    metadata=st.dictionaries(
        st.text("abcdefghij-0123456789", min_size=1, max_size=8).filter(lambda t: t.strip("-") == t),
        st.text("abc XYZ;=,\"'", max_size=20).map(str.strip),
        max_size=3,
    ),
)
def test_any_key_and_metadata_round_trip(s3: Any, key: str, metadata: dict[str, str]) -> None:
    s3.put_object(Bucket="bucket", Key=key, Body=key.encode(), Metadata=metadata)
    got = s3.get_object(Bucket="bucket", Key=key)
    assert got["Body"].read() == key.encode()
    assert got["Metadata"] == metadata
    assert key in {
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="bucket")
        for entry in page["Contents"]
    }


def test_metadata_outside_ascii_is_answered_as_rfc_2047(s3_server: S3Server, s3: Any) -> None:
    address = urllib.parse.urlsplit(s3_server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=A/20240101/us-east-1/s3/aws4_request",
        "x-amz-meta-name": "Zoë".encode(),
    }
    connection.request("PUT", "/bucket/key", b"", headers)
    assert connection.getresponse().status == 200
    connection.close()
    word = s3.head_object(Bucket="bucket", Key="key")["Metadata"]["name"]
    assert word == f"=?UTF-8?B?{base64.b64encode('Zoë'.encode()).decode()}?="


def test_a_full_disk_is_said_and_forgotten(
    s3_server: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=b"old" * 10_000)

    def full(_writer: ContentWriter, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(ContentWriter, "write", full)
        with pytest.raises(ClientError, match="disk") as raised:
            s3.put_object(Bucket="bucket", Key="key", Body=BIG)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"old" * 10_000
    assert len([path for path in paths_under(s3_server.folder / "contents") if path.is_file()]) == 1
    s3.put_object(Bucket="bucket", Key="key", Body=BIG)


def test_readers_of_an_object_that_is_overwritten_and_deleted_get_one_version_whole(s3: Any) -> None:
    bodies = [bytes([number]) * (2 * 1024 * 1024 + number) for number in range(4)]
    s3.put_object(Bucket="bucket", Key="key", Body=bodies[0])

    def write(number: int) -> None:
        for round_ in range(6):
            s3.put_object(Bucket="bucket", Key="key", Body=bodies[(number + round_) % 4])

    def read(_number: int) -> int:
        whole = 0
        for _ in range(12):
            got = s3.get_object(Bucket="bucket", Key="key")
            body = got["Body"].read()
            assert f'"{hashlib.md5(body).hexdigest()}"' == got["ETag"]
            assert body in bodies
            whole += 1
        return whole

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        readers = [pool.submit(read, number) for number in range(3)]
        assert [future.result() for future in readers] == [12, 12, 12]
        for future in writers:
            future.result()


def test_get_object_attributes(s3: Any) -> None:
    put = s3.put_object(Bucket="bucket", Key="key", Body=b"123", ChecksumAlgorithm="SHA256")
    found = s3.get_object_attributes(
        Bucket="bucket",
        Key="key",
        ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"],
    )
    assert found["ETag"] == put["ETag"].strip('"')
    assert found["ObjectSize"] == 3
    assert found["StorageClass"] == "STANDARD"
    assert found["Checksum"] == {"ChecksumSHA256": put["ChecksumSHA256"], "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in found
