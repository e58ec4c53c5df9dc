"""One way to open an engine in a test, watch what it tells, and see that closing it leaves nothing."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from living import paths_under

from stagedoor.engine.interface import Engine, Workload

PROBES = Path(__file__).parent.parent / "worker"
PATIENCE_S = 20.0


class Told:
    """What an engine told its listeners."""

    def __init__(self) -> None:
        self.output: dict[str, bytes] = {}
        self.exits: list[tuple[str, int]] = []
        self.order: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def on_output(self, workload_id: str, data: bytes) -> None:
        self.output[workload_id] = self.output.get(workload_id, b"") + data
        self.order.append(("output", workload_id))
        self._changed.set()

    def on_exit(self, workload_id: str, exit_code: int) -> None:
        self.exits.append((workload_id, exit_code))
        self.order.append(("exit", workload_id))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something told makes the condition true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def exit_of(self, workload_id: str) -> int:
        await self.until(lambda: any(told == workload_id for told, _ in self.exits))
        return dict(self.exits)[workload_id]

    def text(self, workload_id: str) -> str:
        return self.output.get(workload_id, b"").decode()


Story = Callable[[Engine, Told], Awaitable[None]]


def run(engine: Engine, story: Story) -> None:
    """Open the engine on uvloop (as the server does), tell the story, close it."""

    async def whole() -> None:
        told = Told()
        await engine.open(told.on_output, told.on_exit)
        try:
            async with asyncio.timeout(60):
                await story(engine, told)
        finally:
            await engine.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


def model(workload_id: str, act: str | None = None, **options: object) -> Workload:
    return Workload(
        workload_id,
        "model",
        "plain",
        {"algorithm": "probes.serving", "name": workload_id, "options": {"act": act, **options}},
    )


def job(workload_id: str, entry: str, **spec: object) -> Workload:
    return Workload(workload_id, "job", "plain", {"entry": f"probes.jobs:{entry}", **spec})


def outside(workload_pid: int | None, pids: list[int]) -> list[int]:
    """Process numbers that a workload told, as they are outside of its own process-number space."""
    space = Path(f"/proc/{workload_pid}/ns/pid").readlink()
    if space == Path("/proc/self/ns/pid").readlink():
        return pids
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").readlink() == space:
                    status = (entry / "status").read_text()
                    found[int(status.split("NSpid:")[1].splitlines()[0].split()[-1])] = int(entry.name)
            except OSError:
                continue
    return [found[pid] for pid in pids]


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_gone(*pids: int) -> None:
    """Return when none of the processes exists; the time limit only guards against waiting for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.01)


def exists(path: str) -> bool:
    return Path(path).exists()


def proc(pid: int | str | None, name: str) -> bytes:
    """A file of a process in /proc."""
    return Path(f"/proc/{pid}/{name}").read_bytes()


def text(folder: str, name: str) -> str:
    return Path(folder, name).read_text()


def count(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def mode(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


def count_named(folder: Path, name: str) -> int:
    return len(paths_under(folder, name))
