"""Listings and versions against a plain model: a sorted dict of stacks of versions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagedoor.store.contents import Contents
from stagedoor.store.object_listing import Listing
from stagedoor.store.object_rows import (
    Bucket,
    BucketExistsError,
    BucketNotEmptyError,
    NewObject,
    NoSuchBucketError,
    ObjectRows,
)
from stagedoor.store.objects_io import put_bytes

ACCOUNT = "000000000000"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectRows]:
    rows = ObjectRows(tmp_path / "state.db", Contents(tmp_path / "contents"))
    yield rows
    rows.close()


def bucket(name: str = "bucket", account: str = ACCOUNT) -> Bucket:
    return Bucket(name, account, "us-east-1", 1.0)


def empty(etag: str = "e") -> NewObject:
    return NewObject(0, etag, 1.0, ())


@dataclass
class Version:
    id: str
    marker: bool
    etag: str = ""


@dataclass
class Model:
    """What S3 documents, written down the slow way."""

    versioning: str = ""
    keys: dict[str, list[Version]] = field(default_factory=dict)  # newest first

    def _push(self, key: str, version: Version) -> None:
        stack = self.keys.setdefault(key, [])
        if version.id == "null":
            stack[:] = [old for old in stack if old.id != "null"]
        stack.insert(0, version)

    def put(self, key: str, version_id: str, etag: str) -> None:
        self._push(key, Version(version_id, False, etag))

    def delete(self, key: str, version_id: str) -> None:
        if self.versioning:
            self._push(key, Version(version_id, True))
        else:
            self.keys.pop(key, None)

    def delete_version(self, key: str, version_id: str) -> None:
        stack = [version for version in self.keys.get(key, []) if version.id != version_id]
        if stack:
            self.keys[key] = stack
        else:
            self.keys.pop(key, None)

    def current(self) -> list[str]:
        return sorted((key for key, stack in self.keys.items() if not stack[0].marker), key=str.encode)

    def all_versions(self) -> list[tuple[str, str, bool, bool]]:
        return [
            (key, version.id, version.marker, index == 0)
            for key in sorted(self.keys, key=str.encode)
            for index, version in enumerate(self.keys[key])
        ]


def fold(keys: list[str], prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
    plain: list[str] = []
    common: list[str] = []
    for key in keys:
        if not key.startswith(prefix):
            continue
        position = key.find(delimiter, len(prefix)) if delimiter else -1
        if position < 0:
            plain.append(key)
        elif (folded := key[: position + len(delimiter)]) not in common:
            common.append(folded)
    return plain, common


def read_current(rows: ObjectRows, prefix: str, delimiter: str, limit: int) -> tuple[list[str], list[str]]:
    keys: list[str] = []
    common: list[str] = []
    after = ""
    while True:
        page = rows.page("bucket", prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        assert len(page) <= limit
        merged = sorted([row.key for row in page.rows] + page.common_prefixes, key=str.encode)
        assert all(item.encode() > after.encode() for item in merged)
        keys += [row.key for row in page.rows]
        common += page.common_prefixes
        if not page.truncated:
            return keys, common
        assert len(page) == limit
        after = page.last


def read_versions(rows: ObjectRows, limit: int) -> list[tuple[str, str, bool, bool]]:
    found: list[tuple[str, str, bool, bool]] = []
    page = Listing()
    while True:
        page = rows.version_page(
            "bucket", after=page.last, after_version_id=page.last_version_id or None, limit=limit
        )
        found += [(row.key, row.version_id, row.delete_marker, row.latest) for row in page.rows]
        if not page.truncated:
            return found


KEY = st.text(st.sampled_from("ab/é\x00 \U0001f600\uffff"), min_size=1, max_size=5)
STEP = st.one_of(
    st.tuples(st.just("put"), KEY),
    st.tuples(st.just("delete"), KEY),
    st.tuples(st.just("delete_version"), st.integers(0, 30)),
    st.tuples(st.just("versioning"), st.sampled_from(["Enabled", "Suspended"])),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(STEP, max_size=30),
    prefix=st.text(st.sampled_from("ab/é"), max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "é", "//"]),
    limit=st.integers(1, 5),
)
def test_listings_equal_a_sorted_model_under_random_operations(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str | int]],
    prefix: str,
    delimiter: str,
    limit: int,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = ObjectRows(folder / "state.db", Contents(folder / "contents"))
    rows.create_bucket(bucket())
    model = Model()
    for number, (verb, value) in enumerate(steps):
        if verb == "put":
            row = rows.put("bucket", str(value), empty(str(number)))
            model.put(str(value), row.version_id, str(number))
        elif verb == "delete":
            model.delete(str(value), rows.delete("bucket", str(value), now=1.0).version_id)
        elif verb == "delete_version":
            known = model.all_versions()
            if known:
                key, version_id, _, _ = known[int(value) % len(known)]
                rows.delete("bucket", key, version_id, now=1.0)
                model.delete_version(key, version_id)
        else:
            model.versioning = str(value)
            rows.update_bucket("bucket", versioning=model.versioning)  # type: ignore[arg-type]
    try:
        assert read_current(rows, prefix, delimiter, limit) == fold(model.current(), prefix, delimiter)
        assert read_versions(rows, limit) == model.all_versions()
        assert [row.key for row in rows.list("bucket", prefix)] == fold(model.current(), prefix, "")[0]
        for key, stack in model.keys.items():
            current = rows.get("bucket", key)
            assert (current.etag if current else None) == (None if stack[0].marker else stack[0].etag)
    finally:
        rows.close()


def test_a_version_page_folds_common_prefixes_and_goes_on_within_a_key(store: ObjectRows) -> None:
    store.create_bucket(bucket())
    store.update_bucket("bucket", versioning="Enabled")
    ids = [store.put("bucket", "a", empty(str(number))).version_id for number in range(3)]
    for number in range(3):
        store.put("bucket", f"d/{number}", empty())
    page = store.version_page("bucket", delimiter="/", limit=2)
    assert [row.version_id for row in page.rows] == [ids[2], ids[1]]
    assert page.truncated
    page = store.version_page("bucket", delimiter="/", after=page.last, after_version_id=page.last_version_id)
    assert [row.version_id for row in page.rows] == [ids[0]]
    assert page.common_prefixes == ["d/"]
    assert not page.truncated


def test_a_version_listing_goes_on_after_its_marker_was_deleted(store: ObjectRows) -> None:
    store.create_bucket(bucket())
    store.update_bucket("bucket", versioning="Enabled")
    ids = [store.put("bucket", "a", empty(str(number))).version_id for number in range(3)]
    store.delete("bucket", "a", ids[1], now=1.0)
    page = store.version_page("bucket", after="a", after_version_id=ids[1])
    assert [row.version_id for row in page.rows] == [ids[0]]


def test_bucket_names_are_global_and_only_an_empty_bucket_goes(store: ObjectRows) -> None:
    store.create_bucket(bucket())
    with pytest.raises(BucketExistsError) as raised:
        store.create_bucket(bucket(account="111111111111"))
    assert raised.value.bucket.account_id == ACCOUNT
    store.put("bucket", "key", empty())
    with pytest.raises(BucketNotEmptyError):
        store.delete_bucket("bucket")
    store.delete("bucket", "key", now=1.0)
    store.delete_bucket("bucket")
    assert store.find_bucket("bucket") is None
    with pytest.raises(NoSuchBucketError):
        store.put("bucket", "key", empty())


def test_settings_merge_and_vanish_by_none(store: ObjectRows) -> None:
    store.create_bucket(bucket())
    store.update_bucket("bucket", settings={"TagSet": [{"Key": "a", "Value": "b"}]})
    store.update_bucket("bucket", settings={"CORSConfiguration": {"CORSRules": []}})
    found = store.find_bucket("bucket")
    assert found is not None
    assert set(found.settings) == {"TagSet", "CORSConfiguration"}
    assert store.update_bucket("bucket", settings={"TagSet": None}).settings == {
        "CORSConfiguration": {"CORSRules": []}
    }


def test_an_overwritten_object_frees_its_bytes_and_a_copied_one_keeps_them(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "contents", small_bytes=0)
    rows = ObjectRows(tmp_path / "state.db", contents)
    rows.create_bucket(bucket())
    first = put_bytes(rows, contents, "bucket", "a", b"one", now=1.0)
    segments = rows.segments(first)
    path = contents.path(segments[0].content_id)
    rows.put("bucket", "copy", NewObject(3, first.etag, 1.0, segments))
    put_bytes(rows, contents, "bucket", "a", b"two", now=2.0)
    assert path.read_bytes() == b"one"
    rows.delete("bucket", "copy", now=3.0)
    assert not path.exists()
    rows.close()
