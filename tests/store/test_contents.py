"""Object bytes: committed or not there at all, and never handed out wrong."""

import hashlib
import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagedoor.store import objects_io
from stagedoor.store.contents import (
    BLOCK_BYTES,
    SMALL_BYTES,
    Content,
    ContentDamagedError,
    ContentGoneError,
    Contents,
)
from stagedoor.store.object_rows import Bucket, NewObject, ObjectRows, whole

DATA = random.Random(1).randbytes(2 * BLOCK_BYTES + 12_345)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def written(contents: Contents, data: bytes) -> Content:
    with contents.writer() as writer:
        writer.write(data)
        return writer.commit()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, Content]:
    contents = Contents(tmp_path_factory.mktemp("contents"))
    return contents, written(contents, DATA)


@settings(deadline=None, max_examples=50)
@given(start=st.integers(0, len(DATA)), length=st.integers(0, len(DATA)))
def test_any_range_reads_back_what_was_written(
    big: tuple[Contents, Content], start: int, length: int
) -> None:
    contents, content = big
    length = min(length, len(DATA) - start)
    assert b"".join(contents.read(content, start, length)) == DATA[start : start + length]


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=6))
def test_checksums_do_not_depend_on_how_the_bytes_arrived(
    big: tuple[Contents, Content], cuts: list[int]
) -> None:
    contents, content = big
    bounds = [0, *sorted(cuts), len(DATA)]
    with contents.writer() as writer:
        for first, last in itertools.pairwise(bounds):
            writer.write(DATA[first:last])
        again = writer.commit()
    assert again.block_checksums == content.block_checksums
    contents.delete([again.id])


def test_digests_see_every_byte(tmp_path: Path) -> None:
    md5 = hashlib.md5()
    with Contents(tmp_path).writer([md5]) as writer:
        writer.write(DATA[:10])
        writer.write(DATA[10:])
        assert writer.commit().size_bytes == len(DATA)
    assert md5.digest() == hashlib.md5(DATA).digest()


@pytest.mark.parametrize("position", [0, BLOCK_BYTES - 1, BLOCK_BYTES, len(DATA) - 1])
def test_one_flipped_bit_is_found_before_its_block_is_given(tmp_path: Path, position: int) -> None:
    contents = Contents(tmp_path)
    content = written(contents, DATA)
    with contents.path(content.id).open("r+b") as file:
        file.seek(position)
        file.write(bytes([DATA[position] ^ 1]))
    given_bytes = b""
    with pytest.raises(ContentDamagedError):
        for piece in contents.read(content):
            given_bytes += piece
    assert given_bytes == DATA[: position // BLOCK_BYTES * BLOCK_BYTES]
    with pytest.raises(ContentDamagedError):
        list(contents.read(content, position, 1))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: os.truncate(path, 1000)])
