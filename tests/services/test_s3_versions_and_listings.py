"""Listings, their paging, and versions, through boto3 over a socket."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError


def code(action: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as raised:
        action()
    return raised.value.response["Error"]["Code"]


@pytest.fixture
def tree(s3: Any) -> Any:
    for key in ("a", "b/1", "b/2", "b/c/3", "d e/é", "z"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    return s3


def test_v2_folds_common_prefixes_and_pages_by_token(tree: Any) -> None:
    pages = list(
        tree.get_paginator("list_objects_v2").paginate(
            Bucket="bucket", Delimiter="/", PaginationConfig={"PageSize": 1}
        )
    )
    assert [[e["Key"] for e in p.get("Contents", [])] for p in pages] == [["a"], [], [], ["z"]]
    assert [[e["Prefix"] for e in p.get("CommonPrefixes", [])] for p in pages] == [[], ["b/"], ["d e/"], []]
    assert [p["KeyCount"] for p in pages] == [1, 1, 1, 1]
    assert [p["IsTruncated"] for p in pages] == [True, True, True, False]
    found = tree.list_objects_v2(Bucket="bucket", Prefix="b/", StartAfter="b/1", FetchOwner=True)
    assert [e["Key"] for e in found["Contents"]] == ["b/2", "b/c/3"]
    assert len(found["Contents"][0]["Owner"]["ID"]) == 64
    assert found["StartAfter"] == "b/1"
    assert "Owner" not in tree.list_objects_v2(Bucket="bucket")["Contents"][0]


def test_entries_say_what_head_object_says(tree: Any) -> None:
    entry = tree.list_objects_v2(Bucket="bucket", Prefix="a")["Contents"][0]
    head = tree.head_object(Bucket="bucket", Key="a")
    assert entry["ETag"] == head["ETag"]
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]
    assert (entry["Size"], entry["StorageClass"]) == (1, "STANDARD")
    assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == (["CRC32"], "FULL_OBJECT")


def test_v1_gives_a_next_marker_only_with_a_delimiter(tree: Any) -> None:
    first = tree.list_objects(Bucket="bucket", MaxKeys=2)
    assert [e["Key"] for e in first["Contents"]] == ["a", "b/1"]
    assert "NextMarker" not in first
    first = tree.list_objects(Bucket="bucket", MaxKeys=2, Delimiter="/")
    assert first["NextMarker"] == "b/"
    rest = tree.list_objects(Bucket="bucket", Marker="b/", Delimiter="/")
    assert [e["Prefix"] for e in rest["CommonPrefixes"]] == ["d e/"]
    assert [e["Key"] for e in rest["Contents"]] == ["z"]


def test_limits_and_tokens_are_checked(tree: Any) -> None:
    none = tree.list_objects_v2(Bucket="bucket", MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert tree.list_objects_v2(Bucket="bucket", MaxKeys=5000)["MaxKeys"] == 1000
    assert code(lambda: tree.list_objects_v2(Bucket="bucket", MaxKeys=-1)) == "InvalidArgument"
    assert code(lambda: tree.list_objects_v2(Bucket="bucket", ContinuationToken="x")) == "InvalidArgument"
    assert code(lambda: tree.list_objects_v2(Bucket="bucket", EncodingType="base64")) == "InvalidArgument"


def test_url_encoding_of_names_is_optional(tree: Any) -> None:
    found = tree.list_objects_v2(Bucket="bucket", Prefix="d e/", EncodingType="url")
    assert found["EncodingType"] == "url"
    assert found["Contents"][0]["Key"] == "d%20e/%C3%A9"
    assert found["Prefix"] == "d%20e/"


@pytest.fixture
def versioned(s3: Any) -> Any:
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    return s3


def test_every_version_stays_readable_and_a_delete_leaves_a_marker(versioned: Any) -> None:
    ids = [
        versioned.put_object(Bucket="bucket", Key="key", Body=body)["VersionId"]
        for body in (b"1", b"22", b"3")
    ]
    assert len(set(ids)) == 3
    got = versioned.get_object(Bucket="bucket", Key="key", VersionId=ids[1])
    assert (got["Body"].read(), got["VersionId"]) == (b"22", ids[1])
    marker = versioned.delete_object(Bucket="bucket", Key="key")
    assert marker["DeleteMarker"] is True
    with pytest.raises(ClientError) as raised:
        versioned.get_object(Bucket="bucket", Key="key")
    headers = raised.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert raised.value.response["Error"]["Code"] == "NoSuchKey"
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker["VersionId"])
    with pytest.raises(ClientError) as raised:
        versioned.get_object(Bucket="bucket", Key="key", VersionId=marker["VersionId"])
    assert raised.value.response["Error"]["Code"] == "MethodNotAllowed"
    assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["allow"] == "DELETE"
    assert versioned.list_objects_v2(Bucket="bucket")["KeyCount"] == 0
    undone = versioned.delete_object(Bucket="bucket", Key="key", VersionId=marker["VersionId"])
    assert undone["DeleteMarker"] is True
    assert versioned.get_object(Bucket="bucket", Key="key")["Body"].read() == b"3"
    versioned.delete_object(Bucket="bucket", Key="key", VersionId=ids[2])
    assert versioned.get_object(Bucket="bucket", Key="key")["VersionId"] == ids[1]


def test_version_ids_are_checked(versioned: Any) -> None:
    other = versioned.put_object(Bucket="bucket", Key="other", Body=b"")["VersionId"]
    assert code(lambda: versioned.get_object(Bucket="bucket", Key="key", VersionId=other)) == "NoSuchVersion"
    assert (
        code(lambda: versioned.get_object(Bucket="bucket", Key="key", VersionId="junk")) == "InvalidArgument"
    )
    assert (
        code(lambda: versioned.delete_object(Bucket="bucket", Key="key", VersionId="junk"))
        == "InvalidArgument"
    )


def test_the_null_version_lives_before_and_after_versioning(s3: Any) -> None:
    assert "VersionId" not in s3.put_object(Bucket="bucket", Key="key", Body=b"null")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    named = s3.put_object(Bucket="bucket", Key="key", Body=b"named")["VersionId"]
    assert s3.get_object(Bucket="bucket", Key="key", VersionId="null")["Body"].read() == b"null"
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket="bucket")["Status"] == "Suspended"
    again = s3.put_object(Bucket="bucket", Key="key", Body=b"again")
    assert again["VersionId"] == "null"
    assert s3.get_object(Bucket="bucket", Key="key", VersionId="null")["Body"].read() == b"again"
    deleted = s3.delete_object(Bucket="bucket", Key="key")
    assert (deleted["VersionId"], deleted["DeleteMarker"]) == ("null", True)
    found = s3.list_object_versions(Bucket="bucket")
    assert [(v["VersionId"], v["IsLatest"]) for v in found["Versions"]] == [(named, False)]
    assert [(m["VersionId"], m["IsLatest"]) for m in found["DeleteMarkers"]] == [("null", True)]


def test_version_listings_page_within_a_key(versioned: Any) -> None:
    expected = []
    for key in ("a", "b"):
        ids = [
            versioned.put_object(Bucket="bucket", Key=key, Body=str(number).encode())["VersionId"]
            for number in range(3)
        ]
        expected += [(key, version_id) for version_id in reversed(ids)]
    pages = versioned.get_paginator("list_object_versions").paginate(
        Bucket="bucket", PaginationConfig={"PageSize": 2}
    )
    assert [(v["Key"], v["VersionId"]) for page in pages for v in page["Versions"]] == expected
    with_marker = versioned.list_object_versions(Bucket="bucket", KeyMarker="a")
    assert {v["Key"] for v in with_marker["Versions"]} == {"b"}
    assert (
        code(lambda: versioned.list_object_versions(Bucket="bucket", VersionIdMarker="x"))
        == "InvalidArgument"
    )


def test_a_bucket_with_versions_left_is_not_empty(versioned: Any) -> None:
    version_id = versioned.put_object(Bucket="bucket", Key="key", Body=b"x")["VersionId"]
    marker_id = versioned.delete_object(Bucket="bucket", Key="key")["VersionId"]
    assert code(lambda: versioned.delete_bucket(Bucket="bucket")) == "BucketNotEmpty"
    versioned.delete_objects(
        Bucket="bucket",
        Delete={"Objects": [{"Key": "key", "VersionId": v} for v in (version_id, marker_id)]},
    )
    versioned.delete_bucket(Bucket="bucket")


def test_copying_an_old_version_over_itself_restores_it(versioned: Any) -> None:
    first = versioned.put_object(Bucket="bucket", Key="key", Body=b"first")["VersionId"]
    versioned.put_object(Bucket="bucket", Key="key", Body=b"second")
    copied = versioned.copy_object(
        Bucket="bucket", Key="key", CopySource={"Bucket": "bucket", "Key": "key", "VersionId": first}
    )
    assert copied["CopySourceVersionId"] == first
    assert versioned.get_object(Bucket="bucket", Key="key")["Body"].read() == b"first"
    marker = versioned.delete_object(Bucket="bucket", Key="key")["VersionId"]
    source = {"Bucket": "bucket", "Key": "key", "VersionId": marker}
    assert (
        code(lambda: versioned.copy_object(Bucket="bucket", Key="to", CopySource=source)) == "InvalidRequest"
    )


def test_tags_belong_to_a_version(versioned: Any) -> None:
    first = versioned.put_object(Bucket="bucket", Key="key", Body=b"1", Tagging="n=1")["VersionId"]
    versioned.put_object(Bucket="bucket", Key="key", Body=b"2")
    old = versioned.get_object_tagging(Bucket="bucket", Key="key", VersionId=first)
    assert (old["TagSet"], old["VersionId"]) == ([{"Key": "n", "Value": "1"}], first)
    assert versioned.get_object_tagging(Bucket="bucket", Key="key")["TagSet"] == []
