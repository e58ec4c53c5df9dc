"""Output of workers becomes log events, line by line, in bounded memory."""

import asyncio
from pathlib import Path
from typing import Any

from stagedoor.domain.clock import ManualClock
from stagedoor.reconcile.worker_logs import MAX_LINE_BYTES, WorkerLogs
from stagedoor.store.log_events import LogEvents
from stagedoor.traffic import log_writer
from stagedoor.traffic.log_writer import LogPlace, LogWriter

PLACE = LogPlace("000000000000", "us-east-1", "/aws/sagemaker/Endpoints/e", "AllTraffic/i-1")


class Written(LogWriter):
    def __init__(self) -> None:
        self.lines: list[tuple[LogPlace, int, str]] = []
        self.full = False

    @property
    def is_full(self) -> bool:
        return self.full

    async def drained(self) -> None:
        self.full = False

    def write(self, place: LogPlace, timestamp_ms: int, message: str) -> None:
        self.lines.append((place, timestamp_ms, message))

    def messages(self) -> list[str]:
        return [message for _, _, message in self.lines]


def logs() -> tuple[WorkerLogs, Written]:
    writer = Written()
    return WorkerLogs(writer, ManualClock(100.0)), writer


def test_lines_are_put_together_from_pieces() -> None:
    worker_logs, writer = logs()
    worker_logs.attach("w", PLACE)
    for piece in (b"one\ntw", b"o", b"\r\n\nthree"):
        worker_logs.output("w", piece)
    assert writer.lines == [(PLACE, 100_000, "one"), (PLACE, 100_000, "two")]
    assert worker_logs.last_lines("w") == ["one", "two", "three"]
    worker_logs.detach("w")
    assert writer.messages() == ["one", "two", "three"]


def test_output_of_others_is_left_alone() -> None:
    worker_logs, writer = logs()
    worker_logs.output("somebody", b"line\n")
    worker_logs.detach("somebody")
    assert writer.lines == []


def test_long_lines_are_cut_and_bad_bytes_are_replaced() -> None:
    worker_logs, writer = logs()
    worker_logs.attach("w", PLACE)
    for _ in range(5):
        worker_logs.output("w", b"x" * (MAX_LINE_BYTES // 2))
    worker_logs.output("w", b"y\n\xff\n")
    assert [len(message) for message in writer.messages()] == [
        MAX_LINE_BYTES,
        MAX_LINE_BYTES,
        MAX_LINE_BYTES // 2 + 1,
        1,
    ]
    assert writer.messages()[-1] == "\N{REPLACEMENT CHARACTER}"


def test_a_worker_that_prints_faster_than_the_log_is_stored_has_to_wait() -> None:
    worker_logs, writer = logs()
    worker_logs.attach("w", PLACE)
    assert worker_logs.output("w", b"a\n") is None
    writer.full = True
    waiting = worker_logs.output("w", b"b\n")
    assert waiting is not None

    async def wait() -> None:
        await waiting

    asyncio.run(wait())
    assert not writer.full
    assert writer.messages() == ["a", "b"]


def test_lines_reach_the_log_store(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(log_writer, "_BATCH_PAUSE_S", 0)
    log_events = LogEvents(tmp_path / "logs.sqlite")

    async def scenario() -> None:
        worker_logs = WorkerLogs(LogWriter(log_events), ManualClock(100.0))
        worker_logs.attach("w", PLACE)
        worker_logs.output("w", b"hello\nworld")
        worker_logs.say("w", "given up\nbecause")
        worker_logs.detach("w")
        await worker_logs.drained()

    asyncio.run(scenario())
    group = log_events.group(*PLACE[:3])
    assert group is not None
    events = log_events.read(group)
    assert [(event.stream, event.message) for event in events] == [
        ("AllTraffic/i-1", message) for message in ("hello", "given up", "because", "world")
    ]
    log_events.close()
