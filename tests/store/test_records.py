"""Records by key, by prefix, by creation and by spelling: what a question reads does not grow with what it is not about."""

import sqlite3
from pathlib import Path

import pytest

from stagedoor.store.records import Key, SqliteRecords

PLACE = ("000000000000", "us-east-1")
MODEL = "sagemaker.model"


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecords:
    return SqliteRecords(tmp_path / "state.sqlite")


def fill(records: SqliteRecords, kind: str, names: list[str], created: list[float]) -> None:
    with records.transaction() as transaction:
        for name, at in zip(names, created, strict=True):
            transaction.insert(Key(kind, *PLACE, name), {"Name": name, "CreationTime": at})


def test_records_come_in_the_order_of_their_creation(records: SqliteRecords) -> None:
    created = [float(number * 7 % 1000 // 3) for number in range(1000)]
    names = [f"m{number:04}" for number in range(1000)]
    fill(records, MODEL, names, created)
    fill(records, "sagemaker.endpoint", ["other"], [5.0])
    expected = sorted(zip(created, names, strict=True))

    def found(*, descending: bool, start: float | None = None) -> list[tuple[float, str]]:
        rows = records.by_creation(MODEL, *PLACE, descending=descending, start=start)
        return [(row.document["CreationTime"], row.name) for row in rows]

    assert found(descending=False) == expected
    assert found(descending=True) == expected[::-1]
    assert found(descending=False, start=100.0) == [each for each in expected if each[0] >= 100.0]
    assert found(descending=True, start=100.0) == [each for each in expected if each[0] <= 100.0][::-1]
    with records.transaction() as transaction:
        newest = next(transaction.by_creation(MODEL, *PLACE, descending=True))
    assert newest.name == expected[-1][1]


def test_a_name_is_taken_in_any_spelling(records: SqliteRecords) -> None:
    with records.transaction() as transaction:
        transaction.insert(Key("iam.user", PLACE[0], "", "Alice"), {})
        assert transaction.spelt("iam.user", PLACE[0], "aLICE") == "Alice"
    assert records.spelt("iam.user", PLACE[0], "ALICE") == "Alice"
    assert records.spelt("iam.user", "111111111111", "Alice") is None
    assert records.spelt("iam.role", PLACE[0], "Alice") is None
    assert records.spelt("iam.user", PLACE[0], "Alic_") is None


def test_a_prefix_ends_where_it_ends(records: SqliteRecords) -> None:
    names = ["a", "a:", "a:1", "a:\U0001f600", "a;", "b:1"]
    fill(records, "lambda.version", names, [0.0] * 6)
    listed = [record.name for record in records.list("lambda.version", *PLACE, prefix="a:")]
    assert listed == ["a:", "a:1", "a:\U0001f600"]


def test_questions_walk_an_index(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine: ten times the records must not take more of them."""
    steps: list[int] = []
    for number in (300, 3000):
        records = SqliteRecords(tmp_path / f"{number}.sqlite")
        names = [f"m{each:05}" for each in range(number)]
        fill(records, MODEL, names, [float(each) for each in range(number)])
        fill(records, "iam.user", names, [0.0] * number)
        fill(records, "lambda.version", [f"{name}:1" for name in names], [0.0] * number)
        taken = 0

        def count() -> int:
            nonlocal taken
            taken += 1
            return 0

        with records._file.reading() as connection:  # pyright: ignore[reportPrivateUsage]
            connection.set_progress_handler(count, 10)
        next(records.by_creation(MODEL, *PLACE, descending=True))
        next(records.by_creation(MODEL, *PLACE, descending=False, start=7.0))
        records.spelt("iam.user", PLACE[0], "M00007")
        records.list("lambda.version", *PLACE, prefix="m00007:")
        records.list(MODEL, *PLACE, after="m00100", limit=10)
        with records._file.reading() as connection:  # pyright: ignore[reportPrivateUsage]
            connection.set_progress_handler(None, 0)
        steps.append(taken)
        records.close()
    assert steps[0] > 0
    assert steps[1] <= steps[0] * 1.05


def test_a_store_from_before_these_indexes_gets_them(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "state.sqlite")
    fill(records, MODEL, ["a", "b"], [2.0, 1.0])
    records.close()
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("DROP INDEX records_by_creation")
    records = SqliteRecords(tmp_path / "state.sqlite")
    assert [row.name for row in records.by_creation(MODEL, *PLACE, descending=False)] == ["b", "a"]
    records.close()
