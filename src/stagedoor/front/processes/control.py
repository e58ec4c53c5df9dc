"""The control process's side of its front processes: starts them, tells each what it must know, takes over what they do not answer.

Place in the flow: ``app`` opens it with the servers whose sockets are shared. A commit to IAM's records returns only when every front process
has taken it over; one that does not in time is killed, so that none ever answers from an old table. Routes go out as they are
published, with a connection to each worker; a worker is stopped only when every front process has hung up (``Channel.calls_elsewhere``).
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from stagedoor.authz.sigv4 import SignatureError
from stagedoor.front import invocation_lane
from stagedoor.front.access_log import AccessLog
from stagedoor.front.processes import connection_counts
from stagedoor.front.processes.connection_counts import ConnectionCounts
from stagedoor.front.processes.link import Link
from stagedoor.front.processes.messages import Message
from stagedoor.front.processes.replica import KINDS
from stagedoor.http.message import Request
from stagedoor.http.server import Server
from stagedoor.services import principals
from stagedoor.services.call import House
from stagedoor.services.denials import Denials
from stagedoor.store.data_directory import write_private
from stagedoor.store.metric_points import Metric, Point
from stagedoor.store.records import Key
from stagedoor.traffic.channel import Channel
from stagedoor.traffic.endpoint_routes import EndpointKey, VariantRoute

log = logging.getLogger(__name__)

FILE_NAME: Final = "fronts.json"
START_TIMEOUT_S: Final = 30.0
SEEN_TIMEOUT_S: Final = 5.0
"""How long a commit waits for a front process before that is killed."""
_STOP_TIMEOUT_S: Final = 10.0
_RELAYED_GRACE_S: Final = 4.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 10.0
_STABLE_S: Final = 10.0
# What a front process must not inherit: keys, and settings it is told.
_PRIVATE_PREFIXES: Final = ("STAGEDOOR_", "AWS_")


class FrontsError(Exception):
    """The front processes did not come up; the text says why."""


class _Front:
    """One place for a front process, and who is in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.link: Link | None = None
        self.attempts = 0
        self.started_s = 0.0
        # The numbers of the channels that it has, by the control process's own channel to the same worker.
        self.lent: dict[EndpointKey, dict[Channel, int]] = {}
        self.channels: dict[int, Channel] = {}
        self.busy: dict[int, int] = {}


