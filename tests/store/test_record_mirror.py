"""One kind of record in memory: the same as the records, at the price of what changed."""

from pathlib import Path
from typing import Any

import pytest

from stagedoor.store.record_mirror import RecordMirror
from stagedoor.store.records import Key, Record, SqliteRecords


class CountingRecords(SqliteRecords):
    """Counts how many documents are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read = 0
        self.broken = False

    def get(self, key: Key) -> Record | None:
        if self.broken:
            raise OSError("the disk is gone")
        self.read += 1
        return super().get(key)

    def list(self, *arguments: Any, **options: Any) -> list[Record]:
        found = super().list(*arguments, **options)
        self.read += len(found)
        return found


@pytest.fixture
def records(tmp_path: Path) -> CountingRecords:
    return CountingRecords(tmp_path / "state.sqlite")


def key(number: int, kind: str = "sagemaker.endpoint") -> Key:
    return Key(kind, "000000000000", "us-east-1", f"e{number:04}")


def put(records: SqliteRecords, number: int, kind: str = "sagemaker.endpoint", **document: Any) -> None:
    with records.transaction() as transaction:
        transaction.put(key(number, kind), document)


def status(record: Record) -> str | None:
    """What is kept of a record; nothing of those that have ended."""
    return None if record.document["Status"] == "Ended" else record.document["Status"]


def test_it_follows_the_records_and_reads_only_what_was_touched(records: CountingRecords) -> None:
    with records.transaction() as transaction:
        for number in range(1000):
            transaction.insert(key(number), {"Status": "InService"})
    mirror = RecordMirror(records, "sagemaker.endpoint", status)
    assert len(mirror.catch_up()) == len(mirror.found) == 1000
    records.read = 0
    assert mirror.catch_up() == frozenset()
    put(records, 1, Status="Updating")
    put(records, 2, Status="Ended")
    put(records, 2000, Status="Creating")
    put(records, 1, "sagemaker.endpoint_config", Status="Other")
    with records.transaction() as transaction:
        transaction.delete(key(3))
    assert mirror.catch_up() == {key(1), key(2), key(3), key(2000)}
    assert records.read == 4
    assert len(mirror.found) == 999
    assert [mirror.found.get(key(number)) for number in (1, 2, 3, 4, 2000)] == [
        "Updating",
        None,
        None,
        "InService",
        "Creating",
    ]


def test_what_could_not_be_read_is_read_the_next_time(records: CountingRecords) -> None:
    mirror = RecordMirror(records, "sagemaker.endpoint", status)
    mirror.catch_up()
    put(records, 1, Status="InService")
    records.broken = True
    with pytest.raises(OSError, match="disk"):
        mirror.catch_up()
    records.broken = False
    assert mirror.catch_up() == {key(1)}
    assert mirror.found == {key(1): "InService"}
