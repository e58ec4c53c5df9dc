"""Answers that wait a little: what Describe tells of something in progress, when the client would sleep for long after it.

Place in the flow: ``front.listener`` asks here once an operation has its result. Who polls every 30 seconds or more (version 1 of
the SageMaker SDK, the waiters of boto3 and of the AWS CLI) learns of an end half a minute late, and that is most of what a short job
takes. Such a client's answer is held until the thing it asks about is no longer in progress, ``describe_hold_s`` at most. All
others, and whoever sets the application id ``NO_HOLD``, get theirs at once.

Nobody polls: a held answer is a coroutine that a commit of the resource's record wakes. It holds no thread.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stagedoor.store.records import Key, Records

NO_HOLD: Final = "stagedoor-no-hold"
"""A client with this application id (``AWS_SDK_UA_APP_ID``) is never made to wait."""

HELD_AT_MOST: Final = 1_024

# botocore says in its user agent which of its features a call came from: B is a waiter.
_WAITER: Final = re.compile(r"(?:^|\s)m/(?:[^\s,]+,)*B(?:,|\s|$)")
_SDK_V1: Final = re.compile(r"(?:^|\s)AWS-SageMaker-Python-SDK/1\.")


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

_Place = tuple[str, str, str]
Result = Mapping[str, Any]


def waits_long(user_agent: str) -> bool:
    """Whether this client sleeps for long between two questions, and did not ask for answers at once."""
    if NO_HOLD in user_agent:
        return False
    return _SDK_V1.search(user_agent) is not None or _WAITER.search(user_agent) is not None


class HeldAnswers:
    """All answers that are held now. For one event loop."""

    def __init__(self, records: Records, hold_s: float) -> None:
        self._hold_s = hold_s
        self._waiting: dict[_Place, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._released = False
        self._count = 0
        if hold_s > 0:
            records.subscribe("sagemaker.", self._committed)

    @property
    def count(self) -> int:
        """Answers that are held now."""
        return self._count

    def holds(self, operation: str, result: Result, user_agent: str) -> bool:
        """Whether this answer is to be held."""
        return (
            self._hold_s > 0
            and not self._released
            and self._count < HELD_AT_MOST
            and _in_progress(operation, result)
            and waits_long(user_agent)
        )

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
