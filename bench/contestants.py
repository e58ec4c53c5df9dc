"""The servers that are compared: stagedoor and each peer, started one after the other, checked, then all left alive."""

import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import environments, load, processes, stage
from bench.environments import NotStarted, Unavailable
from bench.load import Answer, Asked, BenchError
from bench.options import Options
from bench.peers import catalogue
from bench.peers.catalogue import Peer
from bench.work import Work

OURS = "stagedoor"
WORST_DIFFERENCE = 1e-6
_START_TIMEOUT_S = 120.0
_ATTEMPTS = 2
_WAKING = 8

Running = AbstractContextManager[tuple["subprocess.Popen[bytes]", float]]


@dataclass(slots=True)
class Contestant:
    """A server that answers, or the reason why it does not."""

    name: str
    title: str
    kind: str
    works: Collection[str] = ()
    """The names of the works that it is asked."""
    ask: Callable[[Work], tuple[str, Sequence[Asked]]] = lambda work: ("", ())
    pid: int = 0
    start_s: float = 0.0
    worst_difference: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    def raw(self) -> dict[str, object]:
        """As the raw file keeps it."""
        told: dict[str, object] = {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "works": list(self.works),
        }
        if self.reason:
            return told | {"reason": self.reason}
        return told | {
            "start_s": round(self.start_s, 3),
            "worst_difference": self.worst_difference,
            "versions": dict(self.versions),
        }


def check(contestant: Contestant, works: Mapping[str, Work]) -> None:
    """Each request once: the answer is the booster's, or the refusal that is due. BenchError when not."""
    for work in (works[name] for name in contestant.works):
        _, asked = contestant.ask(work)
        answers, _ = load.send_all(asked, 4)
        _compare(contestant, work, asked, answers)


def wake(contestant: Contestant, work: Work) -> None:
    """A few requests to a server that stood still: their answers have to be right before anything is timed. BenchError when not."""
    _, asked = contestant.ask(work)
    try:
        answers, _ = load.send_all(asked[:_WAKING], _WAKING // 2, _START_TIMEOUT_S)
    except (OSError, EOFError, TimeoutError) as error:
        raise BenchError(f"no answer after its pause: {str(error) or type(error).__name__}") from error
    _compare(contestant, work, asked, answers)


def _compare(contestant: Contestant, work: Work, asked: Sequence[Asked], answers: Sequence[Answer]) -> None:
    for one, answer, wanted in zip(asked, answers, work.wanted, strict=False):
        if answer.status != (403 if one.is_refused else 200):
            raise BenchError(
                f"{contestant.title} answered {work.name} with {answer.status}: {answer.body[:300]!r}"
            )
        if not one.is_refused:
            difference = abs(catalogue.score(answer.body) - wanted)
            contestant.worst_difference = max(contestant.worst_difference, difference)
    if contestant.worst_difference > WORST_DIFFERENCE:
        raise BenchError(
            f"{contestant.title}: answers differ from the booster's by {contestant.worst_difference}"
        )


def ours(stack: ExitStack, works: Mapping[str, Work], options: Options) -> Contestant:
    """stagedoor with an endpoint for each work. Its start is that of a server which had them before, as a peer has its files."""
    options.say("starting stagedoor")
    made = stack.enter_context(stage.running())
    for work in works.values():
        made.endpoint(work)
    made.server.stop()
    began_s = time.monotonic()
    made.server.start()
    first = next(iter(works.values()))
    while load.send_all(made.ask(first)[:1], 1)[0][0].status != 200:
        if time.monotonic() - began_s > _START_TIMEOUT_S:
            raise BenchError("the endpoint did not come back after a restart")
        time.sleep(0.01)
    contestant = Contestant(
        OURS,
        "stagedoor (signature and policy checked)",
        "ours",
        tuple(works),
        lambda work: (made.invocations_url(work.name), made.ask(work)),
        made.server.pid,
        time.monotonic() - began_s,
    )
    for work in works.values():
        made.wait_in_service(work.name)
    check(contestant, works)
    return contestant


def peer(
    stack: ExitStack, chosen: Peer, works: Mapping[str, Work], folder: Path, options: Options
) -> Contestant:
    """The peer, running and checked; with its reason when it cannot be had or answers falsely. A start is tried twice."""
    asked = tuple(name for name in works if name in chosen.questions)
    contestant = Contestant(chosen.name, chosen.title, chosen.kind, asked)
    for attempt in range(_ATTEMPTS):
        own = ExitStack()
        try:
            _start(own, contestant, chosen, works, folder / str(attempt), options)
        except (Unavailable, BenchError, OSError, EOFError, ValueError) as error:
            own.close()
            contestant.reason = str(error) or type(error).__name__
            options.say(f"{chosen.title}: {error}")
            if not isinstance(error, NotStarted):
                break
        except BaseException:
            own.close()
            raise
        else:
            contestant.reason = ""
            stack.push(own)
            break
    return contestant


def _start(
    own: ExitStack,
    contestant: Contestant,
    chosen: Peer,
    works: Mapping[str, Work],
    folder: Path,
    options: Options,
) -> None:
    folder.mkdir(parents=True)
    python = environments.python_of(chosen.folder, options.say)
    options.say(f"starting {chosen.title}")
    place = catalogue.Place(python, processes.free_port(), folder)
    contestant.versions = environments.versions_of(python, chosen.packages)
    contestant.ask = lambda work: _ask_peer(chosen, place, work)
    process, contestant.start_s = own.enter_context(_started(chosen, place, works))
    contestant.pid = process.pid
    check(contestant, works)


def _ask_peer(chosen: Peer, place: catalogue.Place, work: Work) -> tuple[str, Sequence[Asked]]:
    question = chosen.questions[work.name]
    url = f"http://127.0.0.1:{place.port}{question.path}"
    headers = {"Content-Type": question.content_type}
    return url, [load.request("POST", url, question.body(body), headers) for body in work.bodies]


def _started(chosen: Peer, place: catalogue.Place, works: Mapping[str, Work]) -> Running:
    environment = catalogue.environment_of(chosen, place)
    for work in works.values():
        environment[f"BENCH_{work.name.upper()}_MODEL"] = str(work.model)
    first = next(work for name, work in works.items() if name in chosen.questions)
    _, asked = _ask_peer(chosen, place, first)

    def is_ready() -> bool:
        return answers_well(asked[0])

    command = chosen.command(place)
    return processes.running(
        command, place.folder / "log", environment, is_ready, catalogue.ROOT, _START_TIMEOUT_S
    )


def answers_well(asked: Asked) -> bool:
    """Whether the server answers this request with 200 by now."""
    try:
        return load.send_all([asked], 1, timeout_s=10)[0][0].status == 200
    except (OSError, EOFError, TimeoutError):
        return False
