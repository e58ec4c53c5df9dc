import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagedoor.domain.clock import ManualClock
from stagedoor.store.log_events import BEGINNING, DAY_MS, END, MAX_EVENT_BYTES, LogEvents, LogGroup

ACCOUNT, REGION = "000000000000", "us-east-1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def logs(tmp_path: Path, clock: ManualClock) -> Iterator[LogEvents]:
    logs = LogEvents(tmp_path / "logs.db", clock)
    yield logs
    logs.close()


def group_of(logs: LogEvents, name: str = "/g") -> LogGroup:
    group = logs.group(ACCOUNT, REGION, name)
    assert group is not None
    return group


def messages(logs: LogEvents, **how: object) -> list[str]:
    return [event.message for event in logs.read(group_of(logs), **how)]  # type: ignore[arg-type]


def test_put_makes_the_missing_group_and_stream(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1000, "hello\n")])
    group = group_of(logs)
    stream = logs.stream(group.id, "s")
    assert stream is not None
    assert (stream.first_event_ms, stream.last_event_ms, stream.stored_bytes) == (1000, 1000, 6)
    assert group.stored_bytes == 6
    assert logs.group(ACCOUNT, "eu-west-1", "/g") is None
    assert logs.group("111111111111", REGION, "/g") is None


def test_events_are_ordered_by_time_then_arrival(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(20, "c"), (10, "a")])
    logs.put(ACCOUNT, REGION, "/g", "s", [(20, "d"), (15, "b")])
    assert messages(logs) == ["a", "b", "c", "d"]
    assert messages(logs, newest_first=True, limit=2) == ["d", "c"]


def test_boundaries_page_in_both_directions_without_loss_or_repetition(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(index // 3, str(index)) for index in range(20)])
    forward: list[str] = []
    after = BEGINNING
    while page := logs.read(group_of(logs), after=after, limit=7):
        forward += [event.message for event in page]
        after = page[-1].after
    assert forward == [str(index) for index in range(20)]
    backward: list[str] = []
    before = END
    while page := logs.read(group_of(logs), before=before, limit=6, newest_first=True):
        backward += [event.message for event in page]
        before = page[-1].before
    assert backward == forward[::-1]


def test_a_time_range_includes_its_start_and_excludes_its_end(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1, "a"), (2, "b"), (3, "c")])
    assert messages(logs, start_ms=2) == ["b", "c"]
    assert messages(logs, end_ms=2) == ["a"]


def test_only_the_named_streams_are_read(logs: LogEvents) -> None:
    for name in ("one", "two", "three"):
        logs.put(ACCOUNT, REGION, "/g", name, [(1, name)])
    streams = logs.streams(group_of(logs).id, prefix="t")
    assert [stream.name for stream in streams] == ["three", "two"]
    assert messages(logs, streams=streams) == ["two", "three"]
    assert messages(logs, streams=[]) == []


@pytest.mark.parametrize(
    "text", ["", "nul\0inside", "\x1b[31mred\x1b[0m", "two\nlines\n", "smörgås 🎭", "'; DROP"]
)
def test_a_message_is_kept_as_it_is(logs: LogEvents, text: str) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1, text)])
    assert messages(logs) == [text]


def test_lone_surrogates_become_replacement_characters(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1, "a\ud800b")])
    assert messages(logs) == ["a\ufffdb"]


def test_a_message_is_cut_between_characters(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1, "x" + "é" * MAX_EVENT_BYTES)])
    (message,) = messages(logs)
    assert message == "x" + "é" * (MAX_EVENT_BYTES // 2 - 1)


def test_a_page_holds_at_most_so_many_bytes_but_always_an_event(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(index, "x" * 100) for index in range(10)])
    assert len(messages(logs, max_bytes=400)) == 3
    assert len(messages(logs, max_bytes=1)) == 1


def test_groups_are_listed_by_prefix_part_and_page(logs: LogEvents) -> None:
    for name in ("/a/x", "/a/y", "/b/x"):
        assert logs.create_group(ACCOUNT, REGION, name)
    assert not logs.create_group(ACCOUNT, REGION, "/a/x")
    assert [group.name for group in logs.groups(ACCOUNT, REGION, prefix="/a/")] == ["/a/x", "/a/y"]
    assert [group.name for group in logs.groups(ACCOUNT, REGION, containing="/x")] == ["/a/x", "/b/x"]
    assert [group.name for group in logs.groups(ACCOUNT, REGION, after="/a/x", limit=1)] == ["/a/y"]


