"""Which workers serve an endpoint: a table in memory, written by the reconciler, read by every invocation.

Place in the flow: ``reconcile.endpoints.act`` publishes an endpoint's variants and their ready channels in one step;
``services.sagemaker_runtime.invocations`` asks for a variant (by weight) and a channel of it (least in flight). No
database, no lock: everything happens on the event loop.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stagedoor.traffic.channel import Answer


class WorkerChannel(Protocol):
    """What routing needs of ``traffic.channel.Channel``."""

    @property
    def in_flight(self) -> int: ...

    @property
    def is_closed(self) -> bool: ...

    def call(self, meta: Mapping[str, object], body: bytes, timeout_s: float) -> "asyncio.Future[Answer]": ...


class EndpointKey(NamedTuple):
    """Which endpoint. Names compare case-sensitively."""

    account_id: str
    region: str
    name: str


@dataclass(frozen=True, slots=True)
class VariantRoute:
    """One production variant: its share of the traffic and the workers that are ready."""

    name: str
    weight: float
    channels: tuple[WorkerChannel, ...]


class Choice(NamedTuple):
    """Where one invocation goes."""

    variant: str
    channel: WorkerChannel
    instances: int
    """How many workers the variant has."""


class UnknownEndpointError(Exception):
    """No endpoint of that name takes invocations."""


class UnknownVariantError(Exception):
    """The endpoint has no such variant; ``variants`` are those it has."""

    def __init__(self, variants: Sequence[str]) -> None:
        super().__init__(", ".join(variants))
        self.variants = tuple(variants)


class NoWorkerError(Exception):
    """No worker became ready in the time allowed."""


class StartFailedError(Exception):
    """The workers that an invocation waited for did not come up; the text says why."""


class OverloadedError(Exception):
    """Every worker has as many invocations waiting as it may have."""


class EndpointRoutes:
    """All endpoints that take invocations. Not thread-safe: for the event loop only."""

    IN_FLIGHT_AT_MOST = 1_000
    """Invocations that may wait for one worker; more are refused at once instead of timing out later."""

    def __init__(self) -> None:
        self._routes: dict[EndpointKey, tuple[VariantRoute, ...]] = {}
        self._waiting: dict[EndpointKey, set[asyncio.Future[None]]] = {}
        self._loaded = False
        self._turn = 0
        self._unresponsive: Callable[[WorkerChannel], None] | None = None
        self._wanted: Callable[[EndpointKey], None] | None = None
        self._followers: list[Callable[[EndpointKey, tuple[VariantRoute, ...]], None]] = []

    # The reconciler's side --------------------------------------------------------------------------------------------

    def publish(self, key: EndpointKey, variants: Sequence[VariantRoute]) -> None:
        """Replace an endpoint's routes in one step; invocations that wait choose again."""
        self._routes[key] = tuple(variants)
        self._tell(key)
        self._wake(key)

    def withdraw(self, key: EndpointKey) -> None:
        """Take no more invocations for an endpoint; those that wait are told that it is not there."""
        self._routes.pop(key, None)
        self._tell(key)
        self._wake(key)

    def follow(self, follower: Callable[[EndpointKey, tuple[VariantRoute, ...]], None]) -> None:
        """Have ``follower`` told of every change, before anything else comes of it; no variants: no more invocations."""
        self._followers.append(follower)

    def all(self) -> list[tuple[EndpointKey, tuple[VariantRoute, ...]]]:
        """Everything that is published."""
        return list(self._routes.items())

    def _tell(self, key: EndpointKey) -> None:
        for follower in self._followers:
            follower(key, self._routes.get(key, ()))

    def loaded(self) -> None:
        """Every endpoint that existed at the start has been published once. Until then nothing is unknown."""
        self._loaded = True
        for key in list(self._waiting):
            self._wake(key)

    def on_unresponsive(self, listener: Callable[[WorkerChannel], None]) -> None:
        """Who to tell about a worker that did not answer in time."""
        self._unresponsive = listener

    def on_wanted(self, listener: Callable[[EndpointKey], None]) -> None:
        """Who to tell that an invocation waits for an endpoint that has no worker now: it may rest, or is about to come back."""
        self._wanted = listener

    def waiting(self, key: EndpointKey) -> int:
        """Invocations that wait for a worker."""
        return len(self._waiting.get(key, ()))

    def start_failed(self, key: EndpointKey, reason: str) -> None:
        """The workers that invocations wait for did not come up: those that wait now are told (StartFailedError)."""
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_exception(StartFailedError(reason))

    # The invocations' side --------------------------------------------------------------------------------------------

    def routes(self, key: EndpointKey) -> tuple[VariantRoute, ...] | None:
        """What is published for an endpoint; None when it takes no invocations."""
        return self._routes.get(key)

    def report_unresponsive(self, channel: WorkerChannel) -> None:
        """An invocation was not answered in time: the worker hangs or is far too slow."""
        if self._unresponsive is not None:
            self._unresponsive(channel)

    async def choose(self, key: EndpointKey, target_variant: str | None, wait_s: float) -> Choice:
        """A variant and a worker of it, at once where one is ready; else the first that is within ``wait_s``.

        UnknownEndpointError, UnknownVariantError, OverloadedError, StartFailedError, NoWorkerError.
        """
        choice = self.choose_now(key, target_variant)
        if choice is not None:
            return choice
        try:
            async with asyncio.timeout(wait_s):
                while choice is None:
                    await self._change(key)
                    choice = self.choose_now(key, target_variant)
                return choice
        except TimeoutError:
            raise NoWorkerError from None

    def choose_now(self, key: EndpointKey, target_variant: str | None = None) -> Choice | None:
        """``choose`` without waiting; None when no worker is ready."""
        variants = self._routes.get(key)
        if variants is None:
            if self._loaded:
                raise UnknownEndpointError
            return None
        if target_variant is None and len(variants) == 1:
            channel = self._least_busy(variants[0].channels)
            return None if channel is None else Choice(variants[0].name, channel, len(variants[0].channels))
        if target_variant is not None:
            candidates = [variant for variant in variants if variant.name == target_variant]
            if not candidates:
                raise UnknownVariantError([variant.name for variant in variants])
        else:
            candidates = [variant for variant in variants if any(not c.is_closed for c in variant.channels)]
        if not candidates:
            return None
        variant = _by_weight(candidates)
        channel = self._least_busy(variant.channels)
        return None if channel is None else Choice(variant.name, channel, len(variant.channels))

    def _least_busy(self, channels: tuple[WorkerChannel, ...]) -> WorkerChannel | None:
        if len(channels) == 1:  # as nearly always
            only = channels[0]
            if only.is_closed:
                return None
            if only.in_flight >= self.IN_FLIGHT_AT_MOST:
                raise OverloadedError
            return only
        best: WorkerChannel | None = None
        least = self.IN_FLIGHT_AT_MOST
        full = False
        # Begin elsewhere each time, so that idle workers take turns.
        self._turn = turn = self._turn + 1
        for offset in range(len(channels)):
            channel = channels[(turn + offset) % len(channels)]
            if channel.is_closed:
                continue
            busy = channel.in_flight
            if busy < least:
                best, least = channel, busy
                if not busy:
                    break
            elif best is None:
                full = True
        if best is None and full:
            raise OverloadedError
        return best

    async def _change(self, key: EndpointKey) -> None:
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, set())
        waiting.add(future)
        if self._wanted is not None:
            self._wanted(key)
        try:
            await future
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def _wake(self, key: EndpointKey) -> None:
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)


def _by_weight(variants: Sequence[VariantRoute]) -> VariantRoute:
    total = sum(variant.weight for variant in variants)
    if total <= 0:
        return random.choice(variants)
    point = random.random() * total
    for variant in variants:
        point -= variant.weight
        if point < 0:
            return variant
    return next(variant for variant in reversed(variants) if variant.weight > 0)
