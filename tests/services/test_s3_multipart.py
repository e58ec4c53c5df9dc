"""Multipart uploads through boto3 over a socket: low-level calls and the transfer library's own."""

import base64
import hashlib
import io
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from living import paths_under
from services.s3_server import S3Server

MIB = 1024 * 1024
PARTS = [random.Random(n).randbytes(size) for n, size in enumerate((5 * MIB, 5 * MIB + 1, 3))]
WHOLE = b"".join(PARTS)


def code(action: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as raised:
        action()
    return raised.value.response["Error"]["Code"]


def files(server: S3Server) -> list[Path]:
    return [path for path in paths_under(server.folder / "contents") if path.is_file()]


def upload(s3: Any, key: str = "key", **create: Any) -> tuple[str, list[dict[str, Any]]]:
    upload_id = s3.create_multipart_upload(Bucket="bucket", Key=key, **create)["UploadId"]
    listed = []
    kind = {"ChecksumAlgorithm": create["ChecksumAlgorithm"]} if "ChecksumAlgorithm" in create else {}
    for number, data in enumerate(PARTS, start=1):
        answer = s3.upload_part(
            Bucket="bucket", Key=key, UploadId=upload_id, PartNumber=number, Body=data, **kind
        )
        checksums = {name: answer[name] for name in answer if name.startswith("Checksum")}
        listed.append({"PartNumber": number, "ETag": answer["ETag"], **checksums})
    return upload_id, listed


def complete(s3: Any, upload_id: str, parts: list[dict[str, Any]], **more: Any) -> Any:
    return s3.complete_multipart_upload(
        **{"Bucket": "bucket", "Key": "key", "UploadId": upload_id, "MultipartUpload": {"Parts": parts}}
        | more
    )


def test_parts_become_one_object_without_being_copied(s3_server: S3Server, s3: Any) -> None:
    upload_id, parts = upload(s3, Metadata={"a": "b"}, ContentType="text/csv", Tagging="t=1")
    before = {path: path.stat().st_mtime_ns for path in files(s3_server)}
    done = complete(s3, upload_id, parts)
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in PARTS)).hexdigest()
    assert done["ETag"] == f'"{digest}-3"'
    assert done["Location"] == f"{s3_server.url}/bucket/key"
    assert {path: path.stat().st_mtime_ns for path in files(s3_server)} == before
    got = s3.get_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")
    assert got["Body"].read() == WHOLE
    assert (got["Metadata"], got["ContentType"], got["TagCount"]) == ({"a": "b"}, "text/csv", 1)
    ranged = s3.get_object(Bucket="bucket", Key="key", Range=f"bytes={5 * MIB - 2}-{10 * MIB + 2}")
    assert ranged["Body"].read() == WHOLE[5 * MIB - 2 : 10 * MIB + 3]
    second = s3.get_object(Bucket="bucket", Key="key", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (PARTS[1], 3)
    assert code(lambda: s3.get_object(Bucket="bucket", Key="key", PartNumber=4)) == "InvalidPartNumber"
    s3.delete_object(Bucket="bucket", Key="key")
    assert files(s3_server) == []


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_composite_checksums(s3: Any, algorithm: str) -> None:
    upload_id, parts = upload(s3, ChecksumAlgorithm=algorithm)
    member = f"Checksum{algorithm}"
    assert (
        code(lambda: complete(s3, upload_id, [{k: v for k, v in p.items() if k != member} for p in parts]))
        == "InvalidRequest"
    )
    done = complete(s3, upload_id, parts)
    assert done["ChecksumType"] == "COMPOSITE"
    assert done[member].endswith("-3")
    if algorithm == "SHA256":
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in PARTS)).digest()
        assert done[member] == base64.b64encode(digest).decode() + "-3"
    found = s3.get_object_attributes(Bucket="bucket", Key="key", ObjectAttributes=["ObjectParts", "Checksum"])
    assert [part["Size"] for part in found["ObjectParts"]["Parts"]] == [len(part) for part in PARTS]
    assert [part[member] for part in found["ObjectParts"]["Parts"]] == [part[member] for part in parts]
    assert found["Checksum"][member] + "-3" == done[member]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_full_object_checksums_are_joined_from_the_parts(s3: Any, algorithm: str) -> None:
    upload_id, parts = upload(s3, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    member = f"Checksum{algorithm}"
    s3.put_object(Bucket="bucket", Key="plain", Body=WHOLE, ChecksumAlgorithm=algorithm)
    expected = s3.head_object(Bucket="bucket", Key="plain", ChecksumMode="ENABLED")[member]
    wrong = base64.b64encode(bytes(len(base64.b64decode(expected)))).decode()
    assert code(lambda: complete(s3, upload_id, parts, **{member: wrong})) == "BadDigest"
    done = complete(s3, upload_id, parts, **{member: expected, "MpuObjectSize": len(WHOLE)})
    assert (done[member], done["ChecksumType"]) == (expected, "FULL_OBJECT")
    if algorithm == "CRC32":
        assert base64.b64decode(expected) == zlib.crc32(WHOLE).to_bytes(4, "big")


def test_checksum_kinds_that_do_not_go_together_are_refused(s3: Any) -> None:
    create = lambda **more: s3.create_multipart_upload(Bucket="bucket", Key="key", **more)  # noqa: E731
    assert code(lambda: create(ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")) == "InvalidRequest"
    assert code(lambda: create(ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE")) == "InvalidRequest"
    upload_id = create(ChecksumAlgorithm="SHA256")["UploadId"]
    part = {"Bucket": "bucket", "Key": "key", "UploadId": upload_id, "PartNumber": 1, "Body": b"x"}
    assert code(lambda: s3.upload_part(**part, ChecksumAlgorithm="CRC32")) == "InvalidRequest"


def test_a_wrong_list_of_parts_changes_nothing(s3: Any) -> None:
    upload_id, parts = upload(s3)
    assert code(lambda: complete(s3, upload_id, [parts[1], parts[0]])) == "InvalidPartOrder"
    assert code(lambda: complete(s3, upload_id, [parts[0], parts[0]])) == "InvalidPartOrder"
    assert (
        code(lambda: complete(s3, upload_id, [{"PartNumber": 9, "ETag": parts[0]["ETag"]}])) == "InvalidPart"
    )
    assert code(lambda: complete(s3, upload_id, [{"PartNumber": 1, "ETag": '"0"'}])) == "InvalidPart"
    assert code(lambda: complete(s3, upload_id, parts, MpuObjectSize=1)) == "InvalidRequest"
    assert code(lambda: complete(s3, "nonsense", parts)) == "NoSuchUpload"
    assert code(lambda: s3.head_object(Bucket="bucket", Key="key")) == "404"
    assert complete(s3, upload_id, parts[1:])["ETag"].endswith('-2"')
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == WHOLE[5 * MIB :]
    assert code(lambda: complete(s3, upload_id, parts)) == "NoSuchUpload"


def test_a_completion_sent_again_is_answered_again(s3: Any) -> None:
    upload_id, parts = upload(s3)
    first = complete(s3, upload_id, parts, IfNoneMatch="*")
    again = complete(s3, upload_id, parts, IfNoneMatch="*")
    shown = ("ETag", "Location", "Bucket", "Key", "ChecksumType", "ChecksumCRC64NVME")
    assert [first[name] for name in shown if name in first] == [
        again[name] for name in shown if name in again
    ]
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == WHOLE
    s3.put_object(Bucket="bucket", Key="key", Body=b"newer")
    assert code(lambda: complete(s3, upload_id, parts)) == "NoSuchUpload"
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"newer"


def test_all_parts_but_the_last_have_a_minimum_size(s3: Any) -> None:
    upload_id = s3.create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(
                Bucket="bucket", Key="key", UploadId=upload_id, PartNumber=number, Body=b"x"
            )["ETag"],
        }
        for number in (1, 2)
    ]
    with pytest.raises(ClientError) as raised:
        complete(s3, upload_id, parts)
    error = raised.value.response["Error"]
    assert (error["Code"], error["MinSizeAllowed"], error["PartNumber"]) == ("EntityTooSmall", "5242880", "1")


def test_a_part_can_be_sent_again_and_what_is_not_used_is_freed(s3_server: S3Server, s3: Any) -> None:
    upload_id = s3.create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
    put = lambda number, body: s3.upload_part(  # noqa: E731
        Bucket="bucket", Key="key", UploadId=upload_id, PartNumber=number, Body=body
    )["ETag"]
    put(1, b"first try")
    etag = put(1, b"second try" * 2000)
    put(7, b"not used" * 3000)
    put(8, b"")
    assert [
        p["PartNumber"] for p in s3.list_parts(Bucket="bucket", Key="key", UploadId=upload_id)["Parts"]
    ] == [1, 7, 8]
    complete(s3, upload_id, [{"PartNumber": 1, "ETag": etag}])
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"second try" * 2000
    assert len(files(s3_server)) == 1
    for number in (0, 10_001):
        assert code(lambda number=number: put(number, b"")) == "InvalidArgument"


def test_an_aborted_upload_frees_its_space(s3_server: S3Server, s3: Any) -> None:
    upload_id, _ = upload(s3)
    assert len(files(s3_server)) == 2  # the last part is small enough to need none
    s3.abort_multipart_upload(Bucket="bucket", Key="key", UploadId=upload_id)
    assert files(s3_server) == []
    assert code(lambda: s3.list_parts(Bucket="bucket", Key="key", UploadId=upload_id)) == "NoSuchUpload"
    part = {"Bucket": "bucket", "Key": "key", "UploadId": upload_id, "PartNumber": 1, "Body": b"x"}
    assert code(lambda: s3.upload_part(**part)) == "NoSuchUpload"
    assert files(s3_server) == []


def test_parts_and_uploads_are_listed_in_pages(s3: Any) -> None:
    upload_id, parts = upload(s3, key="b/1")
    ids = {"b/1": upload_id}
    for key in ("a", "b/2", "c"):
        ids[key] = s3.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
    pages = list(
        s3.get_paginator("list_parts").paginate(
            Bucket="bucket", Key="b/1", UploadId=upload_id, PaginationConfig={"PageSize": 2}
        )
    )
    assert [[part["PartNumber"] for part in page["Parts"]] for page in pages] == [[1, 2], [3]]
    assert [part["ETag"] for page in pages for part in page["Parts"]] == [part["ETag"] for part in parts]
    pages = list(
        s3.get_paginator("list_multipart_uploads").paginate(Bucket="bucket", PaginationConfig={"PageSize": 3})
    )
    assert [(u["Key"], u["UploadId"]) for page in pages for u in page["Uploads"]] == sorted(ids.items())
    found = s3.list_multipart_uploads(Bucket="bucket", Delimiter="/")
    assert [u["Key"] for u in found["Uploads"]] == ["a", "c"]
    assert [c["Prefix"] for c in found["CommonPrefixes"]] == ["b/"]
    s3.delete_bucket(Bucket="bucket")


def test_a_part_copied_from_a_range_shares_its_bytes(s3_server: S3Server, s3: Any) -> None:
    upload_id, parts = upload(s3)
    complete(s3, upload_id, parts)
    target = s3.create_multipart_upload(Bucket="bucket", Key="copy")["UploadId"]
    ranges = [(5 * MIB - 10, 10 * MIB), (0, 99)]
    listed = []
    for number, (first, last) in enumerate(ranges, start=1):
        answer = s3.upload_part_copy(
            Bucket="bucket",
            Key="copy",
            UploadId=target,
            PartNumber=number,
            CopySource="bucket/key",
            CopySourceRange=f"bytes={first}-{last}",
        )
        assert answer["CopyPartResult"]["ETag"] == f'"{hashlib.md5(WHOLE[first : last + 1]).hexdigest()}"'
        listed.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    assert len(files(s3_server)) == 2  # the last part is small enough to need none
    complete(s3, target, listed, Key="copy")
    s3.delete_object(Bucket="bucket", Key="key")
    expected = b"".join(WHOLE[first : last + 1] for first, last in ranges)
    assert s3.get_object(Bucket="bucket", Key="copy")["Body"].read() == expected
    copy = lambda value: s3.upload_part_copy(  # noqa: E731
        Bucket="bucket",
        Key="k",
        UploadId=target,
        PartNumber=1,
        CopySource="bucket/copy",
        CopySourceRange=value,
    )
    target = s3.create_multipart_upload(Bucket="bucket", Key="k")["UploadId"]
    for value in ("bytes=0-", "bytes=5-2", f"bytes=0-{len(expected)}"):
        assert code(lambda value=value: copy(value)) == "InvalidArgument"


def test_a_copied_multipart_object_gets_the_etag_of_one_piece(s3: Any) -> None:
    upload_id, parts = upload(s3)
    complete(s3, upload_id, parts)
    copied = s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/key")
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(WHOLE).hexdigest()}"'
    assert copied["CopyObjectResult"]["ChecksumType"] == "FULL_OBJECT"
    assert s3.get_object(Bucket="bucket", Key="copy", ChecksumMode="ENABLED")["Body"].read() == WHOLE


def test_the_transfer_library_moves_big_files_both_ways(s3: Any, tmp_path: Path) -> None:
    config = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(WHOLE), "bucket", "big", Config=config)
    assert s3.head_object(Bucket="bucket", Key="big")["ETag"].endswith('-3"')
    s3.download_file("bucket", "big", str(tmp_path / "big"), Config=config)
    assert (tmp_path / "big").read_bytes() == WHOLE
    s3.copy({"Bucket": "bucket", "Key": "big"}, "bucket", "copied", Config=config)
    assert s3.get_object(Bucket="bucket", Key="copied")["Body"].read() == WHOLE
