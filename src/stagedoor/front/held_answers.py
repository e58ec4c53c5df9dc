"""Answers that wait a little: what Describe tells of something in progress, when the client would sleep for long after it.

Place in the flow: ``front.listener`` asks here once an operation has its result. Who polls every 30 seconds or more (version 1 of
the SageMaker SDK, the waiters of boto3 and of the AWS CLI) learns of an end half a minute late, and that is most of what a short job
takes. Such a client's answer is held until the thing it asks about is no longer in progress, ``describe_hold_s`` at most. All
others, and whoever sets the application id ``NO_HOLD``, get theirs at once.

Waiters say so in their user agent. Version 1 of the SDK wants to, but today's botocore sends boto3's own; it is known by the names
that it makes up (``xgboost-2026-01-31-23-59-59-123``), which later versions do too, but those name themselves.

Nobody polls: a held answer is a coroutine that a commit of the resource's record wakes. It holds no thread.
"""

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stagedoor.store.records import Key, Records

NO_HOLD: Final = "stagedoor-no-hold"
"""A client with this application id (``AWS_SDK_UA_APP_ID``) is never made to wait."""

HELD_AT_MOST: Final = 1_024

# botocore says in its user agent which of its features a call came from: B is a waiter.
_WAITER: Final = re.compile(r"(?:^|\s)m/(?:[^\s,]+,)*B(?:,|\s|$)")
_SDK: Final = re.compile(r"(?:^|[\s/])AWS-SageMaker-?(Python-SDK|Core)[/#](\d+)\.")
_MADE_UP: Final = re.compile(
    r".+-(?:\d{4}-\d{2}-\d{2}-\d{2}-\d{2}-\d{2}-\d{3}"
    # A tuning job, and what is named after one of its training jobs.
    r"|\d{6}-\d{4}(?:-\d{3}-[0-9a-f]{8})?)"
).fullmatch
# Features differ from call to call of one client.
_FEATURES: Final = re.compile(r"(?:^|\s)m/\S+")
_CLIENTS_KEPT: Final = 512


@dataclass(frozen=True, slots=True)
class _Described:
    """What a Describe operation tells of: where its name and its status are, and which statuses will not last."""

    name_member: str
    status_member: str
    passing: frozenset[str]


_JOB: Final = frozenset({"InProgress", "Stopping"})
_DESCRIBED: Final[Mapping[str, _Described]] = {
    "DescribeTrainingJob": _Described("TrainingJobName", "TrainingJobStatus", _JOB),
    "DescribeTransformJob": _Described("TransformJobName", "TransformJobStatus", _JOB),
    "DescribeProcessingJob": _Described("ProcessingJobName", "ProcessingJobStatus", _JOB),
    "DescribeHyperParameterTuningJob": _Described(
        "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", _JOB
    ),
    "DescribeEndpoint": _Described(
        "EndpointName",
        "EndpointStatus",
        frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}),
    ),
}

_CREATED: Final[Mapping[str, str]] = {
    "CreateTrainingJob": "TrainingJobName",
    "CreateTransformJob": "TransformJobName",
    "CreateProcessingJob": "ProcessingJobName",
    "CreateHyperParameterTuningJob": "HyperParameterTuningJobName",
    "CreateModel": "ModelName",
    "CreateEndpoint": "EndpointName",
}

_Place = tuple[str, str, str]
_Client = tuple[str, str]
Result = Mapping[str, Any]


def waits_long(user_agent: str) -> bool | None:
    """Whether a client with this user agent sleeps for long between two questions; None when it does not say."""
    if NO_HOLD in user_agent:
        return False
    if (sdk := _SDK.search(user_agent)) is not None:
        return sdk[1] == "Python-SDK" and sdk[2] == "1"
    return True if _WAITER.search(user_agent) else None


def _client(access_key_id: str, user_agent: str) -> _Client:
    return access_key_id, _FEATURES.sub("", user_agent)


class HeldAnswers:
    """All answers that are held now. For one event loop."""

    def __init__(self, records: Records, hold_s: float) -> None:
        self._hold_s = hold_s
        self._waiting: dict[_Place, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._released = False
        self._known: OrderedDict[_Client, None] = OrderedDict()
        self._count = 0
        if hold_s > 0:
            records.subscribe("sagemaker.", self._committed)

    @property
    def count(self) -> int:
        """Answers that are held now."""
        return self._count

    def note(
        self, operation: str, parameters: Mapping[str, Any], access_key_id: str, user_agent: str
    ) -> None:
        """Remember a client that creates something under a name that version 1 of the SDK made up."""
        member = _CREATED.get(operation)
        if member is None or waits_long(user_agent) is not None or not _MADE_UP(str(parameters[member])):
            return
        self._known[_client(access_key_id, user_agent)] = None
        self._known.move_to_end(_client(access_key_id, user_agent))
        if len(self._known) > _CLIENTS_KEPT:
            self._known.popitem(last=False)

    def holds(self, operation: str, result: Result, access_key_id: str, user_agent: str) -> bool:
        """Whether this answer is to be held."""
        if self._hold_s <= 0 or self._released or self._count >= HELD_AT_MOST:
            return False
        if not _in_progress(operation, result):
            return False
        waits = waits_long(user_agent)
        return _client(access_key_id, user_agent) in self._known if waits is None else waits

    async def settled(
        self,
        operation: str,
        parameters: Mapping[str, Any],
        account_id: str,
        region: str,
        describe: Callable[[], Awaitable[Result]],
    ) -> Result:
        """What ``describe`` tells once the thing is no longer in progress, or when the time is over. Its errors are raised."""
        name = str(parameters[_DESCRIBED[operation].name_member]).lower()
        place = (account_id, region, name)
        changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        deadline_s = self._loop.time() + self._hold_s
        self._waiting.setdefault(place, set()).add(changed)
        self._count += 1
        try:
            while True:
                # Looked at after taking a place in ``_waiting``, so no commit goes unseen.
                changed.clear()
                result = await describe()
                if self._released or not _in_progress(operation, result):
                    return result
                try:
                    async with asyncio.timeout_at(deadline_s):
                        await changed.wait()
                except TimeoutError:
                    return result
        finally:
            self._count -= 1
            events = self._waiting[place]
            events.discard(changed)
            if not events:
                del self._waiting[place]

    def release(self) -> None:
        """Let all answers go, and hold no more: the server ends."""
        self._released = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    def _committed(self, keys: frozenset[Key]) -> None:
        """A ``store.records.Listener``: called in the thread that wrote."""
        loop = self._loop
        if loop is None or not self._waiting:
            return
        places = {(key.account_id, key.region, key.name) for key in keys}
        # At shutdown the loop may be gone already.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._wake, places)

    def _wake(self, places: set[_Place]) -> None:
        for place in places:
            for event in self._waiting.get(place, ()):
                event.set()


def _in_progress(operation: str, result: Result) -> bool:
    described = _DESCRIBED.get(operation)
    return described is not None and result.get(described.status_member) in described.passing