def test_streams_are_ordered_by_name_or_by_their_last_event(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "b", [(10, "x")])
    logs.put(ACCOUNT, REGION, "/g", "a", [(20, "x")])
    group = group_of(logs)
    logs.create_stream(group.id, "c")
    assert [stream.name for stream in logs.streams(group.id)] == ["a", "b", "c"]
    assert [stream.name for stream in logs.streams(group.id, descending=True, limit=2)] == ["c", "b"]
    assert [stream.name for stream in logs.streams(group.id, descending=True, after=(0, "b"))] == ["a"]
    recent = logs.streams(group.id, order_by="LastEventTime", descending=True)
    assert [stream.name for stream in recent] == ["a", "b", "c"]
    rest = logs.streams(group.id, order_by="LastEventTime", descending=True, after=(10, "b"))
    assert [stream.name for stream in rest] == ["c"]


def test_deleting_a_group_takes_its_streams_and_events(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1, "old")])
    assert logs.delete_group(ACCOUNT, REGION, "/g")
    assert not logs.delete_group(ACCOUNT, REGION, "/g")
    logs.put(ACCOUNT, REGION, "/g", "s", [(2, "new")])
    assert messages(logs) == ["new"]


def test_deleting_a_stream_takes_its_events(logs: LogEvents) -> None:
    logs.put(ACCOUNT, REGION, "/g", "s", [(1, "x")])
    logs.put(ACCOUNT, REGION, "/g", "t", [(1, "y")])
    assert logs.delete_stream(group_of(logs).id, "s")
    assert messages(logs) == ["y"]
    assert not logs.create_stream(group_of(logs).id + 1, "s"), "there is no such group"


def test_retention_hides_old_events_at_once_and_the_sweep_removes_them(
    logs: LogEvents, clock: ManualClock
) -> None:
    now_ms = int(clock.now() * 1000)
    logs.put(ACCOUNT, REGION, "/g", "s", [(now_ms - 2 * DAY_MS, "old"), (now_ms, "new")])
    logs.set_retention(group_of(logs).id, 1)
    assert messages(logs) == ["new"]
    assert logs.sweep() == 1
    logs.set_retention(group_of(logs).id, None)
    assert messages(logs) == ["new"]
    assert group_of(logs).stored_bytes == 3


def test_writing_removes_what_is_past_its_retention_once_an_hour(logs: LogEvents, clock: ManualClock) -> None:
    now_ms = int(clock.now() * 1000)
    logs.put(ACCOUNT, REGION, "/g", "s", [(now_ms - 2 * DAY_MS, "old")])
    logs.set_retention(group_of(logs).id, 1)
    logs.put(ACCOUNT, REGION, "/h", "s", [(now_ms, "soon after")])
    assert group_of(logs).stored_bytes == 3
    clock.advance(3600)
    logs.put(ACCOUNT, REGION, "/h", "s", [(now_ms, "an hour later")])
    assert group_of(logs).stored_bytes == 0


def test_tags_are_replaced_as_a_whole(logs: LogEvents) -> None:
    logs.create_group(ACCOUNT, REGION, "/g", {"a": "1"})
    logs.set_tags(group_of(logs).id, {"b": "2"})
    assert group_of(logs).tags == {"b": "2"}


def test_logs_survive_reopening(tmp_path: Path) -> None:
    first = LogEvents(tmp_path / "logs.db")
    first.put(ACCOUNT, REGION, "/g", "s", [(1, "kept")])
    first.close()
    second = LogEvents(tmp_path / "logs.db")
    assert messages(second) == ["kept"]
    second.close()


def test_many_threads_write_and_read_without_loss(logs: LogEvents) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for index in range(25):
                logs.put(ACCOUNT, REGION, "/g", f"s{number % 3}", [(index, f"{number}.{index}")])
                messages(logs, limit=5)
        except Exception as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(messages(logs))) == 200
