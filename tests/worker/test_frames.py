"""Frames survive every cut of the stream, and nonsense is noticed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.worker import frames

_FRAMES = st.lists(
    st.builds(
        frames.Frame,
        kind=st.integers(1, 5),
        id=st.integers(0, 2**64 - 1),
        meta=st.dictionaries(
            st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=3
        ),
        body=st.binary(max_size=200),
    ),
    max_size=6,
)


@given(_FRAMES, st.lists(st.integers(1, 60), max_size=40))
def test_any_cut_of_the_stream_gives_the_same_frames(sent: list[frames.Frame], cuts: list[int]) -> None:
    stream = b"".join(frames.encode(frame.kind, frame.id, frame.meta, frame.body) for frame in sent)
    decoder = frames.Decoder()
    received: list[frames.Frame] = []
    position = 0
    for length in [*cuts, len(stream)]:
        received += decoder.feed(stream[position : position + length])
        position += length
    assert received == sent


def test_byte_by_byte() -> None:
    decoder = frames.Decoder()
    stream = frames.encode(frames.CALL, 7, {"a": 1}, b"body")
    received = [decoder.feed(stream[index : index + 1]) for index in range(len(stream))]
    assert received[:-1] == [[]] * (len(stream) - 1)
    assert received[-1] == [frames.Frame(frames.CALL, 7, {"a": 1}, b"body")]


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        frames.HEAD.pack(frames.MAX_FRAME_BYTES + 1, 1, frames.CALL),
        frames.HEAD.pack(12, 1, frames.CALL | 5 << 8),
        frames.HEAD.pack(0, 1, frames.CALL),
        frames.HEAD.pack(13, 1, frames.CALL | 1 << 8) + b"x",
        frames.head(frames.CALL, 1, b"[1]", 0),
        frames.head(frames.CALL, 1, b"[" * 100_000, 0),
        frames.head(frames.CALL, 1, b"\xff\xfe", 0),
    ],
)
def test_nonsense_is_an_error(stream: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.Decoder().feed(stream)


def test_what_is_too_large_is_not_made() -> None:
    with pytest.raises(frames.FrameError):
        frames.head(frames.CALL, 1, b"", frames.MAX_FRAME_BYTES)
    with pytest.raises(frames.FrameError):
        frames.head(frames.CALL, 1, json.dumps("x" * frames.MAX_META_BYTES).encode(), 0)
