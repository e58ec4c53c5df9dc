"""Input objects become payloads: nothing lost, nothing added, nothing too large."""

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.reconcile.transform.splitting import InputError, Payload, payloads

MAGIC = (0xCED7230A).to_bytes(4, "little")


def cut(content: bytes, split: str, strategy: str = "MultiRecord", limit: int = 1000) -> list[Payload]:
    return list(payloads(io.BytesIO(content), split, strategy, limit))  # type: ignore[arg-type]


def frame(content: bytes, part: int = 0) -> bytes:
    return MAGIC + (len(content) | part << 29).to_bytes(4, "little") + content + b"\x00" * (-len(content) % 4)


line = st.binary(min_size=1, max_size=30).filter(lambda text: b"\n" not in text and text.strip() != b"")


@given(st.lists(line, max_size=40), st.integers(31, 200), st.booleans())
def test_lines_come_through_whole_and_in_order(lines: list[bytes], limit: int, last_newline: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if last_newline and lines else b"")
    found = cut(content, "Line", limit=limit)
    assert [record for payload in found for record in payload.records] == [each + b"\n" for each in lines]
    assert b"".join(payload.body for payload in found) == b"".join(each + b"\n" for each in lines)
    assert all(len(payload.body) <= limit for payload in found)
    # As many records as fit: no payload could have taken the next one's first record.
    for payload, following in itertools.pairwise(found):
        assert len(payload.body) + len(following.records[0]) > limit


@given(st.lists(line, max_size=20))
def test_single_records_are_sent_one_by_one(lines: list[bytes]) -> None:
    found = cut(b"\n".join(lines), "Line", "SingleRecord")
    assert [payload.body for payload in found] == [each + b"\n" for each in lines]


def test_blank_lines_are_no_records() -> None:
    assert [payload.records for payload in cut(b"\n1,2\n\r\n \n3,4", "Line")] == [(b"1,2\n", b"3,4\n")]


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
def test_without_splitting_the_object_is_one_payload(strategy: str) -> None:
    assert [payload.body for payload in cut(b"a\nb\n", "None", strategy)] == [b"a\nb\n"]
    assert cut(b"", "None", strategy) == []


@pytest.mark.parametrize(
    ("split", "content"), [("None", b"x" * 11), ("Line", b"12\n" + b"x" * 11), ("RecordIO", frame(b"x" * 11))]
)
def test_a_record_above_the_payload_limit_is_refused(split: str, content: bytes) -> None:
    with pytest.raises(InputError, match="Too much data for max payload size"):
        cut(content, split, limit=10)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=15), st.integers(48, 200))
def test_recordio_keeps_frames_together_and_unwraps_single_records(contents: list[bytes], limit: int) -> None:
    data = b"".join(frame(content) for content in contents)
    many = cut(data, "RecordIO", limit=limit)
    assert b"".join(payload.body for payload in many) == data
    assert all(len(payload.body) <= limit for payload in many)
    single = cut(data, "RecordIO", "SingleRecord", limit)
    assert [payload.body for payload in single] == contents


def test_split_recordio_records_are_one_record() -> None:
    data = frame(b"abc", 1) + frame(b"defg", 2) + frame(b"h", 3) + frame(b"next")
    assert [payload.body for payload in cut(data, "RecordIO", "SingleRecord")] == [
        b"abc" + MAGIC + b"defg" + MAGIC + b"h",
        b"next",
    ]
    assert [payload.body for payload in cut(data, "RecordIO", limit=40)] == [data[:-12], data[-12:]]


@pytest.mark.parametrize("data", [b"\x00" * 8, MAGIC, frame(b"abc")[:-2], frame(b"abc", 1)])
def test_broken_recordio_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="RecordIO"):
        cut(data, "RecordIO")


def test_only_one_payload_is_read_ahead() -> None:
    file = io.BytesIO(b"".join(b"%05d\n" % number for number in range(10_000)))
    reading = payloads(file, "Line", "MultiRecord", 60)
    assert next(reading).body.startswith(b"00000")
    assert file.tell() <= 72
