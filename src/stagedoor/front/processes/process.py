"""What runs in a front process: it accepts, answers ordinary invocations from its own table, and hands everything else to the control process.

Place in the flow: started by ``front.processes.control``. Each request takes the same steps as in the control process (``front.invocations``), in a
house that holds what a front process is told (``replica``). It never waits for the control process: not for a table, not for a log.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.domain.clock import SystemClock
from stagedoor.front import certificates, invocation_lane, invocations
from stagedoor.front.exchange import Exchanges
from stagedoor.front.processes.connection_counts import ConnectionCounts
from stagedoor.front.processes.door import Door
from stagedoor.front.processes.messages import Message
from stagedoor.front.processes.pipe import FrontPipe
from stagedoor.front.processes.replica import (
    Elsewhere,
    RecordsReplica,
    RoutesReplica,
    TellingAccessLog,
    TellingActivity,
    TellingDenials,
    TellingInvocationMetrics,
    TellingPrincipals,
)
from stagedoor.http.message import Answering, Request
from stagedoor.services.call import House
from stagedoor.services.principals import RootAccount
from stagedoor.settings import Settings
from stagedoor.store.records import Key
from stagedoor.traffic.channel import Channel
from stagedoor.traffic.endpoint_routes import EndpointKey, VariantRoute, WorkerChannel

_TELL_BUSY_S: Final = 0.25
_RELEASE_POLL_S: Final = 0.02
_GRACE_S: Final = 5.0
_LAST_WORDS_S: Final = 2.0

Claims = Callable[[Request], bool]


class FrontProcess:
    """One front process. ``public_claims`` says which requests are for a deployed API: those are elsewhere."""

    def __init__(
        self,
        connected: socket.socket,
        listening: list[list[socket.socket]],
        counts: ConnectionCounts,
        public_claims: Claims,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._pipe = FrontPipe(connected, self._received, self._control_is_gone)
        self._listening = listening
        self._counts = counts
        self._public_claims = public_claims
        self._doors: list[Door] = []
        self._records = RecordsReplica()
        self._routes = RoutesReplica()
        self._channels: dict[int, Channel] = {}
        self._told_busy: dict[int, int] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        self._clock = SystemClock()
        logging.getLogger().addHandler(_ToControl(self._pipe))

    async def run(self) -> None:
        """Until the control process says stop, or is gone."""
        self._pipe.send("hello", [os.getpid()])
        reading = self._loop.create_task(self._read())
        telling = self._loop.create_task(self._tell_busy())
        try:
            await self._over
        finally:
            reading.cancel()
            telling.cancel()

    def _control_is_gone(self) -> None:
        os._exit(0)  # whatever it does now, nobody keeps it right any more

    def _received(self, messages: list[Message]) -> None:
        for message in messages:
            self._inbox.put_nowait(message)

    async def _read(self) -> None:
        """One message after the other: a table is what all messages up to here have made it."""
        while True:
            message = await self._inbox.get()
            try:
                await self._obey(message)
            except Exception:
                # A table that may be wrong answers nothing any more; the control process starts another.
                logging.getLogger(__name__).exception("front process failed")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._pipe.drained(), _LAST_WORDS_S)
                os._exit(1)

    async def _obey(self, message: Message) -> None:
        values = message.values
        match message.name:
            case "begin":
                self._furnish(values[0])
                self._apply(values[1])
            case "records":
                self._apply(values[1])
                self._pipe.send("seen", [values[0]])
            case "routes":
                await self._route(EndpointKey(*values[0]), values[1], values[2], message.descriptors)
            case "open":
                for door in self._doors:
                    door.open()
                gc.collect()
                gc.freeze()  # the table of the start lives as long as the process
                self._pipe.send("open", [])
            case "stop":
                await self._stop()
            case other:
                raise ValueError(f"no such message: {other}")

    def _apply(self, changes: list[Any]) -> None:
        self._records.apply((Key(*key), document) for key, document in changes)

    def _furnish(self, given: dict[str, Any]) -> None:
        stated: dict[str, Any] = given["settings"]
        stated["data"] = Path(stated["data"])
        settings = Settings(**stated)
        logs = settings.data / "logs"
        tokens = SessionTokens(bytes.fromhex(given["session_secret"]))
        roots = [RootAccount(*account) for account in given["root_accounts"]]
        principals = TellingPrincipals(self._records, tokens, roots)
        access_log = TellingAccessLog(logs, self._clock)
        denials = TellingDenials(logs, principals, self._clock)
        activity = TellingActivity(logs)
        elsewhere = cast(Any, Elsewhere())
        metrics = TellingInvocationMetrics(elsewhere, self._clock)
        for each in (principals, access_log, denials, activity, metrics):
            each.tell = self._pipe.tell
        self._access_log = access_log
        self._invocation_metrics = metrics
        self._house = House(
            settings=settings,
            clock=self._clock,
            records=self._records,
            objects=elsewhere,
            contents=elsewhere,
            log_events=elsewhere,
            metric_points=elsewhere,
            step_metrics=elsewhere,
            session_tokens=tokens,
            principals=principals,
            endpoint_routes=self._routes,
            invocation_metrics=metrics,
            function_pools=elsewhere,
            role_activity=activity,
        )
        self._exchanges = Exchanges(self._clock, access_log, denials)
        self._routes.on_unresponsive(self._unresponsive)
        ca = certificates.authority(settings)
        hosts: list[str | None] = given["tls_hosts"]
        self._doors = [
            Door(
                number,
                sockets,
                self._handle,
                self._answers,
                self._hand_over,
                self._counts,
                settings.connections_max,
                None if host is None else certificates.listener_context(settings, ca, host),
            )
            for number, (sockets, host) in enumerate(zip(self._listening, hosts, strict=True))
        ]

    # Requests ---------------------------------------------------------------------------------------------------------

    def _answers(self, request: Request) -> bool:
        return (
            invocation_lane.endpoint_name(request) is not None
            and request.body.content_length is not None
            and not self._public_claims(request)
        )

    def _handle(self, request: Request) -> Answering:
        name = invocation_lane.endpoint_name(request)
        assert name is not None
        return invocations.answer(self._house, self._exchanges, request, name)

    def _hand_over(self, listener: int, connected: socket.socket, unanswered: bytes, peer_host: str) -> None:
        self._pipe.send("connection", [listener, peer_host], unanswered, [connected])

    # Routes -----------------------------------------------------------------------------------------------------------

    async def _route(
        self, key: EndpointKey, variants: list[Any], fresh: list[int], descriptors: list[int]
    ) -> None:
        """Take over an endpoint's routes. ``fresh`` are the numbers of the channels whose connections came along."""
        for number, descriptor in zip(fresh, descriptors, strict=True):
            self._channels[number] = await Channel.over(socket.socket(fileno=descriptor))
        before = self._routes.routes(key) or ()
        routes = [
            VariantRoute(name, weight, tuple(self._channels[number] for number in numbers))
            for name, weight, numbers in variants
        ]
        if routes:
            self._routes.publish(key, routes)
        else:
            self._routes.withdraw(key)
        kept = {channel for route in routes for channel in route.channels}
        dropped: set[WorkerChannel] = {channel for route in before for channel in route.channels} - kept
        for number in [number for number, channel in self._channels.items() if channel in dropped]:
            task = self._loop.create_task(self._release(number, self._channels.pop(number)))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def _release(self, number: int, channel: Channel) -> None:
        """Hang up when the last call is answered: the control process stops the worker only then."""
        while channel.in_flight and not channel.is_closed:  # noqa: ASYNC110 - a channel has many calls and one end
            await asyncio.sleep(_RELEASE_POLL_S)
        channel.close()
        self._told_busy.pop(number, None)
        self._pipe.send("released", [number])

    def _unresponsive(self, channel: WorkerChannel) -> None:
        for number, each in self._channels.items():
            if each is channel:
                self._pipe.send("unresponsive", [number])

    async def _tell_busy(self) -> None:
        while True:
            await asyncio.sleep(_TELL_BUSY_S)
            changed = {
                number: channel.in_flight
                for number, channel in self._channels.items()
                if channel.in_flight != self._told_busy.get(number, 0)
            }
            if changed:
                self._told_busy.update(changed)
                self._pipe.send("busy", [list(changed.items())])
            if self._pipe.dropped_lines:
                logging.getLogger(__name__).warning(
                    "access log lines were lost: the control process does not read",
                    extra={"lines": self._pipe.dropped_lines},
                )
                self._pipe.dropped_lines = 0

    # The end ----------------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Let answers under way finish, say the last words, end."""
        for door in self._doors:
            door.shut()
        await asyncio.gather(*(door.close(_GRACE_S) for door in self._doors))
        if self._doors:
            self._access_log.flush()
            self._invocation_metrics.flush()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pipe.drained(), _LAST_WORDS_S)
        self._over.set_result(None)


class _ToControl(logging.Handler):
    """The server's log is one file, and the control process has it."""

    def __init__(self, pipe: FrontPipe) -> None:
        super().__init__(logging.INFO)
        self._pipe = pipe
        self._traceback = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        traceback = self._traceback.formatException(record.exc_info) if record.exc_info else ""
        self._pipe.tell("log", [record.levelno, record.name, record.getMessage(), traceback])
