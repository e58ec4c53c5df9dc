"""Servers as child processes: a free port, a start that is waited for, memory and processor time of all their processes, a pause, an
end by pid.

Some servers detach what they start. On Linux this process adopts such orphans (it is their subreaper), so that nothing is left
running when the benchmark ends, however it ends.
"""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.environments import NotStarted

END_TIMEOUT_S = 15.0
_PR_SET_CHILD_SUBREAPER = 36
_FRONT_NAME = "stagedoor: fron"  # the kernel keeps fifteen bytes of a title
_PAUSE_ROUNDS = 20
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def adopt_orphans() -> None:
    """Make this process the parent of whatever its children leave behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end the benchmark as Ctrl-C does, also where it was started in the background: all it started goes first."""

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in _ENDINGS:
        signal.signal(number, interrupted)


def free_port() -> int:
    """A port of the loopback that nobody listens at.

    Below the range that systems give to clients, so that no connection takes it before the server does.
    """
    for _ in range(100):
        port = random.randrange(11_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 11000 and 32000")


@dataclass(frozen=True, slots=True)
class Seen:
    """A process, told apart from a later one of the same id by its start."""

    pid: int
    started: str


def descendants(root: int) -> list[Seen]:
    """All processes below ``root``, and ``root`` itself."""
    children: dict[int, list[Seen]] = {}
    own: Seen | None = None
    for seen, parent in _processes():
        children.setdefault(parent, []).append(seen)
        own = seen if seen.pid == root else own
    found = [own] if own else []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += [one.pid for one in below]
    return found


def _processes() -> Iterator[tuple[Seen, int]]:
    if sys.platform == "linux":
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    yield Seen(int(stat.parent.name), fields[19]), int(fields[1])
        return
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,lstart="], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        pid, parent, started = line.split(None, 2)
        yield Seen(int(pid), started), int(parent)


def memory_bytes(root: int) -> tuple[int, int]:
    """Memory of ``root`` and all below it, shared pages counted in parts (PSS), and how many processes they are.

    Where the kernel does not tell (macOS), the resident sizes are added: more than the truth.
    """
    total, processes = 0, descendants(root)
    for seen in processes:
        with contextlib.suppress(OSError, StopIteration, subprocess.CalledProcessError):
            if sys.platform == "linux":
                lines = Path(f"/proc/{seen.pid}/smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
            else:
                told = subprocess.run(
                    ["ps", "-o", "rss=", "-p", str(seen.pid)], capture_output=True, text=True, check=True
                )
                total += int(told.stdout) * 1024
    return total, len(processes)


def cpu_s(root: int) -> float:
    """Processor time that ``root`` and all that is below it have used so far, in seconds (Linux; 0 elsewhere)."""
    return sum(own_cpu_s(seen.pid) for seen in descendants(root)) if sys.platform == "linux" else 0.0


def fronts_of(root: int) -> list[int]:
    """The front processes of a stagedoor server, by their titles (Linux)."""
    found = []
    for seen in descendants(root) if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{seen.pid}/comm").read_text().startswith(_FRONT_NAME):
                found.append(seen.pid)
    return found


def server_cpu_s(root: int) -> float:
    """What a stagedoor server itself has used: its process and its front processes, without workers."""
    return own_cpu_s(root) + sum(own_cpu_s(pid) for pid in fronts_of(root))


def own_cpu_s(pid: int) -> float:
    """The same of one process."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
    return 0.0


def pause(root: int) -> None:
    """Stop ``root`` and all below it where they stand, also what they start meanwhile, until ``resume``."""
    stopped: set[Seen] = set()
    for _ in range(_PAUSE_ROUNDS):
        fresh = [seen for seen in descendants(root) if seen not in stopped]
        if not fresh:
            return
        _signal(fresh, signal.SIGSTOP)
        stopped.update(fresh)


def resume(root: int) -> None:
    """Let them go on: first those below, so that nobody who watches over others finds them silent. Nothing when they do already."""
    _signal(reversed(descendants(root)), signal.SIGCONT)


def _signal(processes: Iterable[Seen], number: signal.Signals) -> None:
    for seen in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(seen.pid, number)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, some patience, then SIGKILL for it and whatever it had started."""
    resume(process.pid)  # who stands still handles no SIGTERM
    known = descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_TIMEOUT_S)
    end_remaining(known)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_TIMEOUT_S)


def end_remaining(known: Sequence[Seen]) -> None:
    """SIGKILL for those of the processes that still run."""
    now = {seen for seen, _ in _processes()}
    _signal([seen for seen in known if seen in now], signal.SIGKILL)
    _reap()


def end_all() -> None:
    """End everything below this process: what the benchmark does last."""
    own = os.getpid()
    for _ in range(10):
        left = [seen for seen in descendants(own) if seen.pid != own]
        if not left:
            return
        end_remaining(left)
        time.sleep(0.1)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    is_ready: Callable[[], bool],
    where: Path,
    timeout_s: float = 120.0,
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The server while the block runs, and the seconds from its start to its first right answer.

    NotStarted with its last words when it ends or does not answer in time.
    """
    with log.open("wb") as output:
        started_s = time.monotonic()
        process = subprocess.Popen(
            list(command),
            cwd=where,
            env=dict(os.environ) | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not is_ready():
            if process.poll() is not None:
                raise NotStarted(f"it ended at its start: {_last_words(log)}")
            if time.monotonic() - started_s > timeout_s:
                raise NotStarted(f"it gave no right answer within {timeout_s:.0f} s: {_last_words(log)}")
            time.sleep(0.02)
        yield process, time.monotonic() - started_s
    finally:
        end(process)


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