class FrontProcesses:
    """``count`` front processes on the sockets of ``servers``, which are bound and do not accept."""

    def __init__(
        self,
        count: int,
        house: House,
        session_secret: str,
        servers: Sequence[Server],
        access_log: AccessLog,
        denials: Denials,
    ) -> None:
        self._house = house
        self._session_secret = session_secret
        self._servers = servers
        self._access_log = access_log
        self._denials = denials
        self._loop = asyncio.get_running_loop()
        self._fronts = [_Front(number) for number in range(count)]
        self._counts_descriptor = connection_counts.make()
        self._counts = ConnectionCounts(self._counts_descriptor)
        self._listening = [server.listening_sockets() for server in servers]
        self._commits = itertools.count(1)
        self._numbers = itertools.count(1)
        # Links whose tables follow the commits. Changed under the lock, so that none misses one.
        self._following: list[Link] = []
        self._lock = threading.Lock()
        self._starting: set[asyncio.Task[None]] = set()
        self._adopting: set[asyncio.Task[None]] = set()
        self._closing = False
        house.records.subscribe("iam.", self._committed)
        house.endpoint_routes.follow(self._published)

    async def open(self) -> None:
        """Start them all; return when all accept. FrontsError."""
        for front in self._fronts:
            await self._start(front)
        links = [front.link for front in self._fronts if front.link is not None]
        waiting = [asyncio.wrap_future(link.opened) for link in links]
        _, late = await asyncio.wait(waiting, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_EXCEPTION)
        if late or any(each.exception() for each in waiting):
            raise FrontsError(
                "The front processes (--fronts) did not start. What they said is above; --fronts 0 does without."
            )
        self._note()

    async def close(self) -> None:
        """Let them finish what they answer, take their last words, and end them."""
        self._closing = True
        for front in self._fronts:
            if front.link is not None:
                await asyncio.to_thread(front.link.send, "stop", [])
        # They wait for the answers that they relay, and those are given here.
        relayed = (server.close(_RELAYED_GRACE_S) for server in self._servers if server.scheme == "https")
        await asyncio.gather(*relayed)
        ends = [asyncio.wrap_future(front.link.gone) for front in self._fronts if front.link is not None]
        if ends:
            _, late = await asyncio.wait(ends, timeout=_STOP_TIMEOUT_S)
            if late:
                for front in self._fronts:
                    if front.link is not None:
                        front.link.kill()
                await asyncio.wait(late)
        for task in list(self._starting):
            task.cancel()
        await asyncio.gather(*self._starting, *self._adopting, return_exceptions=True)
        for each in itertools.chain.from_iterable(self._listening):
            each.close()
        os.close(self._counts_descriptor)
        (self._house.settings.data / FILE_NAME).unlink(missing_ok=True)

    def _note(self) -> None:
        """Write down which accept now, for ``stagedoor status``."""
        if self._closing:
            return
        links = [front.link for front in self._fronts if front.link is not None]
        pids = [link.pid for link in links if link.opened.done() and link.opened.exception() is None]
        write_private(self._house.settings.data / FILE_NAME, json.dumps(pids))

    # Starting ---------------------------------------------------------------------------------------------------------

    async def _start(self, front: _Front) -> None:
        ours, theirs = socket.socketpair()
        groups = [[each.fileno() for each in group] for group in self._listening]
        command = [sys.executable, "-P", "-m", "stagedoor.front_process"]
        command += [str(number) for number in (theirs.fileno(), self._counts_descriptor, front.number)]
        command += [",".join(map(str, group)) for group in groups]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE_PREFIXES)
        }
        # Whatever this process finds, that one does.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        inherited = [theirs.fileno(), self._counts_descriptor, *itertools.chain.from_iterable(groups)]
        try:
            process = await asyncio.to_thread(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, pass_fds=inherited, env=environment
            )
        finally:
            theirs.close()
        front.started_s = self._loop.time()
        front.attempts += 1
        front.link = link = Link(process, ours)
        link.opened.add_done_callback(lambda _: self._from_thread(self._note))
        self._loop.call_later(START_TIMEOUT_S, self._give_up_on, link)
        link.start(
            lambda message: self._heard(front, link, message),
            lambda: self._from_thread(self._died, front, link),
        )

    @staticmethod
    def _give_up_on(link: Link) -> None:
        """A process that hangs before it accepts is ended, and another one started."""
        if not link.opened.done():
            log.error("front process did not start in time", extra={"pid": link.pid})
            link.kill()

    def _from_thread(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _begin(self, link: Link) -> None:
        """Tell a new process everything, and from now on what changes. Blocks: in the link's thread."""
        house = self._house
        given = {
            "settings": dataclasses.asdict(house.settings) | {"data": str(house.settings.data)},
            # The address that a listener with TLS is bound to; None for one without.
            "tls_hosts": [server.host if server.scheme == "https" else None for server in self._servers],
            "session_secret": self._session_secret,
            "root_accounts": [list(dataclasses.astuple(each)) for each in house.principals.root_accounts],
        }
        with self._lock:
            self._following.append(link)
            records = [
                (list(record.key), record.document) for kind in KINDS for record in house.records.list(kind)
            ]
            link.send("begin", [given, records])

    def _introduce(self, front: _Front, link: Link) -> None:
        """Tell a new process all routes; then it may accept."""
        if front.link is not link:
            return
        front.lent, front.channels, front.busy = {}, {}, {}
        link.is_introduced = True
        for key, variants in self._house.endpoint_routes.all():
            self._tell_routes(front, link, key, variants)
        with self._lock:
            link.must_follow = True
            link.send("open", [])

    def _died(self, front: _Front, link: Link) -> None:
        if front.link is not link:
            return
        front.link = None
        self._note()
        with self._lock:
            self._following = [other for other in self._following if other is not link]
        self._counts.leave(front.number)
        for number in list(front.channels):
            self._forget_channel(front, number)
        front.lent = {}
        if self._closing:
            return
        stable = self._loop.time() - front.started_s >= _STABLE_S
        front.attempts = 1 if stable else front.attempts
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (front.attempts - 1))
        log.warning("front process ended", extra={"pid": link.pid, "exit_code": link.exit_code})
        self._keep(self._starting, self._start_again(front, pause_s))

    async def _start_again(self, front: _Front, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        if not self._closing:
            await self._start(front)

    def _keep(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # Records ----------------------------------------------------------------------------------------------------------

    def _committed(self, keys: frozenset[Key]) -> None:
        """In the writing thread: return when no front process has an older table any more."""
        concerned = [key for key in keys if key.kind in principals.KINDS]
        if not concerned:
            return
        with self._lock:
            commit = next(self._commits)
            records = [(list(key), self._document(key)) for key in concerned]
            told = [link for link in self._following if link.send("records", [commit, records])]
            followers = [link for link in told if link.must_follow]
        for link in followers:
            if not link.wait_seen(commit, SEEN_TIMEOUT_S):
                log.error("front process did not follow a change in time", extra={"pid": link.pid})
                link.kill()

    def _document(self, key: Key) -> dict[str, Any] | None:
        record = self._house.records.get(key)
        return None if record is None else record.document

    # Routes -----------------------------------------------------------------------------------------------------------

    def _published(self, key: EndpointKey, variants: tuple[VariantRoute, ...]) -> None:
        for front in self._fronts:
            if front.link is not None and front.link.is_introduced:
                self._tell_routes(front, front.link, key, variants)

    def _tell_routes(
        self, front: _Front, link: Link, key: EndpointKey, variants: tuple[VariantRoute, ...]
    ) -> None:
        before = front.lent.get(key, {})
        lent: dict[Channel, int] = {}
        fresh: list[tuple[int, socket.socket]] = []
        routes: list[tuple[str, float, list[int]]] = []
        for variant in variants:
            numbers: list[int] = []
            for channel in variant.channels:
                if not isinstance(channel, Channel) or channel.is_closed:
                    continue
                number = before.get(channel)
                if number is None:
                    connected = _connected(channel.address)
                    if connected is None:
                        continue  # the process has this one's invocations answered here
                    number = next(self._numbers)
                    fresh.append((number, connected))
                    front.channels[number] = channel
                lent[channel] = number
                numbers.append(number)
            routes.append((variant.name, variant.weight, numbers))
        if not lent and not before:
            return  # it knows of no worker, and there is none
        if lent:
            front.lent[key] = lent
        else:
            front.lent.pop(key, None)
        for channel, number in before.items():
            if channel not in lent:
                # Until it says ``released``, the worker has something to do.
                self._set_busy(front, number, max(1, front.busy.get(number, 0)))
        link.send(
            "routes",
            [list(key), routes if lent else [], [number for number, _ in fresh]],
            descriptors=[connected.fileno() for _, connected in fresh],
        )
        for _, connected in fresh:
            connected.close()

    def _set_busy(self, front: _Front, number: int, calls: int) -> None:
        channel = front.channels.get(number)
        if channel is not None:
            channel.calls_elsewhere += calls - front.busy.get(number, 0)
            front.busy[number] = calls

    def _forget_channel(self, front: _Front, number: int) -> None:
        self._set_busy(front, number, 0)
        front.channels.pop(number, None)
        front.busy.pop(number, None)

    def _told_busy(self, front: _Front, changed: list[list[int]]) -> None:
        held = {number for lent in front.lent.values() for number in lent.values()}
        for number, calls in changed:
            if number in held:
                self._set_busy(front, number, calls)

    def _unresponsive(self, front: _Front, number: int) -> None:
        channel = front.channels.get(number)
        if channel is not None:
            self._house.endpoint_routes.report_unresponsive(channel)

    # What they say ----------------------------------------------------------------------------------------------------

    def _heard(self, front: _Front, link: Link, message: Message) -> None:
        """In the link's thread."""
        values = message.values
        match message.name:
            case "hello":
                self._begin(link)
                self._from_thread(self._introduce, front, link)
            case "connection":
                self._from_thread(self._adopt, *values, message.descriptors, message.body)
            case "lines":
                self._from_thread(self._access_log.append, message.body)
            case "busy":
                self._from_thread(self._told_busy, front, values[0])
            case "released":
                self._from_thread(self._forget_channel, front, values[0])
            case "unresponsive":
                self._from_thread(self._unresponsive, front, values[0])
            case "denial":
                self._denials.append(values[0])
            case "activity":
                if self._house.role_activity is not None:
                    for one in values:
                        self._house.role_activity.note(*one)
            case "metrics":
                self._house.invocation_metrics.put([_measured(one) for one in values])
            case "use":
                self._from_thread(self._used, *values)
            case "log":
                level, name, text, traceback = values
                extra = {"pid": link.pid, **({"front_traceback": traceback} if traceback else {})}
                logging.getLogger(name).log(level, text, extra=extra)
            case other:
                raise ValueError(f"no such message: {other}")

    def _adopt(self, listener: int, peer_host: str, descriptors: list[int], early: bytes) -> None:
        for descriptor in descriptors:
            connected = socket.socket(fileno=descriptor)
            self._keep(self._adopting, self._go_on(self._servers[listener], connected, early, peer_host))

    @staticmethod
    async def _go_on(server: Server, connected: socket.socket, early: bytes, peer_host: str) -> None:
        def is_invocation(request: Request) -> bool:
            # One that its process could not answer, or on a connection that came for something else: the next one comes on a
            # new connection, to a front process.
            return invocation_lane.endpoint_name(request) is not None

        with contextlib.suppress(OSError):
            await server.adopt(connected, early, is_invocation, peer_host)

    def _used(self, access_key_id: str, at: float, region: str, service: str) -> None:
        known = self._house.principals
        try:
            caller = known.by_access_key(access_key_id, None, at).caller
        except SignatureError:
            return  # deleted meanwhile
        if known.note_use(caller, at, region, service):
            self._loop.run_in_executor(None, known.store_use, caller)


def _connected(address: str) -> socket.socket | None:
    """A connection to the worker that listens there; None when it cannot be had at once.

    Made here and not by the front process: a worker lets nobody but this process connect.
    """
    scheme, _, path = address.partition(":")
    if scheme != "unix":
        return None
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        connected.connect(path)
    except OSError as error:
        log.warning("no connection to a worker for a front process", extra={"reason": str(error)})
        connected.close()
        return None
    return connected


def _measured(told: list[Any]) -> tuple[Metric, Point]:
    """A point of a metric, as a front process tells it."""
    metric, point = Metric(*told[: len(Metric._fields)]), Point(*told[len(Metric._fields) :])
    return metric._replace(dimensions=tuple((name, value) for name, value in metric.dimensions)), point