def test_missing_and_cut_files_are_damage(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    contents = Contents(tmp_path)
    content = written(contents, DATA)
    damage(contents.path(content.id))
    with pytest.raises(ContentDamagedError):
        list(contents.read(content))


def test_an_aborted_or_failed_write_leaves_nothing(tmp_path: Path) -> None:
    contents = Contents(tmp_path, small_bytes=0)
    with contents.writer() as writer:
        writer.write(b"x")
    with pytest.raises(RuntimeError), contents.writer() as writer:
        writer.write(b"x")
        raise RuntimeError
    assert files(tmp_path) == set()


def test_a_leased_content_stays_until_its_last_reader_lets_go(tmp_path: Path) -> None:
    contents = Contents(tmp_path, small_bytes=0)
    content = written(contents, b"bytes")
    first, second = contents.lease([content.id]), contents.lease([content.id])
    contents.delete([content.id])
    with pytest.raises(ContentGoneError):
        contents.lease([content.id])
    first.release()
    first.release()
    assert b"".join(contents.read(content)) == b"bytes"
    del second
    assert files(tmp_path) == set()


def test_a_file_over_an_object_of_many_segments_reads_and_seeks(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "contents")
    rows = ObjectRows(tmp_path / "state.db", contents)
    rows.create_bucket(Bucket("bucket", "000000000000", "us-east-1", 1.0))
    pieces = [written(contents, DATA[:700]), written(contents, DATA[700:])]
    row = rows.put("bucket", "key", NewObject(len(DATA), "e", 1.0, whole(pieces), pieces))
    with objects_io.open_row(rows, contents, row) as file:
        rows.delete("bucket", "key", now=2.0)
        assert file.read(1000) == DATA[:1000]
        file.seek(-5, os.SEEK_END)
        assert file.read() == DATA[-5:]
        file.seek(650)
        assert file.read(100) == DATA[650:750]
    assert files(tmp_path / "contents") == set()
    with pytest.raises(objects_io.ObjectChangedError):
        objects_io.read_bytes(rows, contents, row)
    rows.close()


@pytest.mark.parametrize(("size_bytes", "in_file"), [(1, 0), (SMALL_BYTES, 0), (SMALL_BYTES + 1, 1), (0, 0)])
def test_few_bytes_are_kept_with_their_row(tmp_path: Path, size_bytes: int, in_file: int) -> None:
    contents = Contents(tmp_path / "contents")
    rows = ObjectRows(tmp_path / "state.db", contents)
    rows.create_bucket(Bucket("bucket", "000000000000", "us-east-1", 1.0))
    row = objects_io.put_bytes(rows, contents, "bucket", "key", DATA[:size_bytes], now=1.0)
    assert len(files(tmp_path / "contents")) == in_file
    assert objects_io.read_bytes(rows, contents, row) == DATA[:size_bytes]
    held = objects_io.reading(rows, contents, row)
    rows.delete("bucket", "key", now=2.0)
    assert b"".join(held.pieces(size_bytes // 3)) == DATA[size_bytes // 3 : size_bytes]
    held.release()
    assert files(tmp_path / "contents") == set()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        for table in ("s3_contents", "s3_small_contents", "s3_segments"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    rows.close()


def test_bytes_in_a_row_are_checked_like_those_in_a_file(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "contents")
    rows = ObjectRows(tmp_path / "state.db", contents)
    rows.create_bucket(Bucket("bucket", "000000000000", "us-east-1", 1.0))
    row = objects_io.put_bytes(rows, contents, "bucket", "key", b"right", now=1.0)
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("UPDATE s3_small_contents SET data=?", (b"wrong",))
    with pytest.raises(ContentDamagedError):
        objects_io.read_bytes(rows, contents, row)
    rows.close()


def test_read_to_leaves_no_file_when_the_bytes_are_damaged(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "contents")
    rows = ObjectRows(tmp_path / "state.db", contents)
    rows.create_bucket(Bucket("bucket", "000000000000", "us-east-1", 1.0))
    source = tmp_path / "source"
    source.write_bytes(DATA)
    row = objects_io.put_file(rows, contents, "bucket", "key", source, now=1.0, metadata={"a": "b"})
    assert row.etag == hashlib.md5(DATA).hexdigest()
    objects_io.read_to(rows, contents, row, tmp_path / "good")
    assert (tmp_path / "good").read_bytes() == DATA
    os.truncate(contents.path(rows.segments(row)[0].content_id), BLOCK_BYTES + 1)
    with pytest.raises(ContentDamagedError):
        objects_io.read_to(rows, contents, row, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    rows.close()


# Runs in a process of its own (it forks): a child per second line of the store's code that a PUT runs through, killed there.
_CRASHING = """
import os, secrets, signal, sys, json
from pathlib import Path
from stagedoor.store import contents as module, object_rows, objects_io

def open_store(folder):
    contents = module.Contents(folder / "contents", int(sys.argv[2]))
    return contents, object_rows.ObjectRows(folder / "state.db", contents)

def child(folder, failpoint):
    # The same ids in every child: one whose folder is there already needs fewer lines, and its line N is further on.
    numbers = iter(range(0x11, 0x100, 0x11))
    secrets.token_hex = lambda size: f"{next(numbers):02x}" * size
    contents, rows = open_store(folder)
    rows.create_bucket(object_rows.Bucket("bucket", "000000000000", "us-east-1", 1.0))
    objects_io.put_bytes(rows, contents, "bucket", "key", b"old" * 1000, now=1.0)
    steps = 0
    def trace(frame, event, _argument):
        nonlocal steps
        if "stagedoor/store" not in frame.f_code.co_filename:
            return None
        if event == "line":
            steps += 1
            if steps == failpoint:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    objects_io.put_bytes(rows, contents, "bucket", "key", b"new" * 1000, now=2.0)
    sys.settrace(None)
    os._exit(0)

failpoint = 0
while True:
    failpoint += 2
    folder = Path(sys.argv[1]) / str(failpoint)
    folder.mkdir()
    pid = os.fork()
    if pid == 0:
        child(folder, failpoint)
    _, status = os.waitpid(pid, 0)
    contents, rows = open_store(folder)
    objects_io.sweep(rows, contents)
    row = rows.get("bucket", "key")
    data = objects_io.read_bytes(rows, contents, row)
    left = sorted(path.name for path in (folder / "contents").rglob("*") if path.is_file())
    print(json.dumps({
        "value": data[:3].decode(), "whole": data == data[:3] * 1000, "size": row.size_bytes,
        "tidy": left == [each.content_id for each in rows.segments(row) if not module.is_small(each.content_id)],
    }))
    rows.close()
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
"""


@pytest.mark.crash
@pytest.mark.parametrize("small_bytes", [0, SMALL_BYTES])
def test_killed_within_a_put_the_object_is_old_or_new_and_nothing_is_left_over(
    tmp_path: Path, small_bytes: int
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _CRASHING, str(tmp_path), str(small_bytes)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert run.returncode == 0, run.stderr
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(outcomes) > 50, "hardly any crash point was reached"
    assert all(outcome["whole"] and outcome["tidy"] and outcome["size"] == 3000 for outcome in outcomes), (
        outcomes
    )
    values = [outcome["value"] for outcome in outcomes]
    assert values == sorted(values, reverse=True), "an object went back from new to old"
    assert {values[0], values[-1]} == {"old", "new"}
