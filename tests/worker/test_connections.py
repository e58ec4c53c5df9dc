"""How a worker waits for calls."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagedoor.worker import connections, frames
from stagedoor.worker.connections import Connections

LIMIT_BYTES = 1024 * 1024


class Looks:
    """What says which sockets are ready, and counts how often it is asked."""

    def __init__(self, poll: Any) -> None:
        self._poll = poll
        self.count = 0

    def poll(self, timeout_ms: float | None = None) -> Any:
        self.count += 1
        return self._poll.poll(timeout_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poll, name)


class Desk:
    """A worker's connections, and the server's end of one of them."""

    def __init__(self, folder: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "worker.sock"))
        self.listener.listen()
        self.worker = Connections(self.listener, {"ready": True}, stays_awake=sys.platform == "linux")
        self.looks = Looks(self.worker._poll)  # pyright: ignore[reportPrivateUsage]
        self.worker._poll = self.looks  # pyright: ignore[reportPrivateUsage,reportAttributeAccessIssue]
        self.server = socket.socket(socket.AF_UNIX)
        self.server.connect(str(folder / "worker.sock"))
        self.sent = 0

    def send(self) -> None:
        self.sent += 1
        self.server.sendall(frames.encode(frames.CALL, self.sent, {}, b"body"))

    def take(self) -> list[int]:
        return [frame.id for _, frame in self.worker.wait(LIMIT_BYTES, block=True)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.server.close()
    desk.listener.close()


def in_demand(desk: Desk) -> None:
    """Calls have followed each other closely."""
    for number in range(1, 4):
        desk.send()
        assert desk.take() == [number]


def test_a_worker_that_is_no_longer_called_sleeps(desk: Desk) -> None:
    in_demand(desk)
    taken: list[int] = []
    waiting = threading.Thread(target=lambda: taken.extend(desk.take()))
    before = desk.looks.count
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    # Awake it looks about once in a microsecond, for a fifth of a millisecond.
    looks = desk.looks.count - before
    assert looks < 3_000
    desk.send()
    waiting.join(30)
    assert taken == [4]
    assert desk.looks.count - before <= looks + 1, "it slept"


@pytest.mark.skipif(sys.platform != "linux", reason="sleeps at once elsewhere")
def test_while_calls_follow_each_other_closely_a_worker_is_awake_for_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_AWAKE_S", 10.0)
    in_demand(desk)
    yielded = 0

    def somebody_else_runs() -> None:
        nonlocal yielded
        yielded += 1
        if yielded == 3:
            desk.send()

    monkeypatch.setattr(os, "sched_yield", somebody_else_runs)
    assert desk.take() == [4]
    assert yielded == 3


def test_who_waits_for_threads_leaves_them_the_interpreter(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_AWAKE_S", 10.0)
    woken, waking = socket.socketpair()
    with woken, waking:
        desk.worker.wake_by(woken)
        in_demand(desk)
        before = desk.looks.count
        waking.send(b".")
        assert desk.take() == []
        assert desk.looks.count == before + 1


def test_a_peer_that_goes_away_without_taking_its_answer_leaves_the_others_alone(desk: Desk) -> None:
    desk.send()
    [(connection, _)] = desk.worker.wait(LIMIT_BYTES, block=True)
    desk.worker.answer(connection, bytes(8 * 1024 * 1024))
    desk.worker.flush()
    gone, desk.server = desk.server, socket.socket(socket.AF_UNIX)
    gone.close()
    desk.server.connect(desk.listener.getsockname())
    desk.send()
    assert desk.take() == [2]
