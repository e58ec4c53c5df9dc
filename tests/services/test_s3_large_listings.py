"""A bucket of 100,000 keys, listed page by page: each page from an index, with the same work as in a small bucket.

Work is counted in steps of SQLite's virtual machine, not in time. The statements are those that the server runs, taken from its connections.
"""

import re
import sqlite3
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.s3_server import S3Server

from stagedoor.store.sqlite_file import SqliteFile

KEYS = {"small": 2_000, "large": 100_000}
FOLDERS = 100
STEPS_AT_ONCE = 10


class Observed:
    """What SQLite does for the server: its statements, with their values in place, and the steps they took."""

    def __init__(self) -> None:
        self.path = Path()
        self.statements: list[str] = []
        self.steps = 0
        self._lock = threading.Lock()

    def watch(self, connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(self.statements.append)
        connection.set_progress_handler(self._count, STEPS_AT_ONCE)

    def _count(self) -> int:
        with self._lock:
            self.steps += STEPS_AT_ONCE
        return 0

    def reset(self) -> None:
        self.statements.clear()
        self.steps = 0


@pytest.fixture(scope="module")
def observed() -> Observed:
    return Observed()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, observed: Observed) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("s3")
    connect = SqliteFile._connect

    def watched(file: SqliteFile) -> sqlite3.Connection:
        connection = connect(file)
        observed.watch(connection)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteFile, "_connect", watched)
        server = S3Server(folder)
        observed.path = folder / "state.sqlite"
        client = server.client()
        for name, count in KEYS.items():
            client.create_bucket(Bucket=name)
            _fill(observed.path, name, count)
        yield client
        client.close()
        server.close()


def _fill(path: Path, bucket: str, count: int) -> None:
    """Rows of empty objects, FOLDERS/NUMBER: as PutObject would write them, in one statement."""
    with sqlite3.connect(path, timeout=30) as connection:
        connection.execute(
            "INSERT INTO s3_versions (bucket, key, version_id, latest, delete_marker, size_bytes, etag, last_modified,"
            " storage_class, attributes)"
            " WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count)"
            " SELECT :bucket, CAST(printf('f%02d/%06d', n * :folders / :count, n) AS BLOB), 'null', 1, 0, 0,"
            " 'd41d8cd98f00b204e9800998ecf8427e', 1.0, 'STANDARD', CAST('{}' AS BLOB) FROM numbers",
            {"count": count, "bucket": bucket, "folders": FOLDERS},
        )
    connection.close()


def _key(bucket: str, number: int) -> str:
    return f"f{number * FOLDERS // KEYS[bucket]:02}/{number:06}"


def _listing(s3: Any, bucket: str, token: str) -> tuple[list[str], str]:
    """The keys of one page, and the token of the next. boto3 takes as long to read a page as the server to make it."""
    query = {"list-type": "2", **({"continuation-token": token} if token else {})}
    asked = urllib.request.Request(
        f"{s3.meta.endpoint_url}/{bucket}?{urllib.parse.urlencode(query)}",
        headers={
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/s3/aws4_request"
        },
    )
    with urllib.request.urlopen(asked) as answer:
        page = answer.read().decode()
    following = re.search("<NextContinuationToken>(.*?)</", page)
    return re.findall("<Key>(.*?)</Key>", page), following[1] if following else ""


def test_every_page_of_100_000_keys_costs_what_a_page_of_a_small_bucket_costs(
    s3: Any, observed: Observed
) -> None:
    observed.reset()
    _listing(s3, "small", "")
    small = observed.steps
    keys: list[str] = []
    work: list[int] = []
    token = ""
    while token or not work:
        observed.reset()
        page, token = _listing(s3, "large", token)
        keys += page
        work.append(observed.steps)
    assert keys == [_key("large", number) for number in range(KEYS["large"])]
    assert len(work) == KEYS["large"] / 1_000
    assert small > 1_000, "steps were not counted"
    assert max(work) <= 1.02 * small


REQUESTS: dict[str, dict[str, Any]] = {
    "all": {},
    "a prefix": {"Prefix": "f9"},
    "folders": {"Delimiter": "/"},
    "one folder": {"Prefix": "f57/", "Delimiter": "/"},
    "far behind": {"StartAfter": "f98/"},
    "folders behind one": {"Delimiter": "/", "StartAfter": "f40/"},
    "few": {"MaxKeys": 7, "StartAfter": "f33/"},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_page_is_read_from_an_index_whatever_is_asked_for(s3: Any, observed: Observed, name: str) -> None:
    request = REQUESTS[name]
    pages: dict[str, dict[str, Any]] = {}
    cost_of_one: dict[str, float] = {}
    for bucket in KEYS:
        observed.reset()
        page = pages[bucket] = s3.list_objects_v2(Bucket=bucket, **request)
        cost_of_one[bucket] = observed.steps / page["KeyCount"]
        _require_indexes(observed)
    expected = [
        key
        for key in (_key("large", number) for number in range(KEYS["large"]))
        if key.startswith(request.get("Prefix", "")) and key > request.get("StartAfter", "")
    ]
    if request.get("Delimiter") and not request.get("Prefix"):
        folders = sorted({key[:4] for key in expected} - {request.get("StartAfter")})
        assert [each["Prefix"] for each in pages["large"]["CommonPrefixes"]] == folders
    else:
        listed = [entry["Key"] for entry in pages["large"]["Contents"]]
        assert listed == expected[: request.get("MaxKeys", 1_000)]
    # A page that is not full has its share of what a statement costs by itself.
    assert cost_of_one["large"] <= 1.25 * cost_of_one["small"]


def test_versions_and_the_first_form_page_from_indexes_too(s3: Any, observed: Observed) -> None:
    calls = {
        "list_objects": {"Marker": "f50/050000"},
        "list_object_versions": {"KeyMarker": "f50/050000", "VersionIdMarker": "null"},
    }
    for operation, request in calls.items():
        observed.reset()
        page = getattr(s3, operation)(Bucket="large", **request)
        entries = page.get("Contents") or page["Versions"]
        assert entries[0]["Key"] == "f50/050001"
        assert len(entries) == 1_000
        assert observed.steps < 60_000
        _require_indexes(observed)


def test_a_page_of_a_key_with_many_versions_reads_no_more_than_it_shows(s3: Any, observed: Observed) -> None:
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket="versions", Key="key")["VersionId"] for _ in range(200)]
    observed.reset()
    page = s3.list_object_versions(Bucket="versions", KeyMarker="key", VersionIdMarker=ids[-1], MaxKeys=2)
    assert [each["VersionId"] for each in page["Versions"]] == [ids[-2], ids[-3]]
    assert page["IsTruncated"]
    assert observed.steps < 1_000, "read the versions behind the page"


def _require_indexes(observed: Observed) -> None:
    """The plan of each statement on objects that ran: a search in an index, no walk through the table, no sorting."""
    statements = [text for text in observed.statements if "s3_versions" in text]
    assert statements

    with sqlite3.connect(observed.path) as connection:
        for statement in set(statements):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert plan
            for line in plan:
                assert line.startswith("SEARCH s3_versions USING INDEX s3_versions_"), (statement, plan)
    connection.close()
